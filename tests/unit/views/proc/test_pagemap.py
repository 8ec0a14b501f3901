"""pagemap, kpageflags and kpagecount against what kernels have answered, and page by page."""

import struct
from typing import NamedTuple

import pytest

from pymigrate.errors import KernelError
from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.memmap import Frame, FrameFlag, FrameRun
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.calls import ksm
from pymigrate.mm.offline.memory_hotplug import physical
from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.memory_blocks import offline
from pymigrate.syscalls.mmap import mlock
from pymigrate.syscalls.process import fork, touch
from pymigrate.units import PAGE_SHIFT, PAGE_SIZE
from pymigrate.views import entries
from pymigrate.views.proc.pagemap import frames_end, kpagecount, kpageflags, pagemap
from pymigrate.views.tree import is_of_pages, tree
from tests.conftest import HUGE, MIB, mapped, new_file, new_task, nodes_with, placed_on, touched

KERNELS = ("6.1", "6.12", "7.2")
FRAME = (1 << 55) - 1


class Told(NamedTuple):
    """What the files say of a page: bits 55 to 63 of its entry, its flags, its mapcount."""

    bits: int
    flags: list[int]
    count: int


def one_node(kernel: str = "6.12") -> tuple[Machine, Task]:
    machine = nodes_with("256MiB", kernel=kernel)
    machine.thp = "madvise"
    return machine, new_task(machine)


def told(machine: Machine, task: Task, addr: int) -> Told:
    [entry] = struct.unpack("<Q", pagemap(machine, task).read((addr >> PAGE_SHIFT) * 8, 8))
    number = entry & FRAME
    flags = count = 0
    if entry >> 63 and number:
        [flags] = struct.unpack("<Q", kpageflags(machine).read(number * 8, 8))
        [count] = struct.unpack("<Q", kpagecount(machine).read(number * 8, 8))
    return Told(entry >> 55, [bit for bit in range(64) if flags >> bit & 1], count)


def huge(machine: Machine, task: Task) -> int:
    addr = mapped(machine, task, "2MiB")
    madvise(machine, task, addr, HUGE, Madv.HUGEPAGE)
    touch(machine, task, addr, PAGE_SIZE)
    return addr


# Recorded on Debian's kernels with a program of its own; bits 2 (referenced), 25 (idle) and 34
# (the exclusive mark, which shares its bit with mappedtodisk) are left out: docs/tree.md.


@pytest.mark.parametrize(
    ("kernel", "flags"),
    [("6.1", [3, 11, 12, 14]), ("6.12", [3, 6, 11, 12, 14, 21]), ("7.2", [3, 11, 12, 14])],
)
def test_a_page_that_waits_for_its_list(kernel: str, flags: list[int]) -> None:
    machine, task = one_node(kernel)
    addr = mapped(machine, task, "64KiB")
    touch(machine, task, addr, PAGE_SIZE)
    assert told(machine, task, addr) == Told(0x103, flags, 1)
    touch(machine, task, addr + PAGE_SIZE, PAGE_SIZE, write=False)
    assert told(machine, task, addr + PAGE_SIZE) == Told(0x101, [], 0), "the zero page"
    assert told(machine, task, addr + 2 * PAGE_SIZE) == Told(1, [], 0), "absent"
    assert told(machine, task, addr - PAGE_SIZE) == Told(0, [], 0), "not mapped"


@pytest.mark.parametrize(
    ("kernel", "flags"),
    [
        ("6.1", [3, 5, 11, 12, 14, 18, 33]),
        ("6.12", [3, 5, 11, 12, 14, 18, 21, 33]),
        ("7.2", [3, 5, 11, 12, 14, 18, 33]),
    ],
)
def test_an_mlocked_page(kernel: str, flags: list[int]) -> None:
    machine, task = one_node(kernel)
    addr = mapped(machine, task, "64KiB")
    mlock(machine, task, addr, PAGE_SIZE)
    assert told(machine, task, addr) == Told(0x103, flags, 1)


@pytest.mark.parametrize(
    ("kernel", "head", "tail"),
    [
        ("6.1", [3, 5, 11, 12, 14, 15, 22], [11, 12, 16, 22]),
        ("6.12", [3, 5, 11, 12, 14, 15, 21, 22], [3, 5, 11, 12, 14, 16, 21, 22]),
        ("7.2", [3, 5, 11, 12, 14, 15, 22], [3, 5, 11, 12, 14, 16, 22]),
    ],
)
def test_a_huge_page_and_one_that_a_child_has_a_part_of(
    kernel: str, head: list[int], tail: list[int]
) -> None:
    machine, task = one_node(kernel)
    addr = huge(machine, task)
    assert told(machine, task, addr) == Told(0x103, head, 1)
    assert told(machine, task, addr + PAGE_SIZE) == Told(0x103, tail, 1)
    child = fork(machine, task, "child")
    assert told(machine, child, addr) == Told(0x101, head, 2)
    madvise(machine, child, addr + PAGE_SIZE, PAGE_SIZE, Madv.DONTNEED)
    assert told(machine, child, addr + PAGE_SIZE) == Told(1, [], 0)
    assert told(machine, child, addr) == Told(0x101, sorted([*head, 4]), 2)
    is_of_folio = kernel != "6.1"
    expected = sorted([*tail, 4]) if is_of_folio else tail
    assert told(machine, child, addr + 2 * PAGE_SIZE) == Told(0x101, expected, 2)


@pytest.mark.parametrize(
    ("kernel", "written", "read"),
    [
        ("6.1", [3, 4, 11, 14], [3, 11, 14]),
        ("6.12", [3, 4, 6, 11, 14], [3, 6, 11, 14]),
        ("7.2", [3, 4, 11, 14], [3, 11, 14]),
    ],
)
def test_pages_of_tmpfs(kernel: str, written: list[int], read: list[int]) -> None:
    machine, task = one_node(kernel)
    file = new_file(machine, "64KiB")
    addr = mapped(machine, task, "64KiB", is_shared=True, space=file)
    touch(machine, task, addr, PAGE_SIZE)
    touch(machine, task, addr + PAGE_SIZE, PAGE_SIZE, write=False)
    assert told(machine, task, addr) == Told(0x143, written, 1)
    assert told(machine, task, addr + PAGE_SIZE) == Told(0x143, read, 1)
    other = mapped(machine, task, "64KiB", space=file)
    touch(machine, task, other, PAGE_SIZE, write=False)
    assert told(machine, task, other) == Told(0x141, written, 2)


@pytest.mark.parametrize(
    ("kernel", "private", "shared"),
    [
        ("6.1", ([3, 11, 12, 15, 17], [11, 12, 16, 17]), ([3, 4, 11, 15, 17], [11, 16, 17])),
        (
            "6.12",
            ([3, 11, 12, 15, 17, 21], [3, 11, 12, 16, 17, 21]),
            ([3, 4, 11, 15, 17], [3, 4, 11, 16, 17]),
        ),
        (
            "7.2",
            ([3, 11, 12, 15, 17], [3, 11, 12, 16, 17]),
            ([3, 4, 11, 15, 17], [3, 4, 11, 16, 17]),
        ),
    ],
)
def test_pages_of_hugetlb(
    kernel: str, private: tuple[list[int], list[int]], shared: tuple[list[int], list[int]]
) -> None:
    machine, task = one_node(kernel)
    set_nr_hugepages(machine, 4, 0)
    for is_shared, flags in ((False, private), (True, shared)):
        addr = mapped(machine, task, "2MiB", is_shared=is_shared, hugetlb=True)
        touch(machine, task, addr, PAGE_SIZE)
        bits = 0x143 if is_shared else 0x103
        assert told(machine, task, addr) == Told(bits, flags[0], 1)
        assert told(machine, task, addr + PAGE_SIZE) == Told(bits, flags[1], 1)


@pytest.mark.parametrize("kernel", KERNELS)
def test_merged_pages_are_anonymous_and_ksms(kernel: str) -> None:
    machine, task = one_node(kernel)
    addr = touched(machine, task, "256KiB")
    madvise(machine, task, addr, 2 * PAGE_SIZE, Madv.MERGEABLE)
    ksm.scan(machine)
    found = told(machine, task, addr)
    if found.count == 2:
        assert found.bits == 0x101
        assert {11, 12, 14, 21} <= set(found.flags)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_page_to_be_freed_stays_on_its_list_meanwhile(kernel: str) -> None:
    machine, task = one_node(kernel)
    addr = touched(machine, task, "4KiB")
    madvise(machine, task, addr, PAGE_SIZE, Madv.FREE)
    assert {3, 5, 11, 12, 14} <= set(told(machine, task, addr).flags)


# What no reader may see, and how it is read


def test_frames_are_shown_to_root_alone() -> None:
    machine, task = one_node()
    addr = touched(machine, task, "64KiB")
    offset = (addr >> PAGE_SHIFT) * 8
    shown = pagemap(machine, task).read(offset, 16 * 8)
    hidden = pagemap(machine, task, shows_frames=False).read(offset, 16 * 8)
    assert [e & ~FRAME for e in struct.unpack("<16Q", shown)] == list(struct.unpack("<16Q", hidden))
    assert all(e & FRAME for e in struct.unpack("<16Q", shown))


def test_it_is_read_in_records_and_ends() -> None:
    machine, task = one_node()
    file = pagemap(machine, task)
    for offset, length in ((0, 4), (4, 8), (4, 4)):
        with pytest.raises(KernelError, match="Invalid argument"):
            file.read(offset, length)
    assert file.size == ((1 << 35) - 1) * 8
    assert file.read(file.size - 8, 64) == bytes(8)
    assert file.read(file.size, 8) == b""
    flags = kpageflags(machine)
    assert flags.size == frames_end(machine) * 8 == (256 * MIB >> PAGE_SHIFT) * 8
    assert flags.read(flags.size, 8) == b""


def test_free_and_offline_frames() -> None:
    machine = nodes_with("256MiB", "256MiB")
    flags = struct.unpack(f"<{frames_end(machine)}Q", kpageflags(machine).read(0, 1 << 30))
    half = 256 * MIB >> PAGE_SHIFT
    assert set(flags) == {1 << 10}
    offline(machine, machine.shell_of(0), 1)
    flags = struct.unpack(f"<{frames_end(machine)}Q", kpageflags(machine).read(0, 1 << 30))
    assert (set(flags[:half]), set(flags[half:])) == ({1 << 10}, {1 << 20})


def test_a_machine_that_ends_in_a_section_has_no_page_behind_its_last() -> None:
    machine = nodes_with("64MiB")
    flags = struct.unpack("<32768Q", kpageflags(machine).read(0, 1 << 30))
    assert flags[64 * MIB >> PAGE_SHIFT] == 1 << 20
    assert kpagecount(machine).read(0, 1 << 30) == bytes(32768 * 8)


# Many pages at once are what each page is alone


def test_parts_are_what_their_pages_are() -> None:
    machine = nodes_with("64MiB", "64MiB")
    machine.thp = "madvise"
    task = new_task(machine)
    addrs = [touched(machine, task, "96KiB"), touched(machine, task, "64KiB", node=1)]
    with placed_on(task, 1):
        addrs.append(huge(machine, task))
    fork(machine, task, "child")
    touch(machine, task, addrs[2] + HUGE // 2, PAGE_SIZE)
    touch(machine, task, addrs[0] + 4 * PAGE_SIZE, 3 * PAGE_SIZE)
    mlock(machine, task, addrs[1], 2 * PAGE_SIZE)
    for file, first, nr in (
        (pagemap(machine, task), addrs[0] >> PAGE_SHIFT, 40),
        (pagemap(machine, task), (addrs[2] >> PAGE_SHIFT) - 3, 520),
        (kpageflags(machine), 0, frames_end(machine)),
        (kpagecount(machine), 0, frames_end(machine)),
    ):
        whole = file.read(first * 8, nr * 8)
        step = 1 if nr < 1000 else 97
        for page in range(0, nr, step):
            assert file.read((first + page) * 8, 8) == whole[page * 8 : page * 8 + 8]
        assert file.read((first + 5) * 8, 9 * 8) == whole[5 * 8 : 14 * 8]


def test_each_entry_names_the_frame_of_its_page() -> None:
    machine = nodes_with("64MiB", "64MiB")
    task = new_task(machine)
    addr = touched(machine, task, "64KiB", node=1)
    found = struct.unpack("<16Q", pagemap(machine, task).read((addr >> PAGE_SHIFT) * 8, 16 * 8))
    for page, entry in enumerate(found, addr >> PAGE_SHIFT):
        run = task.mm.page_table.at(page)
        assert run is not None
        assert run.flags & Pte.PRESENT
        assert entry & FRAME == physical(machine, run.pfn(page))
        assert entry & FRAME >= 64 * MIB >> PAGE_SHIFT


def test_what_the_kernel_has_for_itself_is_slab() -> None:
    machine, _ = one_node()
    zone = machine.nodes[0].zones[-1]
    zone.free.put(zone.start, zone.start + 1)
    run = FrameRun(zone.start, 1, Frame(0, FrameFlag.KERNEL))
    machine.nodes[0].memmap.put(zone.start, zone.start + 1, run)
    number = physical(machine, zone.start)
    assert struct.unpack("<Q", kpageflags(machine).read(number * 8, 8)) == (1 << 7,)


# The tree


def test_they_are_files_of_the_tree() -> None:
    machine, task = one_node()
    addr = touched(machine, task, "64KiB")
    root = tree(machine)
    path = f"proc/{task.pid}/task/{task.pid}/pagemap"
    data = b"".join(entries.read_bytes(root, path, (addr >> PAGE_SHIFT) * 8, 64))
    assert len(data) == 64
    assert b"".join(entries.read_bytes(root, "/proc/version", 0, 5)) == b"Linux"
    with pytest.raises(ValueError, match="is no text"):
        entries.read(root, path)
    assert [*filter(is_of_pages, ("proc/kpageflags", path, "proc/1/maps", "proc/kpage"))] == [
        "proc/kpageflags",
        path,
    ]
