"""Real programs on the simulated machine: what they print is the scenario's.

They are the host's own; where one is not installed, or the host cannot trace, the test is skipped.
"""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pymigrate.native.support import _obstacle as obstacle
from tests.cli.conftest import Outcome, Shell

if why := obstacle():
    pytest.skip(why, allow_module_level=True)


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def exec_(shell: Shell, script: str, *options: str) -> Outcome:
    """Run a script of sh on the simulated machine."""
    path = shell.write("script.sh", script)
    return shell.spawn(" ".join(["exec", *options, "--", "sh", str(path)]))


def out(shell: Shell, script: str) -> str:
    """What a script prints that has nothing to complain of."""
    outcome = exec_(shell, script)
    assert (outcome.exit, outcome.stderr) == (0, "")
    return outcome.stdout


def python(shell: Shell, program: str) -> str:
    """What a program of Python prints, run by the same Python without its site packages."""
    path = shell.write("program.py", program)
    return out(shell, f"exec {sys.executable} -I -S {path}")


# how it begins and ends


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        ("true", Outcome(0)),
        ("-- sh -c 'exit 9'", Outcome(9)),
        ("-- sh -c 'kill -TERM $$'", Outcome(-signal.SIGTERM)),
        ("echo --state -h", Outcome(0, "--state -h\n")),
        (
            "nosuchcommand",
            Outcome(127, "", "pymigrate: nosuchcommand: No such file or directory\n"),
        ),
        ("./machine.yaml", Outcome(126, "", "pymigrate: ./machine.yaml: Permission denied\n")),
    ],
)
def test_exit(shell: Shell, command: str, outcome: Outcome) -> None:
    assert shell.spawn(f"exec {command}") == outcome


def test_script_that_does_not_say_whose_it_is(shell: Shell) -> None:
    path = shell.write("plain", "echo $1\n")
    path.chmod(0o755)
    assert shell.spawn("exec -- ./plain word") == Outcome(0, "word\n")


def test_it_boots(unbooted: Shell) -> None:
    assert unbooted.spawn("exec -- true") == Outcome(
        0, "", f"pymigrate: booted {unbooted.scenario}\n"
    )


def test_wrong_scenario_is_told_before_the_command_starts(unbooted: Shell) -> None:
    unbooted.write("machine.yaml", "machine: 5")
    outcome = unbooted.spawn("exec -- echo started")
    assert (outcome.exit, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith(f"pymigrate: {unbooted.scenario}:1:1")


def test_machine_for_one_command(shell: Shell) -> None:
    with shell.unchanged():
        assert (
            shell.spawn("exec --ephemeral -- sh -c 'cat /proc/sys/vm/nr_hugepages'").stdout == "0\n"
        )


def test_process_is_a_task_while_it_runs(shell: Shell) -> None:
    line = out(
        shell, "pid=$$; cat /proc/$$/comm; cat /proc/$$/cpuset; test -d /proc/self && echo yes"
    )
    assert line == "sh\n/\nyes\n"
    assert shell.out("ps").count("\n") == 3  # it is gone with its end


def test_arguments_and_environment_are_passed_on(shell: Shell) -> None:
    env = shell.environment(WORD="a b")
    outcome = shell.spawn('exec -- sh -c \'echo "$WORD" "$0" "$1"\' x \'y z\'', env=env)
    assert outcome == Outcome(0, "a b x y z\n")


# files


def test_files_are_the_scenarios(shell: Shell) -> None:
    script = "cat /sys/devices/system/node/online /sys/devices/system/node/node1/cpulist"
    assert out(shell, script) == "0-1\n2-3\n"
    assert out(shell, "grep MemTotal /proc/meminfo") == "MemTotal:         131072 kB\n"
    assert out(shell, "cat /proc/200/numa_maps") == shell.out("numa_maps 200")
    assert out(shell, "cat /proc/100/comm") == "alpha\n"


def test_relative_paths_links_and_directories(shell: Shell) -> None:
    script = """
        cd /sys/devices/system/node; pwd; cat node0/../node1/cpulist; ls -d node*
        cd ..; cat node/node0/cpulist
        ln -s /sys/devices/system/node/node1 here; cd - >/dev/null; /bin/pwd
    """
    expected = "/sys/devices/system/node\n2-3\nnode0\nnode1\n0-1\n/sys/devices/system/node\n"
    assert exec_(shell, script).stdout == expected
    (shell.folder / "link").symlink_to("/sys/devices/system/node/node1")
    assert out(shell, "cat link/cpulist; cat link/../node0/cpulist") == "2-3\n0-1\n"


def test_file_is_the_same_when_it_is_opened_as_before(shell: Shell) -> None:
    program = """
import os
for _ in range(2):
    before = os.stat("/proc/vmstat")
    one, other = os.open("/proc/vmstat", 0), os.open("/proc/vmstat", 0)
    print(os.path.samestat(before, os.fstat(one)), len(os.read(one, 1 << 20)) > 1000)
    print(os.path.samestat(os.fstat(one), os.fstat(other)))
"""
    assert python(shell, program) == "True True\nFalse\n" * 2
    assert out(shell, "cp /proc/vmstat copy; cp /proc/vmstat copy; grep -c numa_hit copy") == "1\n"


def test_directory_is_listed_with_all_its_facts(shell: Shell) -> None:
    lines = out(shell, "ls -la /sys/devices/system/node/node1").splitlines()
    names = {line.split(" -> ")[0].split()[-1]: line.split()[0][:10] for line in lines[1:]}
    assert names["cpu3"] == "lrwxrwxrwx"
    assert names["memory_failure"] == "drwxr-xr-x"
    assert names["cpulist"] == "-r--r--r--"
    assert "cpu1" not in names


def test_other_files_are_the_hosts(shell: Shell) -> None:
    assert out(shell, "cat /proc/sys/kernel/ostype machine.yaml | head -n 1") == "Linux\n"


def test_processes_of_the_host_are_not_seen(shell: Shell) -> None:
    assert out(shell, "cat /proc/1/comm 2>/dev/null || echo none") == "none\n"
    listed = out(shell, "ls /proc | grep '^[0-9]' | sort -n").split()
    assert listed[:2] == ["100", "200"]
    assert len(listed) <= 7


def test_file_is_read_again_as_it_is_now(shell: Shell) -> None:
    program = """
import os
file = open("/proc/sys/vm/nr_hugepages")
before = file.read()
with open("/proc/sys/vm/nr_hugepages", "w") as other:
    other.write("4")
file.seek(0)
print(before.strip(), file.read().strip(), os.pread(file.fileno(), 9, 0))
"""
    assert python(shell, program) == "0 4 b'4\\n'\n"


def test_writes_act_at_once_and_give_their_errno(shell: Shell) -> None:
    script = """
        echo 3 > /proc/sys/vm/nr_hugepages && cat /proc/sys/vm/nr_hugepages
        echo 1 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages
        cat /proc/sys/vm/nr_hugepages
        echo much > /proc/sys/vm/nr_hugepages || echo $?
        printf 1 | tee /proc/sys/kernel/numa_balancing
        cat /proc/sys/kernel/numa_balancing
    """
    outcome = exec_(shell, script)
    assert outcome.stdout == "3\n3\n1\n11\n"
    assert "Invalid argument" in outcome.stderr or "I/O error" in outcome.stderr
    assert shell.out("sysctl nr_hugepages") == "3\n"


def test_write_that_is_not_simulated_is_refused(shell: Shell) -> None:
    outcome = exec_(shell, "echo 1 > /sys/devices/system/node/online")
    said = "pymigrate: writing to /sys/devices/system/node/online cannot be simulated yet\n"
    assert outcome.exit != 0
    assert said in outcome.stderr


def test_setting_that_only_has_one_value(shell: Shell) -> None:
    script = """
        echo 0 > /proc/sys/vm/zone_reclaim_mode && echo never > \\
            /sys/kernel/mm/transparent_hugepage/shmem_enabled && echo kept
        echo 1 > /proc/sys/vm/zone_reclaim_mode || cat /proc/sys/vm/zone_reclaim_mode
    """
    outcome = exec_(shell, script)
    assert outcome.stdout == "kept\n0\n"
    said = "pymigrate: /proc/sys/vm/zone_reclaim_mode is always 0: others are not simulated\n"
    assert said in outcome.stderr


def test_cpuset_is_a_directory(shell: Shell) -> None:
    script = """
        cd /sys/fs/cgroup && grep -q cpuset cgroup.controllers
        echo +cpuset > cgroup.subtree_control; mkdir batch && echo 1 > batch/cpuset.mems
        echo $$ > batch/cgroup.procs; cat /proc/self/cpuset
        grep Mems_allowed_list /proc/self/status
        rmdir batch 2>/dev/null || echo busy
        echo 100 > batch/cgroup.procs; echo $$ > cgroup.procs; cat batch/cgroup.procs
    """
    expected = "/batch\nMems_allowed_list:\t1\nbusy\n100\n"
    assert out(shell, script) == expected
    assert "N1=8" in shell.out("numa_maps 100")


# calls


MEMORY = """
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
MBIND, SET, GET, MIGRATE, MOVE = 237, 238, 239, 256, 279
def call(nr, *args):
    ctypes.set_errno(0)
    words = [ctypes.c_ulong(a & (1 << 64) - 1) if isinstance(a, int) else a for a in args]
    ret = libc.syscall(ctypes.c_long(nr), *words)
    return ret if ret >= 0 else -ctypes.get_errno()
def mask(bits): return ctypes.byref(ctypes.c_ulong(bits))
area = mmap.mmap(-1, 16 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
addr = ctypes.addressof(ctypes.c_char.from_buffer(area))
def touch(first, nr):
    for page in range(first, first + nr): area[page * 4096] = 1
def places(first, nr):
    pages = (ctypes.c_void_p * nr)(*[addr + 4096 * (first + i) for i in range(nr)])
    status = (ctypes.c_int * nr)()
    assert call(MOVE, 0, nr, pages, 0, status, 0) == 0
    return list(status)
"""


def test_policies_place_pages(shell: Shell) -> None:
    program = f"""{MEMORY}
touch(0, 2)
assert call(SET, 2, mask(2), 64) == 0
touch(2, 2)
print(places(0, 5))
assert call(MBIND, addr + 4 * 4096, 4 * 4096, 3, mask(3), 64, 0) == 0
touch(4, 4)
print(places(4, 4))
print(call(MIGRATE, 0, 64, mask(1), mask(2)), places(0, 8))
print(call(SET, 9, 0, 0), call(MBIND, addr + 1, 4096, 0, 0, 0, 0), call(SET, 2, mask(1 << 9), 64))
print(call(MBIND, addr, 4096, 2, 8, 64, 0), call(MIGRATE, 99999, 64, mask(1), mask(2)))
"""
    lines = python(shell, program).splitlines()
    assert lines[0] == "[0, 0, 1, 1, -2]"
    assert sorted(eval(lines[1])) == [0, 0, 1, 1]
    assert lines[2] == "0 [1, 1, 1, 1, 1, 1, 1, 1]"
    assert lines[3:] == ["-22 -22 -22", "-14 -3"]


def test_pages_are_moved_and_told(shell: Shell) -> None:
    program = f"""{MEMORY}
touch(0, 3)
pages = (ctypes.c_void_p * 4)(*[addr + 4096 * i for i in range(4)])
nodes = (ctypes.c_int * 4)(1, 0, 7, 1)
status = (ctypes.c_int * 4)(*[77] * 4)
print(call(MOVE, 0, 4, pages, nodes, status, 2), list(status))
nodes[2] = 1
print(call(MOVE, 0, 4, pages, nodes, status, 2), list(status))
node = ctypes.c_int()
print(call(GET, ctypes.byref(node), 0, 0, addr, 3), node.value)
for line in open("/proc/self/numa_maps"):
    if int(line.split()[0], 16) == addr: print(*line.split()[1:])
"""
    expected = ["-19 [77, 77, 77, 77]", "0 [1, 0, 1, -2]", "0 1"]
    lines = python(shell, program).splitlines()
    assert lines[1:3] == expected[1:]
    assert lines[3] == "default anon=3 dirty=3 active=0 N0=1 N1=2 kernelpagesize_kB=4"


def test_cpus_are_the_scenarios(shell: Shell) -> None:
    program = """
import os
print(os.sched_getaffinity(0), os.cpu_count())
os.sched_setaffinity(0, {2})
print(os.sched_getaffinity(0), open("/proc/self/stat").read().rsplit(")")[1].split()[36])
print(os.sched_getaffinity(200))
try: os.sched_setaffinity(0, {9})
except OSError as error: print(error.errno)
"""
    assert python(shell, program) == "{0, 1, 2, 3} 4\n{2} 2\n{2, 3}\n22\n"


def test_child_inherits_and_goes_its_own_way(shell: Shell) -> None:
    program = f"""{MEMORY}
assert call(SET, 2, mask(2), 64) == 0
touch(0, 1)
if not os.fork():
    touch(0, 2)
    print(places(0, 2), flush=True)
    os._exit(0)
os.wait()
print(places(0, 2))
"""
    assert python(shell, program) == "[1, 1]\n[1, -2]\n"


def test_threads_have_policies_of_their_own(shell: Shell) -> None:
    program = f"""{MEMORY}
import threading
def work():
    call(SET, 2, mask(2), 64)
    touch(0, 1)
    mode = ctypes.c_int()
    call(GET, ctypes.byref(mode), 0, 0, 0, 0)
    print(mode.value, places(0, 1))
thread = threading.Thread(target=work)
thread.start(); thread.join()
mode = ctypes.c_int()
call(GET, ctypes.byref(mode), 0, 0, 0, 0)
touch(1, 1)
print(mode.value, places(0, 2))
"""
    assert python(shell, program) == "2 [1]\n0 [1, 0]\n"


def test_memory_that_goes_is_free_again(shell: Shell) -> None:
    program = f"""{MEMORY}
call(SET, 2, mask(2), 64)
def free(): return int(open("/sys/devices/system/node/node1/vmstat").readline().split()[1])
before = free()
big = mmap.mmap(-1, 1024 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(1024): big[page * 4096] = 1
print(before - free() >= 1024)
del big
print(before - free() < 512)
"""
    assert python(shell, program) == "True\nTrue\n"


def test_memory_at_the_same_address_is_new(shell: Shell) -> None:
    program = f"""{MEMORY}
libc.mmap.restype = ctypes.c_ulong
libc.mmap.argtypes = [ctypes.c_ulong] * 6
start = libc.mmap(0, 1 << 20, 3, 0x22, (1 << 64) - 1, 0)
for nodes in 1, 2, 1, 2:
    print(call(MBIND, start, 1 << 20, 2, mask(nodes), 64, 0), end=" ")
    ctypes.memset(start, 1, 1 << 20)
    node = ctypes.c_int()
    call(GET, ctypes.byref(node), 0, 0, start + 4096, 3)
    libc.munmap(ctypes.c_void_p(start), 1 << 20)
    again = libc.mmap(start, 1 << 20, 3, 0x22, (1 << 64) - 1, 0)
    print(node.value, again == start)
"""
    assert python(shell, program) == "0 0 True\n0 1 True\n" * 2


def test_calls_on_tasks_of_the_scenario(shell: Shell) -> None:
    program = f"""{MEMORY}
print(call(MIGRATE, 100, 64, mask(1), mask(2)), os.kill(100, 0), call(62, 200, 9), call(62, 200, 0))
"""
    outcome = python(shell, program)
    assert outcome == "0 None 0 -3\n"
    assert "N0" not in shell.out("numa_maps 100").splitlines()[0]
    assert shell.out("ps").count("\n") == 2


def test_huge_pages_come_from_the_simulated_pools(shell: Shell) -> None:
    program = f"""{MEMORY}
HUGETLB = 0x40000
def huge(size):
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | HUGETLB)
try: huge(2 << 20)
except OSError as error: print(error.errno)
with open("/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages", "w") as file:
    file.write("2")
memory = huge(4 << 20)
memory[0] = memory[2 << 20] = 1
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
node = ctypes.c_int()
call(GET, ctypes.byref(node), 0, 0, start, 3)
print(start % (2 << 20), node.value)
print([line.split()[1:] for line in open("/proc/self/numa_maps") if " huge " in line])
"""
    lines = python(shell, program).splitlines()
    assert lines[:2] == ["12", "0 1"]
    assert lines[2] == (
        "[['default', 'file=/anon_hugepage\\\\040(deleted)', 'huge', 'anon=2', 'dirty=2',"
        " 'N1=2', 'kernelpagesize_kB=2048']]"
    )


def test_huge_pages_by_faults(shell: Shell) -> None:
    program = """
import mmap
with open("/sys/kernel/mm/transparent_hugepage/enabled", "w") as file: file.write("always")
memory = mmap.mmap(-1, 8 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory[4 << 20] = 1
lines = [line for line in open("/proc/self/smaps") if "AnonHuge" in line]
print(sorted({line.split()[1] for line in lines}))
"""
    assert python(shell, program) == "['0', '2048']\n"


def test_machine_without_memory_kills(shell: Shell) -> None:
    program = f"""{MEMORY}
memory = bytearray(200 << 20)
for _ in range(3): print(places(0, 1), flush=True)
"""
    path = shell.write("program.py", program)
    outcome = shell.spawn(f"exec -- {sys.executable} -I -S {path}")
    assert (outcome.exit, outcome.stdout) == (-signal.SIGKILL, "")
    assert re.search(r"process \d+ is killed: the simulated machine has no memory", outcome.stderr)
    assert shell.counted("oom_kill") == [1]


def test_memory_that_is_moved_keeps_its_policy(shell: Shell) -> None:
    program = f"""{MEMORY}
libc.mremap.restype = ctypes.c_ulong
libc.mremap.argtypes = [ctypes.c_ulong] * 4
libc.mmap.restype = ctypes.c_ulong
libc.mmap.argtypes = [ctypes.c_ulong] * 6
start = libc.mmap(0, 8 * 4096, 3, 0x22, (1 << 64) - 1, 0)
call(MBIND, start, 8 * 4096, 2, mask(2), 64, 0)
ctypes.memset(start, 1, 8 * 4096)
new = libc.mremap(start, 8 * 4096, 4096 << 12, 1)
ctypes.memset(new, 1, 16 * 4096)
node = ctypes.c_int()
for at in (0, 15):
    call(GET, ctypes.byref(node), 0, 0, new + at * 4096, 3)
    print(new != start, node.value)
"""
    assert python(shell, program) == "True 1\nTrue 1\n"


def test_calls_that_are_not_simulated_never_reach_the_host(shell: Shell) -> None:
    program = """
import os, resource
for call in (
    lambda: os.getpgid(100), lambda: os.sched_getscheduler(200), lambda: os.getpriority(0, 100),
    lambda: resource.prlimit(100, resource.RLIMIT_NOFILE), lambda: os.pidfd_open(100),
):
    try: call()
    except OSError as error: print(error.errno, end=" ")
print(os.getpgid(0) > 0, os.getpgid(os.getpid()) > 0)
"""
    assert python(shell, program) == "3 3 3 3 3 True True\n"


def test_only_the_second_version_of_cgroups_is_mounted(shell: Shell) -> None:
    script = "grep -c /sys/fs/cgroup /proc/self/mountinfo /proc/self/mounts /proc/mounts"
    assert [line.rpartition(":")[2] for line in out(shell, script).split()] == ["1", "1", "1"]
    assert out(shell, "stat -f -c %T /sys/fs/cgroup") == "cgroup2fs\n"


def test_verbose_tells_the_calls(shell: Shell) -> None:
    path = shell.write("program.py", f"{MEMORY}\ncall(SET, 2, mask(2), 64)\n")
    outcome = shell.spawn(f"exec -v -- {sys.executable} -I -S {path}")
    lines = [line for line in outcome.stderr.splitlines() if "set_mempolicy" in line]
    assert len(lines) == 1
    assert re.fullmatch(r"pymigrate: \d+ set_mempolicy\(2, 0x[0-9a-f]+, 0x40, .*\) = 0", lines[0])


def test_summary_tells_what_has_changed(shell: Shell) -> None:
    path = shell.write("program.py", f"{MEMORY}\ncall(MIGRATE, 100, 64, mask(1), mask(2))\n")
    outcome = shell.spawn(f"exec --summary -- {sys.executable} -I -S {path}")
    assert outcome.exit == 0
    assert "100 heap: N0 6 -> 0, N1 2 -> 8 pages" in outcome.stderr
    assert "pgmigrate_success" in outcome.stderr


def test_trace_is_told_beside_the_output(shell: Shell) -> None:
    path = shell.write("program.py", f"{MEMORY}\nprint(call(MIGRATE, 100, 64, mask(1), mask(2)))\n")
    outcome = shell.spawn(f"exec --trace -- {sys.executable} -I -S {path}")
    assert outcome.stdout == "0\n"
    events = [line.split(": ", 2)[1] for line in outcome.stderr.splitlines()]
    assert events[0] == "mm_migrate_pages_start"
    assert events.count("set_migration_pte") == 30  # of files that others map, too
    assert outcome.stderr.splitlines()[0].split()[0].startswith("python")
    outcome = shell.spawn(f"exec --chrome chrome.json -- {sys.executable} -I -S {path}")
    assert outcome == Outcome(0, "0\n")
    assert "traceEvents" in json.loads((shell.folder / "chrome.json").read_text())


def test_write_is_told(shell: Shell) -> None:
    outcome = exec_(shell, "echo 1 > /proc/sys/vm/compact_memory", "-v")
    assert re.search(r"pymigrate: \d+ write\(1, 0x[0-9a-f]+, 2, .*\) = 2\n", outcome.stderr)


# who else looks


def test_other_commands_act_on_the_running_program(shell: Shell) -> None:
    program = f"""{MEMORY}
touch(0, 4)
print(os.getpid(), hex(addr)[2:], flush=True)
sys.stdin.readline()
print(places(0, 4), flush=True)
sys.stdin.readline()
"""
    path = shell.write("program.py", program)
    line = f"exec -- {sys.executable} -I -S {path}"
    with shell.start(line, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        pid, addr = process.stdout.readline().split()
        assert process.pid == int(pid)
        [mapping] = [row for row in shell.out(f"numa_maps {pid}").splitlines() if addr in row]
        assert "anon=4 dirty=4" in mapping
        assert "N0=4" in mapping
        assert pid in shell.out("ps")
        assert shell.out(f"migratepages {pid} 0 1") == ""
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "[1, 1, 1, 1]\n"
        refused = shell.err("boot", code=3)
        assert re.fullmatch(r"pymigrate: .*: is in use by `pymigrate exec`, process \d+\n", refused)
        assert shell.spawn("exec -- true").exit == 3
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait(timeout=60) == 0
    assert shell.out("ps").count("\n") == 3


def test_command_inside_acts_on_the_same_machine(shell: Shell) -> None:
    pymigrate = f"{sys.executable} -m pymigrate"
    script = f"{pymigrate} migratepages 100 0 1; {pymigrate} exec -- cat /proc/100/numa_maps"
    assert "N1=8" in out(shell, script).splitlines()[0]
    assert "N1=8" in shell.out("numa_maps 100").splitlines()[0]


# signals and sudden ends


def children(pid: int) -> list[int]:
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, check=False
    )
    return [int(word) for word in found.stdout.split()]


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def wait_until_gone(*pids: int) -> None:
    for _ in range(600):
        if not any(is_alive(pid) for pid in pids):
            return
        time.sleep(0.1)
    pytest.fail(f"{pids} are still there")


def tracer_of(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"TracerPid:\t(\d+)", text)[0])


LOOP = "echo up; while :; do /bin/true; cat /proc/self/numa_maps > /dev/null; done"


@pytest.mark.parametrize("who", ["tracer", "program"])
def test_killed_at_any_moment(shell: Shell, who: str) -> None:
    path = shell.write("loop.sh", LOOP)
    with shell.start(f"exec -- sh {path}") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        tracer = tracer_of(process.pid)
        private = json.loads(Path(f"{shell.state}.tasks").read_text())["folder"]
        below = children(process.pid)
        os.kill(tracer if who == "tracer" else process.pid, signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
        wait_until_gone(tracer, process.pid, *below)
    assert shell.out("ps").count("\n") == 3
    assert shell("doctor").exit == 0
    assert not Path(private).exists()
    left = {path.name for path in shell.folder.iterdir()} - {"loop.sh"}
    assert left == {"machine.yaml", "state.db"}


def test_signal_reaches_the_command(shell: Shell) -> None:
    path = shell.write("trap.sh", 'trap "exit 5" TERM; echo up; while :; do sleep 0.05; done')
    with shell.start(f"exec -- sh {path}") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 5


def test_job_control(shell: Shell) -> None:
    pty = pytest.importorskip("pty")
    bash = shutil.which("bash") or pytest.skip("bash is not installed")
    environment = shell.environment(PS1="$ ", TERM="dumb")
    pid, terminal = pty.fork()
    if not pid:
        os.execve(bash, ["bash", "--norc", "--noprofile", "-i"], environment)

    def talk(text: str, answer: str) -> None:
        """Type *text*, and wait for what the terminal shows then."""
        os.write(terminal, text.encode())
        shown = ""
        while not re.search(answer, shown):
            assert select.select([terminal], [], [], 60)[0], f"no {answer!r} in {shown!r}"
            shown += os.read(terminal, 65536).decode(errors="replace")

    command = f"{sys.executable} -m pymigrate exec -- sh -c 'echo u''p; exec cat'"
    talk(f"{command}\n", r"[\r\n]up\r")
    talk("one\n", r"one\r\none")
    talk("\x1a", "Stopped")
    talk("fg\n", r"exec cat'\r\n")
    talk("two\n", r"two\r\ntwo")
    talk("\x03", r"\$ $")
    talk("echo code $?\n", r"code 130")
    talk("exit\n", "exit")
    os.close(terminal)
    os.waitpid(pid, 0)


def test_stopped_and_continued(shell: Shell) -> None:
    script = """
        sh -c 'sleep 0.2; exit 3' & p=$!
        sleep 0.05; kill -STOP $p; sleep 0.3; cut -d' ' -f3 /proc/$p/stat
        grep State /proc/$p/status; kill -CONT $p; wait $p; echo $?
    """
    assert out(shell, script) == "T\nState:\tT (stopped)\n3\n"


SHORT = """
    i=0; while [ $i -lt 25 ]; do
        for j in 1 2 3 4 5 6 7 8; do sh -c 'exit $0' $j & done; wait; i=$((i+1))
    done; ls /proc | grep -c '^[0-9]'
"""


@pytest.mark.parametrize(
    "round_", [0, 1, *(pytest.param(i, marks=pytest.mark.slow) for i in range(2, 100))]
)
def test_short_processes_leave_nothing(shell: Shell, round_: int) -> None:
    assert int(out(shell, SHORT)) <= 5, round_  # the two of the scenario, the shell's, ls and grep
    assert shell.out("ps").count("\n") == 3
    assert shell("doctor").exit == 0


def test_call_is_never_interrupted_by_a_stop(shell: Shell) -> None:
    program = """
import os, signal
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, True)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
bad = 0
for _ in range(3000):
    fd = libc.open(b"/dev/null", 0)
    bad += fd < 0
    libc.close(fd)
signal.setitimer(signal.ITIMER_REAL, 0)
print(bad)
"""
    assert python(shell, program) == "0\n"


@needs("gcc")
@pytest.mark.parametrize(
    ("word", "printed"),
    [
        ("thread", "2 1\n"),  # exec by another thread than the leader takes that one's policy
        ("leader", "2\n0\n(program)\n"),  # whose policy numa_maps shows, and who has ended
        ("shared", "2 0\n"),
        ("spawn", "3 1\n"),
        ("cpu", "2 2 1\n"),
    ],
)
def test_threads_and_processes_of_c(shell: Shell, word: str, printed: str) -> None:
    source = Path(__file__).parent / "programs" / "threads.c"
    build = ["gcc", "-o", "program", str(source), "-lpthread"]
    subprocess.run(build, cwd=shell.folder, check=True)
    assert out(shell, f"./program {word}") == printed


@needs("setpriv")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_program_that_cannot_be_traced_any_more_is_killed(shell: Shell) -> None:
    command = [sys.executable, "-m", "pymigrate", "exec", "--", "setpriv", "--reuid=65534"]
    done = subprocess.run(
        [
            "setpriv",
            "--bounding-set=-sys_ptrace",
            *command,
            "--clear-groups",
            "cat",
            "/proc/vmstat",
        ],
        env=shell.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
    assert "it cannot be traced any more, for its user has changed" in done.stderr


@needs("setpriv")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_program_that_gives_up_root(shell: Shell) -> None:
    script = """
        setpriv --reuid=65534 --clear-groups sh -c 'id -u; cat /proc/sys/vm/nr_hugepages
            cat /proc/100/numa_maps || echo refused; echo 1 > /proc/sys/vm/nr_hugepages'
    """
    outcome = exec_(shell, script)
    assert outcome.stdout == "65534\n0\nrefused\n"
    assert outcome.stderr.count("Permission denied") == 2


def test_program_in_another_root_has_no_simulated_files(shell: Shell) -> None:
    if os.geteuid():
        pytest.skip("only root can change its root")
    program = """
import os
os.chroot("/usr")
try: open("/../proc/vmstat")
except OSError as error: print(error.errno)
"""
    path = shell.write("program.py", program)
    outcome = shell.spawn(f"exec -- {sys.executable} -I -S {path}")
    assert (outcome.exit, outcome.stdout) == (0, "38\n")
    assert "cannot have simulated files: it has changed its root" in outcome.stderr


# programs that nobody here wrote


@needs("numactl")
def test_numactl(shell: Shell) -> None:
    lines = out(shell, "numactl -m 1 -N 1 numactl -s").splitlines()
    assert lines[:6] == [
        "policy: bind",
        "preferred node: 1",
        "physcpubind: 2 3 ",
        "cpubind: 1 ",
        "nodebind: 1 ",
        "membind: 1 ",
    ]
    assert "node 0 size: 64 MB\n" in out(shell, "numactl -H")


@needs("numactl")
def test_memory_of_a_program_under_numactl(shell: Shell) -> None:
    before = shell.out("vmstat")
    out(shell, f"numactl -m 1 {sys.executable} -I -S -c 'x = bytearray(4 << 20)'")
    assert before != shell.out("vmstat")
    rows = shell.out("numastat").splitlines()
    assert int(rows[1].split()[2]) >= 1024


@needs("migratepages", "numastat")
def test_migratepages(shell: Shell) -> None:
    outcome = out(shell, "migratepages 100 0 1; numastat -p 100 | tail -n 1")
    assert outcome.split()[0] == "Total"
    assert float(outcome.split()[1]) == 0.0


@needs("lscpu", "nproc", "taskset")
def test_programs_that_look_at_cpus(shell: Shell) -> None:
    assert out(shell, "nproc; taskset -c 3 nproc; taskset -pc 200") == (
        "4\n1\npid 200's current affinity list: 2,3\n"
    )
    assert "NUMA node1 CPU(s): 2,3" in re.sub(" +", " ", out(shell, "LC_ALL=C lscpu"))


@needs("lstopo-no-graphics")
def test_lstopo(shell: Shell) -> None:
    text = out(shell, "lstopo-no-graphics --no-io --of console")
    assert text.count("NUMANode") == 2
    assert text.count("PU L#") == 4


@needs("bash", "busybox")
def test_shells(shell: Shell) -> None:
    assert (
        out(shell, "bash -c 'mapfile -t x < /sys/devices/system/node/has_cpu; echo $x'") == "0-1\n"
    )
    assert out(shell, "busybox sh -c 'busybox cat /proc/meminfo | busybox head -n 1'") == (
        "MemTotal:         131072 kB\n"
    )
    assert out(shell, "busybox free -k").split()[7] == "131072"
