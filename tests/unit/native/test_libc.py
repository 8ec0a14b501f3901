import subprocess
import sys

import pytest

from pymigrate.native.support import obstacle

if obstacle():
    pytest.skip(obstacle(), allow_module_level=True)

# A tracer of a child that makes a child of its own, and is killed before anybody asks for its pid.
KILLED = """
import os, signal, time
from pymigrate.native import libc
ready, go = os.pipe()
child = os.fork()
if not child:
    os.read(ready, 1)
    made = os.fork()
    os._exit(0)
libc.seize(child)
os.write(go, b"+")
event = 0
while event != libc.EVENT_FORK:
    tid, status = libc.wait()
    event = status >> 16 if tid == child else 0
made = libc.event_message(child, event)
print(os.path.exists(f"/proc/{made}"))
os.kill(child, signal.SIGKILL)
for _ in range(1000):
    try:
        libc.event_message(child, event)
    except ProcessLookupError:
        print("told")
        break
    time.sleep(0.01)
os.kill(made, signal.SIGKILL)
"""


def test_child_of_who_is_killed_is_not_taken_for_another() -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("True\ntold\n", "")
