"""Real programs on the simulated machine, beside the bare host in the same run."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from pymigrate.native.support import obstacle
from tests.bench.common import PYMIGRATE, ROOT, SCENARIOS, bare_python, best, run, state_file

# 200 short processes, eight at once.
SHORT = """
i=0; while [ $i -lt 25 ]; do
    for j in 1 2 3 4 5 6 7 8; do sh -c 'exit $0' $j & done; wait; i=$((i+1))
done
"""


def main() -> None:
    if why := obstacle():
        print(f"  not here: {why}")
        return
    with state_file() as state:
        run("boot", str(SCENARIOS / "four-node-two-socket.yaml"), state=state)
        bare = bare_python()
        seconds = _exec(state, "true", times=15)
        print(f"  exec -- true        {seconds * 1e3:7.1f} ms, {seconds / bare:.1f} times python3")
        _short_processes(state)
        if shutil.which("gcc"):
            _calls(state)


def _exec(state: str, *command: str, times: int = 7) -> float:
    """The shortest of some runs, in seconds; the tracer, which ends later, is not waited for."""
    argv = [*PYMIGRATE, "exec", "--state", state, "--", *command]
    found = []
    while len(found) < times:
        start = time.perf_counter()
        done = subprocess.run(argv, cwd=ROOT, stderr=subprocess.DEVNULL, check=False)
        if done.returncode != 3:  # else the tracer before is about to end
            found.append(time.perf_counter() - start)
        time.sleep(0.1)
    return min(found)


def _short_processes(state: str) -> None:
    command = ["sh", "-c", SHORT]
    bare = best(lambda: subprocess.run(command, check=True))
    seconds = _exec(state, *command)
    print(f"  200 short processes {seconds * 1e3:7.1f} ms, {seconds / bare:.1f} times the host")


def _calls(state: str) -> None:
    """Microseconds of system calls; the host's beside them."""
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/calls"
        source = Path(__file__).parent / "exec_calls.c"
        subprocess.run(["gcc", "-O1", "-o", program, str(source)], check=True)
        host = subprocess.run([program], capture_output=True, text=True, check=True).stdout
        here = run("exec", "--", program, state=state)
    for row, bare in zip(here.splitlines(), host.splitlines(), strict=True):
        name, seconds = row.split("\t")
        print(f"  {name:36} {float(seconds):10.1f} us  ({bare.split(chr(9))[1]})")


if __name__ == "__main__":
    main()
