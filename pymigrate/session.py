"""One command's work on a booted machine: load it, change it, keep all of that or nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from pymigrate.errors import KernelError, ScenarioError, StoreError, UnmetError
from pymigrate.mm.state.machine import Machine
from pymigrate.reading import read_file
from pymigrate.records import NamedTuple
from pymigrate.store.store import Boot, Store
from pymigrate.version import __version__

BUILT_IN = "two-node.yaml"
CURRENT = "current"  # in the user's state directory: the state file of the last `boot`
# Behind the name of a state file: real programs run on its machine, or are tasks of it.
HELD, REAL = ".exec", ".real"
INLINE = "<text>"  # stands for the path of a scenario that is in no file


class Request(NamedTuple):
    """Which machine a command works on, and what becomes of the changes."""

    scenario: str | None = None  # None: what the state holds, else the built-in scenario
    state: str | None = None  # None: a file of the user's state directory
    ephemeral: bool = False  # boot a machine for this command alone
    dry_run: bool = False  # keep no change
    write: bool = False  # the command changes the machine
    command: str = ""  # what the ledger calls it
    ledger: bool = False  # it wants to know what each command has raised


@contextmanager
def session(request: Request, say: Callable[[str], None] = lambda _: None) -> Iterator[Machine]:
    """``with session(request) as machine:`` is one transaction.

    What the kernel refused is kept as the kernel left it: a KernelError commits, any other
    exception rolls back. Raises ScenarioError and StoreError.
    """
    if request.ephemeral or (request.dry_run and not os.path.exists(state_path(request))):
        yield boot_scenario(scenario_path(request.scenario))[0]
        return
    with _borrowed(state_path(request)) as gone, opened(request, say, gone) as (store, machine):
        refused: KernelError | None = None
        try:
            yield machine
        except KernelError as error:
            refused = error
        if request.write and not request.dry_run:
            machine.ledger.close(request.command)
            store.save(machine)
            store.commit()
        if refused:
            raise refused


@contextmanager
def opened(
    request: Request, say: Callable[[str], None], gone: list[int]
) -> Iterator[tuple[Store, Machine]]:
    """The state file with its machine in a transaction; what is not committed is rolled back.

    *gone* are the tasks of real processes that have ended unseen. Raises ScenarioError and
    StoreError.
    """
    path = state_path(request)
    # A scenario with mistakes must not leave a state behind.
    fresh = None if os.path.exists(path) else boot_scenario(scenario_path(request.scenario))
    store = Store(path)
    try:
        if gone:
            _end_tasks(store, path, gone)
        yield store, _load(store, request, fresh, say)
    finally:
        store.close()


def command_line(words: Iterable[str]) -> str:
    """What the ledger calls a command of these words."""
    text = " ".join(f"'{word}'" if " " in word or not word else word for word in words)
    return text if len(text) <= _LONGEST_LINE else f"{text[: _LONGEST_LINE - 3]}..."


_LONGEST_LINE = 200


def check_free(path: str) -> None:
    """Raise StoreError if real programs run on the machine of the state file *path*."""
    if os.path.exists(path + HELD):
        from pymigrate import holder

        holder.check_free(path)


def _borrowed(path: str) -> AbstractContextManager[list[int]]:
    """Have the machine of the state file *path*, if real programs run on it; see holder.py.

    Gives the tasks of real processes that have ended unseen.
    """
    if os.path.exists(path + HELD):
        from pymigrate.holder import borrowed

        return borrowed(path)
    if os.path.exists(path + REAL):
        from pymigrate.stand_ins import gone

        return nullcontext(gone(path))
    return nullcontext([])


def _end_tasks(store: Store, path: str, pids: list[int]) -> None:
    """Let the tasks of real processes end, which have ended unseen."""
    is_held = os.path.exists(path + HELD)
    store.begin(write=True)
    machine = store.load()
    _exit_all(machine, pids)
    machine.ledger.close("killed" if is_held else "exit")
    store.save(machine)
    store.commit()
    if is_held:
        from pymigrate.holder import forget

        forget(path)
    else:
        from pymigrate import stand_ins

        stand_ins.forget(path, pids)


def _exit_all(machine: Machine, pids: list[int]) -> None:
    for pid in pids:
        if pid in machine.tasks:
            from pymigrate.tools.system import end

            end(machine, pid)
    for space in list(machine.spaces.values()) if pids else ():
        is_object = space.is_hugetlb and not space.is_segment
        if is_object and space.name.endswith(" (deleted)"):  # they had it open
            from pymigrate.syscalls.files import unlink

            unlink(machine, space)


def _load(
    store: Store,
    request: Request,
    fresh: tuple[Machine, Boot] | None,
    say: Callable[[str], None],
) -> Machine:
    store.begin(write=request.write)
    boot = store.booted()
    if boot is None:
        boot = _boot(store, request, fresh, say)
    _check_scenario(request, boot)
    machine = store.load()
    if request.ledger:
        store.read_ledger(machine)
    if not request.write:
        store.commit()  # a reader that stays would make writers wait
    return machine


def _boot(
    store: Store,
    request: Request,
    fresh: tuple[Machine, Boot] | None,
    say: Callable[[str], None],
) -> Boot:
    """Boot by itself a scenario that never was; the store has begun a transaction then."""
    path = scenario_path(request.scenario)
    if not request.write:
        store.rollback()
        store.begin(write=True)
    boot = store.booted()
    if boot is None:  # no other command was faster
        machine, boot = fresh or boot_scenario(path)
        store.replace(machine, boot)
        say(f"booted {path}")
    store.commit()
    store.begin(write=request.write)
    return boot


def boot(request: Request, run: bool = False) -> tuple[Machine, Boot]:
    """Boot a scenario afresh, in place of what the state held; with *run*, run its steps too.

    It is then the machine that is meant where none is named.
    """
    path = scenario_path(request.scenario)
    machine, booted = boot_scenario(path, run)
    _keep(request._replace(scenario=path), machine, booted)
    return machine, booted


def boot_inline(request: Request, text: str, run: bool = False) -> tuple[Machine, Boot]:
    """The same of a scenario's *text*, which is in no file."""
    machine, booted = boot_text(text, run)
    _keep(request._replace(scenario=INLINE), machine, booted)
    return machine, booted


def _keep(request: Request, machine: Machine, booted: Boot) -> None:
    """Store a machine that was booted, in the file that is meant."""
    if request.dry_run or request.ephemeral:
        return
    path = state_path(request)
    save_state(path, machine, booted)
    if os.path.exists(path + REAL):  # of the machine before
        from pymigrate import stand_ins

        stand_ins.forget(path)
    if not request.state:
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(path)
        os.replace(path + ".new", os.path.join(_states(), CURRENT))


def boot_scenario(path: str, run: bool = False, kernel: str | None = None) -> tuple[Machine, Boot]:
    """The machine of the scenario file *path*, and what says from where it is.

    *kernel* overrides the scenario's. Raises ScenarioError.
    """
    content = read_scenario(path)
    machine = _build(content, path, run, kernel)
    booted = Boot(_absolute(path), _fingerprint(path, content), machine.release.name, __version__)
    return machine, booted


def boot_text(text: str, run: bool = False, kernel: str | None = None) -> tuple[Machine, Boot]:
    """The machine of a scenario's *text*, and what says that it is from no file.

    *kernel* overrides the scenario's. Raises ScenarioError.
    """
    machine = _build(text.encode(), INLINE, run, kernel)
    return machine, Boot(INLINE, "0:0:", machine.release.name, __version__)


def _build(content: bytes, path: str, run: bool, kernel: str | None) -> Machine:
    from pymigrate.scenario.boot.build import build
    from pymigrate.scenario.read.loader import load_bytes
    from pymigrate.scenario.spec.runner import Runner

    scenario = load_bytes(content, path)
    try:
        machine = build(scenario, kernel)
        if run:
            for number, record in enumerate(Runner(machine).run(scenario.steps), 1):
                if record.get("failed"):
                    text = "; ".join(record["failed"])
                    raise UnmetError(f"step {number} ({record['op']}): expected {text}")
    except ScenarioError as error:
        if not error.path:
            raise ScenarioError(error.message, path) from None
        raise
    return machine


def load_state(path: str) -> tuple[Machine, Boot]:
    """The machine of a state file, and from what it was booted. Raises StoreError."""
    if not os.path.exists(path):
        raise StoreError("there is no such file; expected a state file of pymigrate", path)
    with _borrowed(path) as gone:
        store = Store(path)
        try:
            store.begin(write=False)
            machine, booted = store.load(), store.booted()
            store.read_ledger(machine)
            store.commit()
        finally:
            store.close()
    assert booted is not None, "it has loaded"
    _exit_all(machine, gone)
    return machine, booted


def save_state(path: str, machine: Machine, booted: Boot) -> None:
    """Write *machine* to the state file *path*, in place of what it holds. Raises StoreError."""
    check_free(path)
    machine.ledger.close("python")
    store = Store(path, anew=True)
    try:
        store.begin(write=True)
        store.replace(machine, booted)
        store.commit()
    finally:
        store.close()


def scenario_path(named: str | None) -> str:
    """The scenario file that is meant: *named*, or else the built-in one of that name.

    If none is named it is the built-in one with two nodes.
    """
    if named and (os.path.exists(named) or os.path.basename(named) != named):
        return named
    wanted = (named or BUILT_IN).removesuffix(".yaml")
    path = shipped_scenarios().get(wanted)
    if path:
        return path
    if named and (wanted != named or len(named) > _LONGEST_NAME):
        return named
    if named:
        from difflib import get_close_matches

        near = get_close_matches(wanted.replace("_", "-"), shipped_scenarios(), 1, cutoff=0.5)
        hint = f"nearest is {near[0]}; " if near else ""
        raise ScenarioError(
            f"there is no such file, and no scenario {wanted} that ships; {hint}"
            "`pymigrate scenarios` lists them",
            named,
        )
    raise ScenarioError(f"the built-in scenario {BUILT_IN} is missing; name one with --scenario")


_LONGEST_NAME = 64  # that may be meant for a scenario that ships


def shipped_scenarios() -> dict[str, str]:
    """The scenarios that ship: the path of each by its name."""
    here = os.path.dirname(os.path.abspath(__file__))
    for folder in (os.path.join(here, "scenarios"), os.path.join(here, "..", "scenarios")):
        if os.path.isdir(folder):
            files = [name for name in os.listdir(folder) if name.endswith(".yaml")]
            return {
                name: os.path.normpath(os.path.join(folder, f"{name}.yaml"))
                for name in sorted(name.removesuffix(".yaml") for name in files)
            }
    return {}


def about_scenario(path: str) -> str:
    """What a scenario says that it is about."""
    with open(path, encoding="utf-8") as file:
        found = [line for line in file if line.startswith("about: ")]
    return found[0].removeprefix("about: ").strip().strip("\"'") if found else ""


def state_path(request: Request) -> str:
    """The state file that is meant: by default one for each scenario, in the user's directory.

    Without a scenario it is that of the last `boot`, else the one of the built-in scenario.
    """
    if request.state:
        return request.state
    if not request.scenario and (current := _current()):
        return current
    from hashlib import sha256

    path = request.scenario or ""
    if path != INLINE:
        path = _absolute(scenario_path(request.scenario))
    stem = os.path.splitext(os.path.basename(path))[0].strip("<>")
    name = f"{stem}-{sha256(path.encode()).hexdigest()[:12]}.db"
    return os.path.join(_states(), name)


def _current() -> str:
    """The state file that the last `boot` made, if it is there; else nothing."""
    try:
        path = read_file(os.path.join(_states(), CURRENT)).decode()
    except (OSError, ValueError, StoreError):
        return ""
    return path if os.path.exists(path) else ""


def _states() -> str:
    """The user's directory of state files, which is made. Raises StoreError."""
    from platformdirs import user_state_dir

    folder = user_state_dir("pymigrate", appauthor=False)
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot be made: {error.strerror}", folder) from None
    return folder


def _check_scenario(request: Request, boot: Boot) -> None:
    """Refuse a state that does not stand for the scenario that is meant, as it is now."""
    if request.scenario and _absolute(scenario_path(request.scenario)) != boot.scenario:
        raise StoreError(
            f"holds a machine of {boot.scenario}, not of {_absolute(request.scenario)};"
            f" `pymigrate boot {request.scenario}` would replace it",
            state_path(request),
        )
    if os.path.isfile(boot.scenario) and not is_unchanged(boot):
        raise StoreError(
            "the scenario was changed since it was booted;"
            f" `pymigrate boot {boot.scenario}` starts afresh",
            boot.scenario,
        )


def read_scenario(path: str) -> bytes:
    """The contents of a scenario file. Raises ScenarioError."""
    try:
        return read_file(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ScenarioError(f"cannot be read: {reason}; expected a file", path) from None


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)
    except OSError as error:
        raise ScenarioError(f"the current directory is gone: {error.strerror}", path) from None


def _fingerprint(path: str, content: bytes) -> str:
    """What tells whether a scenario file has changed: its size, time and contents."""
    from hashlib import sha256

    mtime = os.stat(path).st_mtime_ns if os.path.exists(path) else 0
    return f"{len(content)}:{mtime}:{sha256(content).hexdigest()}"


def is_unchanged(boot: Boot) -> bool:
    """Whether the scenario file, which is there, is as it was when it was booted."""
    size, mtime, digest = boot.fingerprint.split(":")
    status = os.stat(boot.scenario)
    if (status.st_size, status.st_mtime_ns) == (int(size), int(mtime)):
        return True
    return _fingerprint(boot.scenario, read_scenario(boot.scenario)).split(":")[2] == digest
