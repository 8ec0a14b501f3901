"""Commands in this process, each with limits of time and memory."""

import io
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from pymigrate.cli.main import main

MAX_SECONDS = 5  # of this process's own time, for a command or a scenario
MAX_BYTES = 1 << 30  # more than there was before


class Outcome(NamedTuple):
    """How a command ended, and what it wrote."""

    exit: int
    stdout: str
    stderr: str


Run = Callable[[str | list[str]], Outcome]


class TooLongError(BaseException):
    """A command was not done in time. No `except Exception` catches it."""


@contextmanager
def limited() -> Iterator[None]:
    """Let what is done within neither hang nor take all memory."""
    if sys.platform == "win32":
        yield
        return
    import resource

    def stop(*_: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGVTALRM, stop)
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    signal.setitimer(signal.ITIMER_VIRTUAL, MAX_SECONDS)
    resource.setrlimit(resource.RLIMIT_DATA, (_data() + MAX_BYTES, limits[1]))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        resource.setrlimit(resource.RLIMIT_DATA, limits)
        signal.signal(signal.SIGVTALRM, before)


def _data() -> int:
    """How much memory the process has that counts, in bytes."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[5]
    except OSError:
        return 4 << 30
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `pymigrate`, in an empty folder, on the state file state.db in it.

    Whatever a command raises, but its exit, ends the test.
    """
    for name in ("PYMIGRATE_SCENARIO", "XDG_STATE_HOME", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PYMIGRATE_STATE", str(tmp_path / "state.db"))
    monkeypatch.chdir(tmp_path)

    def command(line: str | list[str]) -> Outcome:
        words = shlex.split(line) if isinstance(line, str) else line
        monkeypatch.setattr(sys, "argv", ["pymigrate", *words])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        out, err = io.StringIO(), io.StringIO()
        with limited(), redirect_stdout(out), redirect_stderr(err):
            try:
                main()
            except SystemExit as stop:
                code = stop.code
        assert isinstance(code, int)
        return Outcome(code, out.getvalue(), err.getvalue())

    return command
