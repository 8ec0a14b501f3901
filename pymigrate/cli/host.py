"""Programs of the simulated machine on the real one: their output, and real commands they become.

No click here: the shims start faster without it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from pymigrate import stand_ins
from pymigrate.arguments import find_task
from pymigrate.cli.shim_files import is_shim, write_shims
from pymigrate.errors import KernelError, UnsupportedError
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.session import Request, scenario_path, session, state_path
from pymigrate.tools import programs
from pymigrate.tools.program import SIGNALLED, Exit
from pymigrate.tools.system import System, end, name_region

INSIDE = "PYMIGRATE_EXEC"  # in the environment of a traced program: the state file it runs on
DEFAULT_SIZE = 16 << 20  # that a real command's task touches
_READERS = frozenset({"numastat", "pidof", "pgrep", "ps"})
_SIGNALLED = 128
# The command's own number goes with the task's; the shell also runs files without "#!".
_SHELL_PLAIN = 'exec "$@"'
_SHELL_TASK = f'export PYMIGRATE_TASK="$0=$$"; {_SHELL_PLAIN}'


def run(
    argv: Sequence[str],
    request: Request,
    uid: int = 0,
    size: int | None = None,
    becomes: bool = False,
) -> int:
    """Run a program on the machine, or the real command that it becomes; returns the exit code.

    *uid* is the user of the shell, where the environment names no task; *size* is how many bytes
    the task of a real command is to touch. If the program *becomes* that, it does so in this
    process, and does not return; else the command is a child.
    """
    request = request._replace(write=argv[0] not in _READERS)
    if os.environ.get(INSIDE) == os.path.abspath(state_path(request)):
        return _run_traced(argv, request)
    tell = quiet if request.ephemeral else say
    with kept(request) as request:
        with session(request, tell) as machine:
            task, aliases = _calling_task(machine, uid)
            system = System(
                machine, task, os.environ, _terminal_width(), pid=os.getpid(), aliases=aliases
            )
            outcome = (programs.run if request.dry_run else programs.begin)(argv, system)
            if outcome.command:
                if not hasattr(os, "fork"):
                    raise UnsupportedError("a program that runs a command needs a POSIX system")
                outcome = _begin(outcome, system, size)
            if not outcome.command and outcome.again is None:
                system.finish()
            elif not request.dry_run:
                stand_ins.note(state_path(request), system.task.pid)
        _write(outcome)
        while outcome.again is not None:
            outcome = _go_on(outcome.again, request, tell, system.task.pid)
        if not outcome.command:
            return outcome.exit
        if becomes and has_shims(os.environ.get("PATH", os.defpath)):
            return _become(outcome, request, system.task.pid)
        try:
            with shims_on_path() as path:
                return execute(outcome.command, environment(request, path), system.task.pid)
        finally:
            with session(request, tell) as machine:
                end(machine, system.task.pid)
            stand_ins.forget(state_path(request), [system.task.pid])


def _go_on(
    again: Callable[[System], Exit], request: Request, tell: Callable[[str], None], pid: int
) -> Exit:
    """Let a program do more of its work, in its process *pid*; the last part ends that."""
    with session(request, tell) as machine:
        task = machine.tasks.get(pid)
        if task is None:  # it was killed
            return Exit(SIGNALLED["SIGKILL"])
        system = System.of(machine, task, os.environ)
        outcome = again(system)
        if outcome.again is None:
            system.finish()
    if outcome.again is None:
        stand_ins.forget(state_path(request), [pid])
    _write(outcome)
    return outcome


def _become(outcome: Exit, request: Request, pid: int) -> int:
    """Become the real command that the task *pid* stands for, which ends when that has ended."""
    import errno
    import signal

    environ = environment(request, os.environ.get("PATH", os.defpath))
    environ["PYMIGRATE_TASK"] = f"{pid}={os.getpid()}"
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    command = list(outcome.command)
    try:
        try:
            os.execvpe(command[0], command, environ)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            found = find_command(command[0], environ["PATH"]) or command[0]
            os.execve("/bin/sh", ["sh", found, *command[1:]], environ)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        _write(programs.not_found(outcome._replace(stdout="", stderr=""), reason))
        return 1


def _run_traced(argv: Sequence[str], request: Request) -> int:
    """Run a program as the real process that this is, a task of the machine under its own number.

    It becomes the command of numactl, which has its policy and CPUs then.
    """
    with session(request, say) as machine:
        task = machine.tasks.get(os.getpid()) or machine.shell_of(0)
        system = System(machine, task, os.environ, _terminal_width())
        outcome = programs.run(argv, system)
        system.finish()
        if outcome.command:
            task.policy = system.task.policy
            task.il_prev, task.il_weight = system.task.il_prev, system.task.il_weight
            task.cpus, task.user_cpus = system.task.cpus, system.task.user_cpus
    _write(outcome)
    if not outcome.command:
        return outcome.exit
    try:
        os.execvp(outcome.command[0], list(outcome.command))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        _write(programs.not_found(outcome._replace(stdout="", stderr=""), reason))
        return 1


def execute(command: Sequence[str], environ: Mapping[str, str], pid: int = 0) -> int:
    """Run a real command, for which the simulated process *pid* stands if one does.

    Returns its exit code, 128 and the number if a signal has ended it. What is sent to this
    process meanwhile it gets.
    """
    import signal
    import subprocess

    script = _SHELL_TASK if pid else _SHELL_PLAIN
    children: list[subprocess.Popen[bytes]] = []
    early: list[int] = []  # signals that came before it was there

    def forward(number: int, _: object) -> None:
        for child in children:
            child.send_signal(number)
        if not children:
            early.append(number)

    forwarded = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    before = {number: signal.signal(number, forward) for number in forwarded}
    child = subprocess.Popen(["/bin/sh", "-c", script, str(pid), *command], env=dict(environ))
    children.append(child)
    for number in (signal.SIGINT, signal.SIGQUIT):  # a terminal sends them to both
        before[number] = signal.signal(number, signal.SIG_IGN)
    for missed in early:
        child.send_signal(missed)
    try:
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else _SIGNALLED - code


def environment(request: Request, path: str) -> dict[str, str]:
    """The environment of a command that is to work on the same machine, with shims on *path*."""
    environ = {**os.environ, "PATH": path, "PYMIGRATE_STATE": os.path.abspath(state_path(request))}
    environ.pop("PYMIGRATE_SCENARIO", None)
    if request.scenario:
        environ["PYMIGRATE_SCENARIO"] = os.path.abspath(scenario_path(request.scenario))
    return environ


@contextmanager
def shims_on_path() -> Iterator[str]:
    """A PATH that finds shims first: the environment's, or one with shims made for a while."""
    path = os.environ.get("PATH", os.defpath)
    if has_shims(path):
        yield path
        return
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="pymigrate-") as folder:
        write_shims(folder)
        yield f"{folder}{os.pathsep}{path}"


def has_shims(path: str) -> bool:
    """Whether the programs that a PATH finds are shims."""
    found = find_command("numactl", path)
    return found is not None and is_shim(found)


def find_command(name: str, path: str) -> str | None:
    """The file that a command's name means. Raises PermissionError if none may be executed."""
    places = [name] if "/" in name else [os.path.join(d, name) for d in path.split(os.pathsep)]
    files = [place for place in places if os.path.isfile(place)]
    for file in files:
        if os.access(file, os.X_OK):
            return file
    if files:
        raise PermissionError(f"{files[0]} is not executable")
    return None


@contextmanager
def kept(request: Request) -> Iterator[Request]:
    """The machine's *request*; a machine for one command alone is a file for that long."""
    if not request.ephemeral:
        yield request
        return
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="pymigrate-") as folder:
        yield request._replace(ephemeral=False, state=os.path.join(folder, "state.db"))


def _calling_task(machine: Machine, uid: int) -> tuple[Task, dict[int, int]]:
    """The task that the program is called from, and which real process it stands for.

    A command's task that is gone was killed; its programs go on as the shell's. Raises KernelError
    ESRCH for a task that never was.
    """
    shell = machine.shell_of(uid)
    who = os.environ.get("PYMIGRATE_TASK", "")
    pid, is_command, real = who.partition("=")
    if not who:
        return shell, {}
    if not is_command:
        return find_task(machine, who), {}
    task = machine.tasks.get(int(pid)) if pid.isdecimal() and real.isdecimal() else None
    return (task, {int(real): task.pid}) if task else (shell, {})


def _begin(outcome: Exit, system: System, size: int | None) -> Exit:
    """Let a real command have its task; an outcome without a command is how that failed."""
    try:
        found = find_command(outcome.command[0], os.environ.get("PATH", os.defpath))
    except PermissionError:
        return programs.not_found(outcome, "Permission denied")._replace(command=())
    if found is None:
        return programs.not_found(outcome)._replace(command=())
    task = system.start(os.path.basename(outcome.command[0]))
    size = DEFAULT_SIZE if size is None else size
    if size:
        try:
            region = system.mmap(size)
        except KernelError as error:
            return outcome._replace(exit=1, command=(), stderr=f"pymigrate: --size: {error}\n")
        name_region(system.machine, task, "data", region)
        signalled = system.touch(region)
        if signalled:
            return outcome._replace(exit=SIGNALLED[signalled], command=())
    return outcome


def _write(outcome: Exit) -> None:
    """stdout is buffered, so that what goes to stderr is there first."""
    for stream, text in ((sys.stderr, outcome.stderr), (sys.stdout, outcome.stdout)):
        if stream:  # it is not closed
            stream.write(text)
            stream.flush()


def _terminal_width() -> int:
    return os.get_terminal_size(1).columns if sys.stdout and sys.stdout.isatty() else 0


def say(text: str) -> None:
    """One line for the user, on stderr."""
    if sys.stderr:
        sys.stderr.write(f"pymigrate: {text}\n")


def quiet(_: str) -> None:
    """Nothing, of a machine that nobody sees again."""
