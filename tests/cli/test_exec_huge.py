"""Real programs on the simulated machine: objects of huge pages, from the simulated pools."""

import os
import re
import signal
import sys

import pytest

from tests.cli.conftest import Shell
from tests.cli.traced import MEMORY, WHY, python

if WHY:
    pytest.skip(WHY, allow_module_level=True)

HUGE = f"""{MEMORY}
SIZE = 2 << 20
def grow(node, nr):
    name = f"/sys/devices/system/node/node{{node}}/hugepages/hugepages-2048kB/nr_hugepages"
    with open(name, "w") as file: file.write(str(nr))
def pools():
    lines = (line.split() for line in open("/proc/meminfo") if line.startswith("HugePages_"))
    print(*[int(words[1]) for words in lines])
def refused(do, *args, **how):
    try: do(*args, **how)
    except OSError as error: print(error.errno, end=" ")
libc.mmap.restype = ctypes.c_ulong
libc.mmap.argtypes = [ctypes.c_ulong] * 6
def map_(fd, size, flags=1, offset=0):  # the errno, if that is refused
    at = libc.mmap(0, size, 3, flags, fd, offset)
    return ctypes.get_errno() if at == (1 << 64) - 1 else at
def tell(at):
    for line in open("/proc/self/numa_maps"):
        words = line.split()
        if int(words[0], 16) == at: print(*words[1:])
"""


def test_objects_are_of_the_simulated_pools(shell: Shell) -> None:
    program = f"""{HUGE}
fd = os.memfd_create("big", os.MFD_HUGETLB)
print(map_(fd, SIZE))
grow(1, 3)
at = map_(fd, 2 * SIZE)
pools()
ctypes.memset(at, 1, 1)
tell(at)
pools()
print(at % SIZE, os.fstat(fd).st_size == 2 * SIZE, map_(fd, 4 * SIZE), map_(fd, SIZE, 1, 4096))
refused(os.ftruncate, fd, SIZE + 4096)
refused(os.memfd_create, "small", os.MFD_HUGETLB | 30 << 26)
"""
    lines = python(shell, program).splitlines()
    assert lines == [
        "12",
        "3 3 2 0",
        r"default file=/memfd:big\040(deleted) huge dirty=1 N1=1 kernelpagesize_kB=2048",
        "3 2 1 0",
        "0 True 12 22",
        "22 19 ",
    ]


def test_object_is_there_while_it_is_open(shell: Shell) -> None:
    program = f"""{HUGE}
grow(0, 2)
fd = os.memfd_create("big", os.MFD_HUGETLB)
def use():
    at = map_(fd, SIZE)
    ctypes.memset(at, 1, 4096)
    return at
at = use()
if os.fork() == 0:
    os.close(fd)
    os._exit(ctypes.memset(at, 2, 1) != at)
print(os.wait()[1])
libc.munmap(ctypes.c_ulong(at), ctypes.c_ulong(SIZE))
pools()
os.close(fd)
pools()
fd = os.memfd_create("other", os.MFD_HUGETLB)
use()
os.close(fd)
pools()
"""
    assert python(shell, program) == "0\n2 1 0 0\n2 2 0 0\n2 1 0 0\n"
    assert shell.out("cat /proc/meminfo").count("HugePages_Free:        2\n") == 1


def test_truncated_object_gives_its_pages_back(shell: Shell) -> None:
    program = f"""{HUGE}
grow(0, 3)
fd = os.memfd_create("big", os.MFD_HUGETLB)
os.ftruncate(fd, 3 * SIZE)
at = map_(fd, 3 * SIZE)
for page in range(3): ctypes.memset(at + page * SIZE, 1, 1)
os.ftruncate(fd, SIZE)
pools()
private = map_(fd, SIZE, mmap.MAP_PRIVATE)
print(ctypes.string_at(private, 1)[0])
ctypes.memset(private, 2, 1)
tell(private)
pools()
"""
    assert python(shell, program).splitlines() == [
        "3 2 0 0",
        "1",
        r"default file=/memfd:big\040(deleted) huge anon=1 dirty=1 N0=1 kernelpagesize_kB=2048",
        "3 1 0 0",
    ]


def test_pool_that_is_empty_where_pages_must_lie(shell: Shell) -> None:
    program = f"""{HUGE}
grow(0, 2)
at = map_(os.memfd_create("big", os.MFD_HUGETLB), SIZE)
print(call(MBIND, at, SIZE, 2, mask(2), 64, 0), flush=True)
ctypes.memset(at, 1, 1)
pools()
print("not reached", flush=True)
"""
    path = shell.write("program.py", program)
    outcome = shell.spawn(f"exec -- {sys.executable} -I -S {path}")
    assert (outcome.exit, outcome.stdout) == (-signal.SIGBUS, "0\n")
    assert re.fullmatch(r".*cannot have the page at 0x[0-9a-f]+: SIGBUS\n", outcome.stderr)


def test_pool_that_is_empty_is_told_at_the_end(shell: Shell) -> None:
    program = f"""{HUGE}
grow(0, 2)
at = map_((1 << 64) - 1, SIZE, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | 0x40000)
call(MBIND, at, SIZE, 2, mask(2), 64, 0)
ctypes.memset(at, 1, 1)
os._exit(0)
"""
    path = shell.write("program.py", program)
    outcome = shell.spawn(f"exec -- {sys.executable} -I -S {path}")
    assert outcome.exit == -signal.SIGBUS


def test_huge_pages_that_are_not_reserved_are_refused(shell: Shell) -> None:
    program = f"""{HUGE}
grow(0, 2)
fd = os.memfd_create("big", os.MFD_HUGETLB)
print(map_(fd, SIZE, mmap.MAP_SHARED | 0x4000), end=" ")
refused(os.posix_fallocate, fd, 0, SIZE)
"""
    path = shell.write("program.py", program)
    outcome = shell.spawn(f"exec -- {sys.executable} -I -S {path}")
    assert outcome.stdout == "38 38 "
    assert outcome.stderr.count("cannot be simulated yet") == 2


SEGMENTS = f"""{HUGE}
IPC_RMID, HUGETLB = 0, 0o4000
libc.shmat.restype = ctypes.c_long
libc.shmat.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_int]
libc.shmdt.argtypes = [ctypes.c_ulong]
libc.shmget.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_int]
def get(size, flags=0, key=0):  # the number, or the errno as a negative one
    found = libc.shmget(key, size, 0o1600 | HUGETLB | flags)
    return -ctypes.get_errno() if found < 0 else found
def attach(shmid, at=0, flags=0):
    found = libc.shmat(shmid, at, flags)
    return -ctypes.get_errno() if found == -1 else found
def remove(shmid): print(libc.shmctl(shmid, IPC_RMID, None))
"""


def test_segments_are_of_the_simulated_pools(shell: Shell) -> None:
    program = f"""{SEGMENTS}
print(get(SIZE), get(SIZE, 30 << 26))
grow(1, 3)
shmid = get(SIZE + 1)
pools()
at = attach(shmid)
ctypes.memset(at, 1, SIZE + 1)
tell(at)
pools()
print(at % SIZE, attach(shmid, at), attach(shmid, at + 4096), get(2 * SIZE), flush=True)
if os.fork() == 0:
    print(ctypes.string_at(at, 1)[0], attach(shmid, 0, 0o10000) > 0, flush=True)
    os._exit(0)
os.wait()
remove(shmid)
pools()
print(libc.shmdt(at))
tell(at)
pools()
"""
    assert python(shell, program).splitlines() == [
        "-12 -22",
        "3 3 2 0",
        r"default file=/SYSV00000000\040(deleted) huge dirty=2 N1=2 kernelpagesize_kB=2048",
        "3 1 0 0",
        "0 -22 -22 -12",
        "1 True",
        "0",
        "3 1 0 0",
        "0",
        "3 3 0 0",
    ]


def test_segment_is_there_until_it_is_removed(shell: Shell) -> None:
    key = 0x70790000 + os.getpid() % 0x10000
    begin = f"{SEGMENTS}\nkey = {key}\n"
    made = """
grow(0, 2)
shmid = get(SIZE, key=key)
ctypes.memset(attach(shmid), 7, 1)
print(get(SIZE, 0o2000, key))
"""
    found = """
shmid = get(SIZE, key=key)
pools()
print(ctypes.string_at(attach(shmid), 1)[0])
remove(shmid)
"""
    assert python(shell, begin + made) == "-17\n"
    assert shell.spawn("exec --shims -- numactl true").exit == 0  # whose end a segment survives
    assert shell.out("cat /proc/meminfo").count("HugePages_Free:        1\n") == 1
    assert python(shell, begin + found) == "2 1 0 0\n7\n0\n"
    assert shell.out("cat /proc/meminfo").count("HugePages_Free:        2\n") == 1
