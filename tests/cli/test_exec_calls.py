"""Real programs on the simulated machine: what their system calls are answered."""

import json
import re
import signal
import sys

import pytest

from tests.cli.conftest import Outcome, Shell
from tests.cli.traced import MEMORY, WHY, exec_, out, python

if WHY:
    pytest.skip(WHY, allow_module_level=True)


# calls


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


def test_library_that_is_loaded_later_has_its_segments(shell: Shell) -> None:
    program = f"""{MEMORY}
places(0, 1)
lib = ctypes.CDLL("libresolv.so.2")
def starts(path): return [line.split()[0] for line in open(path) if "libresolv" in line]
maps = [span.split("-")[0] for span in starts("/proc/self/maps")]
numa = starts("/proc/self/numa_maps")
print(maps[:3] == numa[:3], maps[-1] == numa[-1], 3 < len(numa) <= len(maps))
"""
    assert python(shell, program) == "True True True\n"


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


def test_answered_calls_are_written_to_a_file(shell: Shell) -> None:
    program = (
        f"{MEMORY}\nprint(call(MIGRATE, 100, 64, mask(1), mask(2)), call(MIGRATE, -5, 0, 0, 0))"
    )
    path = shell.write("program.py", program)
    outcome = shell.spawn(f"exec --calls calls.json -- {sys.executable} -I -S {path}")
    assert outcome == Outcome(0, "0 -3\n")
    rows = [json.loads(line) for line in (shell.folder / "calls.json").read_text().splitlines()]
    calls = [row for row in rows if row["call"] == "migrate_pages"]
    assert [list(row) for row in calls] == [["pid", "tid", "call", "args", "result"]] * 2
    assert [(row["args"][0], len(row["args"]), row["result"]) for row in calls] == [
        (100, 4, 0),
        ((1 << 64) - 5, 4, -3),
    ]


def test_file_of_calls_that_cannot_be_written(shell: Shell) -> None:
    outcome = shell.spawn("exec --calls none/calls -- echo started")
    assert (outcome.exit, outcome.stdout) == (2, "")
    assert "none/calls cannot be written: No such file or directory" in outcome.stderr


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
    assert re.fullmatch(r"pymigrate: \d+ set_mempolicy\(2, 0x[0-9a-f]+, 64\) = 0", lines[0])


def test_summary_tells_what_has_changed(shell: Shell) -> None:
    shell.out("task pin a heap+0:8KiB")
    program = (
        f"{MEMORY}\ntouch(0, 4)\nfor _ in range(2): call(MIGRATE, 100, 64, mask(1), mask(2))\n"
    )
    path = shell.write("program.py", program)
    outcome = shell.spawn(f"exec --summary -- {sys.executable} -I -S {path}")
    assert outcome.exit == 0
    lines = outcome.stderr.splitlines()
    assert lines[:3] == [
        "24 pages moved by 2 calls of migrate_pages",
        "2 pages of process 100 stayed: pinned: 2 of heap on node 0",
        "100 heap: N0 6 -> 2, N1 2 -> 6 pages",
    ]
    assert lines[3].startswith("100 buf: N0 4 -> 0, N1 0 -> 4 pages")
    assert "pgmigrate_success +24" in lines
    # What the program itself had is gone with it.
    assert [line for line in lines if re.match(r"(?!100 |200 )\d+ (?!pages)", line)] == []
    assert shell.out("explain 100 heap --to 1").count("pinned") >= 1


def test_summary_of_a_program_that_changes_nothing(shell: Shell) -> None:
    outcome = shell.spawn("exec --summary -- nosuchprogram")
    said = "pymigrate: nosuchprogram: No such file or directory\nno change\n"
    assert outcome == Outcome(127, "", said)


def test_trace_tells_who_did_it_until_the_program_ends(shell: Shell) -> None:
    program = f"""{MEMORY}
if not os.fork():
    call(MIGRATE, 100, 64, mask(1), mask(2))
    os._exit(0)
os.wait()
call(MIGRATE, 100, 64, mask(2), mask(1))
with open("/proc/sys/vm/compact_memory", "w") as file: file.write("1")
"""
    path = shell.write("program.py", program)
    outcome = shell.spawn(f"exec --trace -- {sys.executable} -I -S {path}")
    lines = [line.split(": ", 2) for line in outcome.stderr.splitlines()]
    who = [line[0].split()[0] for line in lines]
    first, last = who[0], who[-1]
    assert first != last  # the child, then its parent
    assert who == sorted(who, key=[first, last].index)
    assert lines[-1][1].startswith("mm_compaction")


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
    assert re.search(r"pymigrate: \d+ write\(1, 0x[0-9a-f]+, 2\) = 2\n", outcome.stderr)


def test_advice_about_another_process(shell: Shell) -> None:
    program = f"""{MEMORY}
import struct
touch(0, 8)
(ready, told), (never, _) = os.pipe(), os.pipe()
child = os.fork()
if not child:
    touch(0, 1); os.write(told, b"x"); os.read(never, 1); os._exit(0)
os.read(ready, 1)
pidfd = os.pidfd_open(child)
def advise(fd, advice, *ranges, flags=0):
    vec = ctypes.create_string_buffer(b"".join(struct.pack("QQ", *r) for r in ranges) + b"x")
    return call(440, fd, vec, len(ranges), advice, flags)
print(advise(pidfd, 20, (addr, 4096), (addr + 8192, 8192)), advise(pidfd, 21, (addr, 32768)))
print(advise(pidfd, 20, (addr, 4096), (4096, 4096)), advise(pidfd, 20, (4096, 4096)))
print(advise(pidfd, 4, (addr, 4096)), advise(pidfd, 20, (addr, 4096), flags=1))
print(advise(0, 20, (addr, 4096)), advise(99, 20), advise(pidfd, 20, (1 << 63, 1)))
print(call(440, pidfd, 8, 1, 20, 0), call(440, pidfd, 0, 2000, 20, 0))
os.kill(child, 9); os.waitpid(child, 0)
print(advise(pidfd, 20, (addr, 4096)))
"""
    expected = "12288 32768\n4096 -12\n-22 -22\n-9 -9 -14\n-14 -22\n-3\n"
    assert python(shell, program) == expected


def test_a_name_that_the_program_may_not_read(shell: Shell) -> None:
    program = """
import ctypes, errno, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
page = libc.mmap(None, 4096, 3, 34, -1, 0)
for name in (b"/proc/self/numa_maps", b"/usr"):
    ctypes.memmove(page, name + bytes(1), len(name) + 1)
    for protection in (3, 0):
        assert not libc.mprotect(ctypes.c_void_p(page), 4096, protection)
        fd = libc.open(ctypes.c_void_p(page), 0)
        print(fd >= 0 or errno.errorcode[ctypes.get_errno()], end=" ")
    assert not libc.mprotect(ctypes.c_void_p(page), 4096, 3)
"""
    assert python(shell, program) == "True EFAULT True EFAULT "
