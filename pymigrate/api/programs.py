"""Real programs on the machine of a Python program: what `pymigrate exec` does to a state file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory

from pymigrate import holder
from pymigrate.api.results import ERRNO_NAMES
from pymigrate.errors import UnsupportedError
from pymigrate.mm.state.machine import Machine
from pymigrate.records import NamedTuple, names_of
from pymigrate.session import INLINE, load_state, save_state
from pymigrate.store.store import Boot
from pymigrate.version import __version__
from pymigrate.views.told import changes

AnyPath = str | os.PathLike[str]
_OURS = ("PYMIGRATE_SCENARIO", "PYMIGRATE_STATE", "PYMIGRATE_TASK")
_REFUSED, _SAYS = (2, 3), b"pymigrate: "
# What exec says when the host gives it the number of a task; the next time it is another.
_TRIES, _AGAIN = 3, "; try again"
# Whatever the program's environment is, the command is this pymigrate's, with its libraries.
_COMMAND = "import sys; sys.path[:] = {}; from pymigrate.cli.main import main; main()"


class Called(NamedTuple):
    """A system call of a program that the machine has answered.

    *args* are registers: pointers stay addresses. *errno* is the name if it failed, and *ret* -1.
    """

    pid: int
    tid: int
    name: str
    args: tuple[int, ...]
    ret: int
    errno: str | None


class Finished(subprocess.CompletedProcess[str]):
    """How a program has ended, as subprocess.run() has it, and what it did to the machine.

    *returncode* is negative if a signal has ended it, 127 or 126 if there is no such program, as
    stderr says then. *calls* are those that were answered, in their order, its children's among
    them; *counters* are those of the machine that are not as before, with the difference.
    """

    def __init__(
        self,
        args: Sequence[AnyPath],
        returncode: int,
        output: tuple[str, str],
        calls: tuple[Called, ...],
        counters: dict[str, int],
    ) -> None:
        super().__init__(args, returncode, *output)
        self.calls, self.counters = calls, counters


class How(NamedTuple):
    """The circumstances of a program; see subprocess.run()."""

    env: Mapping[str, str] | None = None
    cwd: AnyPath | None = None
    input: str | None = None
    timeout: float | None = None


def run(machine: Machine, args: Sequence[AnyPath], how: How) -> Finished:
    """Run a program on *machine*, which is changed; see Machine.run()."""
    if isinstance(args, str) or not args:
        raise ValueError(f"expected a program and its arguments as a sequence, not {args!r}")
    before = changes.counters(machine)
    for left in range(_TRIES)[::-1]:
        try:
            code, output, calls = _run(machine, args, how)
            break
        except UnsupportedError as error:
            if not left or not str(error).endswith(_AGAIN):
                raise
    counted = changes.counted(before, changes.counters(machine))
    return Finished(args, code, output, calls, counted)


def _run(
    machine: Machine, args: Sequence[AnyPath], how: How
) -> tuple[int, tuple[str, str], tuple[Called, ...]]:
    """Run a program on a state file for it: its exit code, its output, and the answered calls."""
    with TemporaryDirectory(prefix="pymigrate-") as folder:
        state, calls = os.path.join(folder, "state.db"), os.path.join(folder, "calls")
        save_state(state, machine, Boot(INLINE, "0:0:", machine.release.name, __version__))
        code, out, err = _execute(state, calls, [os.fspath(arg) for arg in args], how)
        answered = _read(calls)
        if code in _REFUSED and not answered and err.startswith(_SAYS):
            raise UnsupportedError(_text(err).removeprefix(_SAYS.decode()).rstrip("\n"))
        _become(machine, load_state(state)[0])
    return code, (_text(out), _text(err)), answered


def _execute(state: str, calls: str, args: list[str], how: How) -> tuple[int, bytes, bytes]:
    """Run `pymigrate exec`, until the last of the programs has ended: its exit code and output.

    Raises TimeoutExpired once they are killed, OSError.
    """
    environ = dict(os.environ if how.env is None else how.env)
    for name in _OURS:
        environ.pop(name, None)
    begin = [sys.executable, "-I", "-c", _COMMAND.format(sys.path)]
    command = [*begin, "exec", "--state", state, "--calls", calls, "--", *args]
    data = None if how.input is None else how.input.encode("utf-8", "surrogateescape")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command,
        env=environ,
        cwd=how.cwd,
        stdin=subprocess.DEVNULL if data is None else pipe,
        stdout=pipe,
        stderr=pipe,
    ) as process:
        try:
            out, err = process.communicate(data, how.timeout)
        except BaseException as error:
            _kill(process, state)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            output = [_text(data) for data in process.communicate()]
            raise subprocess.TimeoutExpired(args, error.timeout, *output) from None
        return process.returncode, out, err


def _kill(process: subprocess.Popen[bytes], state: str) -> None:
    """Kill the program; with its tracer, whatever it has left running ends too."""
    tracer = holder.holder_of(state)
    process.kill()
    if tracer:
        os.kill(tracer, signal.SIGKILL)
    holder.leftover(state)


def _read(path: str) -> tuple[Called, ...]:
    """The answered calls; none if the program never began."""
    try:
        with open(path, encoding="utf-8") as file:
            return tuple(_called(json.loads(line)) for line in file)
    except FileNotFoundError:
        return ()


def _called(row: dict[str, int | str | list[int]]) -> Called:
    pid, tid, name, args, result = row.values()
    assert isinstance(pid, int)
    assert isinstance(tid, int)
    assert isinstance(args, list)
    assert isinstance(result, int)
    errno = ERRNO_NAMES.get(-result) if result < 0 else None
    return Called(pid, tid, str(name), tuple(args), -1 if errno else result, errno)


def _become(machine: Machine, other: Machine) -> None:
    """Let *machine* be in the state of *other*; those who look on go on to."""
    for name in names_of(machine):
        if name != "watch":
            setattr(machine, name, getattr(other, name))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
