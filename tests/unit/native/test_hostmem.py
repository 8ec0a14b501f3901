import mmap
import os
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("what a Linux host knows of memory", allow_module_level=True)

from pymigrate.native import hostmem
from pymigrate.native.hostmem import FILE, PRESENT, SWAPPED, ZERO, Mapping, Pagemap, Region

MAPS = """\
00400000-00402000 r-xp 00001000 08:01 12                         /bin/a b
00800000-00900000 ---p 00000000 00:00 0
7ffc0000-7ffc1000 rw-s 00002000 00:05 7                          /memfd:x (deleted)
7fff0000-7fff1000 rw-p 00000000 00:00 0                          [stack]
7fffa000-7fffc000 r-xp 00000000 00:00 0                          [vdso]
"""


def test_lines_of_maps() -> None:
    assert hostmem.mappings(MAPS) == [
        Mapping(0x400, 0x402, "rx", False, "08:01", 12, "/bin/a b", 0x1000),
        Mapping(0x800, 0x900, "none", False, "00:00", 0, "", 0),
        Mapping(0x7FFC0, 0x7FFC1, "rw", True, "00:05", 7, "/memfd:x (deleted)", 0x2000),
        Mapping(0x7FFF0, 0x7FFF1, "rw", False, "00:00", 0, "[stack]", 0),
    ]


class Entries(Pagemap):
    """A pagemap of a kernel that cannot scan."""

    def __init__(self, data: bytes) -> None:
        self._can_scan = False
        self.data = data

    def _entries(self, a: int, b: int) -> bytes:
        return self.data[a:b]


def test_entries_one_by_one() -> None:
    own, of_file, swapped, zero = 0x81, 0xA0, 0x40, 0x80
    pagemap = Entries(bytes([0, own, own, of_file, swapped, zero, 0]))
    assert pagemap.regions([(0, 7)]) == [
        Region(1, 3, PRESENT),
        Region(3, 4, PRESENT | FILE),
        Region(4, 5, SWAPPED),
        Region(5, 6, PRESENT | ZERO),
    ]
    assert pagemap.exclusive(0, 7) == [(1, 3)]


def test_own_memory() -> None:
    with mmap.mmap(-1, 64 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        before = {m.start for m in hostmem.mappings(hostmem.maps_text(os.getpid()))}
        memory[0] = memory[4096] = memory[10 * 4096] = 1
        pagemap = Pagemap(os.getpid())
        spans = [(m.start, m.end) for m in hostmem.mappings(hostmem.maps_text(os.getpid()))]
        there = [r for r in pagemap.regions(spans) if not r.flags & FILE]
        pagemap.close()
    assert before
    assert {r.end - r.start for r in there} & {1, 2}


def test_mappings_of_a_range_are_those_of_maps() -> None:
    pid = os.getpid()
    every = hostmem.mappings(hostmem.maps_text(pid))
    a, b = every[3].start, every[6].end - 1
    found = hostmem.mappings_between(pid, a, b, 16)
    if found is None:
        pytest.skip("the kernel does not tell of single mappings")
    assert found == [mapping for mapping in every if mapping.start < b and a < mapping.end]
    assert hostmem.mappings_between(pid, 0, hostmem.TOP, len(every) + 8) == every
    assert hostmem.mappings_between(pid, a, b, 2) is None
    assert hostmem.mappings_between(pid, 1, 2, 16) == []
