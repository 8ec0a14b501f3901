"""Measuring whole commands: best of several, as a ratio to a bare Python in the same run."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ROOT / "scenarios"
PYMIGRATE = [sys.executable, "-m", "pymigrate"]


def best(do: Callable[[], object], times: int = 5) -> float:
    """The shortest of *times* runs, in seconds."""
    found = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        do()
        found = min(found, time.perf_counter() - start)
    return found


def run(*args: str, state: str | None = None, stdin: str | None = None) -> str:
    """The stdout of a command; pymigrate if *args* do not begin with a path."""
    argv = [*PYMIGRATE, *args]
    env = _environment(state)
    done = subprocess.run(
        argv, env=env, cwd=ROOT, input=stdin, capture_output=True, text=True, check=True
    )
    return done.stdout


def bare_python(times: int = 15) -> float:
    """Seconds of `python3 -c pass`."""
    return best(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), times)


def peak_memory(*args: str, state: str) -> float:
    """The peak resident memory in MB of a pymigrate command."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True,"
        " stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    env = _environment(state)
    argv = [sys.executable, "-c", code, *PYMIGRATE, *args]
    out = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(out.stdout) / (1024 if sys.platform != "darwin" else 1 << 20)


@contextmanager
def state_file() -> Iterator[str]:
    """The path of a state that does not exist yet."""
    with tempfile.TemporaryDirectory() as folder:
        yield os.path.join(folder, "machine.db")


def max_rss() -> float:
    """This process's peak resident memory in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _environment(state: str | None) -> dict[str, str]:
    """The environment of a command; bytecode may be kept, as where pymigrate is installed."""
    env = {name: v for name, v in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return env | ({"PYMIGRATE_STATE": state} if state else {})
