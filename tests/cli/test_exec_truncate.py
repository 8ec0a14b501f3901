"""Real programs on the simulated machine: files that become shorter, or get holes."""

import pytest

from tests.cli.conftest import Shell
from tests.cli.traced import MEMORY, WHY, python

if WHY:
    pytest.skip(WHY, allow_module_level=True)

# A file of 8 pages that are mapped and touched, and what is told of their mapping.
FILE = f"""{MEMORY}
def mapped(fd, flags=mmap.MAP_SHARED):
    os.ftruncate(fd, 8 * 4096)
    area = mmap.mmap(fd, 8 * 4096, flags=flags)
    for page in range(8): area[page * 4096] = 1
    return area
def start(area): return ctypes.addressof(ctypes.c_char.from_buffer(area))
def tell(area):
    for line in open("/proc/self/numa_maps"):
        words = line.split()
        if int(words[0], 16) == start(area):
            print(*[word for word in words if word.startswith(("anon", "dirty", "N", "mapped"))])
call(SET, 2, mask(2), 64)
"""


@pytest.mark.parametrize(
    "opened", ['os.memfd_create("m")', 'os.open("/dev/shm/" + str(os.getpid()), 0o102)']
)
def test_pages_beyond_the_end_go(shell: Shell, opened: str) -> None:
    program = f"""{FILE}
fd = {opened}
if os.path.exists(name := "/dev/shm/" + str(os.getpid())): os.unlink(name)
area = mapped(fd)
tell(area)
os.ftruncate(fd, 3 * 4096)
tell(area)
os.ftruncate(fd, 8 * 4096)
call(SET, 2, mask(1), 64)
area[7 * 4096] = 1
tell(area)
"""
    assert python(shell, program) == "dirty=8 N1=8\ndirty=3 N1=3\ndirty=4 N0=1 N1=3\n"


def test_pages_in_a_hole_go(shell: Shell) -> None:
    program = f"""{FILE}
fd = os.memfd_create("m")
area = mapped(fd)
hole = call(285, fd, 3, 4096, 8192)
tell(area)
print(hole, call(285, fd, 3, 0, 0), os.fstat(fd).st_size, area[0], area[4096])
"""
    assert python(shell, program) == "dirty=6 N1=6\n0 -22 32768 1 0\n"


def test_what_has_no_name_is_given_back_to_its_node(shell: Shell) -> None:
    program = f"""{FILE}
def free(): return int(open("/sys/devices/system/node/node1/vmstat").readline().split()[1])
fd = os.memfd_create("m")
os.ftruncate(fd, 1024 * 4096)
area = mmap.mmap(fd, 1024 * 4096)
for page in range(1024): area[page * 4096] = 1
before = free()
os.ftruncate(fd, 0)
print(free() - before > 512)
"""
    assert python(shell, program) == "True\n"


@pytest.mark.parametrize(
    ("cut", "left"),
    [
        ("os.truncate('file', 2 * 4096)", 2),
        ("os.truncate(os.path.abspath('file'), 2 * 4096)", 2),
        ("open('file', 'w')", 0),
        ("os.open('file', os.O_RDONLY | os.O_TRUNC)", 0),
        ("call(85, b'file', 0o600)", 0),
        ("os.open('file', os.O_TRUNC | os.O_RDWR, dir_fd=os.open('.', 0))", 0),
    ],
    ids=["name", "absolute", "open", "read-only", "creat", "openat"],
)
def test_files_that_are_cut_by_their_names(shell: Shell, cut: str, left: int) -> None:
    program = f"""{FILE}
area = mapped(os.open("file", os.O_RDWR | os.O_CREAT))
private = mapped(os.open("file", os.O_RDWR | os.O_CREAT), mmap.MAP_PRIVATE)
tell(area)
tell(private)
{cut}
tell(area)
tell(private)
"""
    lines = python(shell, program).splitlines()
    assert lines[0].endswith("N1=8")
    assert lines[1] == "anon=8 dirty=8 N1=8"
    kept = [f"N1={left}"] if left else []
    assert lines[2].split()[-1:] == kept
    assert lines[3].split() == ([f"anon={left}", f"dirty={left}", *kept] if left else [])


def test_other_files_keep_their_pages(shell: Shell) -> None:
    program = f"""{FILE}
area = mapped(os.open("file", os.O_RDWR | os.O_CREAT))
open("other", "w").write("text")
os.truncate("other", 1)
try: os.truncate("none", 1)
except FileNotFoundError: print("none")
try: os.truncate("file", -1)
except OSError as error: print(error.errno)
tell(area)
"""
    assert python(shell, program) == "none\n22\ndirty=8 N1=8\n"
