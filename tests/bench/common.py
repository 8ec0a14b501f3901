"""Measuring whole commands: best of several, as a ratio to a bare Python in the same run."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ROOT / "scenarios"
_LIMIT = 60  # seconds of CPU, after which a command is given up
PYMIGRATE = [sys.executable, "-m", "pymigrate"]


def best(do: Callable[[], object], times: int = 5) -> float:
    """The shortest of *times* runs, in seconds."""
    found = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        do()
        found = min(found, time.perf_counter() - start)
    return found


def run(*args: str, state: str | None = None, stdin: str | None = None, cwd: Path = ROOT) -> str:
    """The stdout of a command; pymigrate if *args* do not begin with a path."""
    argv = [*PYMIGRATE, *args]
    env = _environment(state)
    done = subprocess.run(
        argv, env=env, cwd=cwd, input=stdin, capture_output=True, text=True, check=True
    )
    return done.stdout


class Cost(NamedTuple):
    """What a command took: user CPU, which says more than time where others work too; memory."""

    seconds: float
    mb: float


def cost(
    *args: str, state: str | None = None, ok: tuple[int, ...] = (0,), cwd: Path = ROOT
) -> Cost:
    """What a pymigrate command costs whose exit code is one of *ok*."""
    return _cost([*PYMIGRATE, *args], _environment(state), ok, cwd)


def loop() -> float:
    """User seconds of a fixed piece of pure Python, to compare others with."""
    code = "s=0\nfor i in range(8_000_000): s+=i*i%7"
    return _cost([sys.executable, "-c", code], _environment(None), (0,), ROOT).seconds


def _cost(argv: list[str], env: dict[str, str], ok: tuple[int, ...], cwd: Path) -> Cost:
    code = (
        "import resource, subprocess, sys;"
        f"resource.setrlimit(resource.RLIMIT_CPU, ({_LIMIT}, {_LIMIT}));"
        "code = subprocess.run(sys.argv[1:],"
        " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode;"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(code, used.ru_utime, used.ru_maxrss)"
    )
    argv = [sys.executable, "-c", code, *argv]
    out = subprocess.run(argv, env=env, cwd=cwd, capture_output=True, text=True, check=True).stdout
    found, seconds, peak = out.split()
    assert int(found) in ok, f"exit code {found}: {argv[3:]}"
    return Cost(float(seconds), int(peak) / (1024 if sys.platform != "darwin" else 1 << 20))


def bare_python(times: int = 15) -> float:
    """Seconds of `python3 -c pass`."""
    return best(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), times)


@contextmanager
def state_file() -> Iterator[str]:
    """The path of a state that does not exist yet."""
    with tempfile.TemporaryDirectory() as folder:
        yield os.path.join(folder, "machine.db")


def _environment(state: str | None) -> dict[str, str]:
    """The environment of a command; bytecode may be kept, as where pymigrate is installed."""
    env = {name: v for name, v in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return env | ({"PYMIGRATE_STATE": state} if state else {})
