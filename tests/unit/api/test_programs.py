"""Real programs on a machine of the API."""

import subprocess
import sys
from pathlib import Path

import pytest

from pymigrate import Machine, UnsupportedError
from pymigrate.api import programs
from pymigrate.native.support import obstacle

can_trace = pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "it can")
MIGRATE = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def mask(bits): return ctypes.byref(ctypes.c_ulong(bits))
print(libc.syscall(256, 100, 64, mask(1), mask(2)))
print(libc.syscall(256, 99999, 64, mask(1), mask(2)), ctypes.get_errno())
"""


@can_trace
def test_result_is_that_of_subprocess(machine: Machine, tmp_path: Path) -> None:
    script = "pwd; echo $WORD; cat; echo oh >&2; exit 3"
    env = {"WORD": "a b", "PATH": "/usr/bin:/bin"}
    done = machine.run(["sh", "-c", script], env=env, cwd=tmp_path, input="one\r\n\udcff")
    assert (done.args, done.returncode) == (["sh", "-c", script], 3)
    assert (done.stdout, done.stderr) == (f"{tmp_path}\na b\none\r\n\udcff", "oh\n")
    with pytest.raises(subprocess.CalledProcessError):
        done.check_returncode()


@can_trace
def test_program_sees_the_machine_and_changes_it(machine: Machine) -> None:
    assert machine.run(["cat", "/sys/devices/system/node/online"]).stdout == "0-1\n"
    script = "echo 3 > /proc/sys/vm/nr_hugepages"
    assert machine.run(["sh", "-c", script]).returncode == 0
    assert machine.sysctl("nr_hugepages") == "3"
    assert machine.tasks == {"a": 100, "b": 200}
    assert machine.run(["cat", "/proc/sys/vm/nr_hugepages"]).stdout == "3\n"


@can_trace
def test_calls_and_counters_are_told(machine: Machine) -> None:
    done = machine.run([sys.executable, "-I", "-S", "-c", MIGRATE])
    assert (done.returncode, done.stdout) == (0, "0\n-1 3\n")
    calls = [call for call in done.calls if call.name == "migrate_pages"]
    assert [(call.args[:2], call.ret, call.errno) for call in calls] == [
        ((100, 64), 0, None),
        ((99999, 64), -1, "ESRCH"),
    ]
    assert {len(call.args) for call in calls} == {4}
    assert {call.pid for call in calls} == {call.tid for call in calls}
    assert done.counters["pgmigrate_success"] == 10
    assert machine.numa_maps("a")[0].nodes == {1: 8}


@can_trace
def test_trace_goes_on_with_the_machine(machine: Machine) -> None:
    with machine.trace() as trace:
        machine.run(["true"])
        machine.migrate_pages("a", 0, 1)
    assert trace.lines[0].startswith("mm_migrate_pages_start:")


@can_trace
def test_program_that_is_not_there(machine: Machine) -> None:
    before = machine.vmstat()
    done = machine.run(["nosuchprogram"])
    said = "pymigrate: nosuchprogram: No such file or directory\n"
    assert (done.returncode, done.stdout, done.stderr) == (127, "", said)
    assert (done.calls, done.counters) == ((), {})
    assert machine.vmstat() == before


@can_trace
def test_it_waits_for_what_the_program_has_started(machine: Machine) -> None:
    script = "(sleep 0.3; echo 2 > /proc/sys/vm/nr_hugepages) > /dev/null 2>&1 & echo begun"
    assert machine.run(["sh", "-c", script]).stdout == "begun\n"
    assert machine.sysctl("nr_hugepages") == "2"


@can_trace
def test_time_runs_out(machine: Machine) -> None:
    script = "echo 2 > /proc/sys/vm/nr_hugepages; echo begun; sleep 600 & sleep 600"
    for timeout in (1, 4, 16, 64):  # a busy host is slow
        with pytest.raises(subprocess.TimeoutExpired) as expired:
            machine.run(["sh", "-c", script], timeout=timeout)
        assert (expired.value.cmd, expired.value.timeout) == (["sh", "-c", script], timeout)
        if expired.value.output:
            break
    assert expired.value.output == "begun\n"
    assert machine.sysctl("nr_hugepages") == "0"


def test_where_it_cannot_run_it_says_why(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYMIGRATE_EXEC", "/other.db")
    with pytest.raises(UnsupportedError, match=r"^exec cannot run on another machine inside of an"):
        machine.run(["true"])


@pytest.mark.parametrize(("failures", "exits"), [(2, True), (3, False)])
def test_number_of_a_task_is_not_had_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, failures: int, exits: bool
) -> None:
    left = [b"pymigrate: the host gave this process the number 100; try again\n"] * failures

    def execute(*_: object) -> tuple[int, bytes, bytes]:
        return (2, b"", left.pop()) if left else (7, b"done", b"")

    monkeypatch.setattr(programs, "_execute", execute)
    if exits:
        assert machine.run(["true"]).returncode == 7
    else:
        with pytest.raises(UnsupportedError, match="try again"):
            machine.run(["true"])


@pytest.mark.parametrize("args", ["ls -l", []])
def test_program_must_be_a_sequence(machine: Machine, args: "str | list[str]") -> None:
    with pytest.raises(ValueError, match="expected a program and its arguments as a sequence"):
        machine.run(args)
