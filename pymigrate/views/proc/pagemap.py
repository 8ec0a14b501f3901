"""/proc/PID/pagemap, /proc/kpageflags and /proc/kpagecount: a 64-bit number for each page.

They are made as they are read, and as they are described in the kernel's
Documentation/admin-guide/mm/pagemap.rst. Mirrors fs/proc/task_mmu.c and fs/proc/page.c.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from functools import partial

from pymigrate.errors import KernelError
from pymigrate.mm.base.memmap import Frame, FrameFlag, FrameRun, nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.frames.frames import folio_of
from pymigrate.mm.offline.memory_hotplug import first_frames, physical
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Node
from pymigrate.mm.state.task import Task
from pymigrate.records import NamedTuple
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.entries import Binary
from pymigrate.views.pages.flags import PageFlags

RECORD = 8  # bytes
# Bits of an entry of pagemap; the frame's number is in those below.
SOFT_DIRTY, MMAP_EXCLUSIVE, FILE, SWAP, PRESENT = 1 << 55, 1 << 56, 1 << 61, 1 << 62, 1 << 63
# Bits of kpageflags, by the names of page-flags.h, and those that follow from more than a flag.
BITS = {
    "locked": 0,
    "uptodate": 3,
    "dirty": 4,
    "lru": 5,
    "active": 6,
    "slab": 7,
    "writeback": 8,
    "swapcache": 13,
    "swapbacked": 14,
    "head": 15,
    "tail": 16,
    "hugetlb": 17,
    "unevictable": 18,
    "hwpoison": 19,
    "mlocked": 33,
}
BUDDY, MMAP, ANON, NOPAGE, KSM, THP = (1 << bit for bit in (10, 11, 12, 20, 21, 22))
_TAIL = {"tail", "hugetlb"}  # what tells of a tail page where flags are each page's own
_END = ((1 << 47) - 4096) >> PAGE_SHIFT  # pages of an address space: TASK_SIZE
_SECTION = 1 << 27 - PAGE_SHIFT  # PAGES_PER_SECTION
_IS_BIG_ENDIAN = array("H", [1]).tobytes() == b"\0\1"

Fill = Callable[["array[int]", int, int], None]  # of records, from which to which


class _Frames(NamedTuple):
    """A node's frames [a, b), as records from number *at* on."""

    node: Node
    a: int
    b: int
    at: int


def pagemap(machine: Machine, task: Task, shows_frames: bool = True) -> Binary:
    """/proc/PID/pagemap; without CAP_SYS_ADMIN a reader is shown no frame's number."""

    def parts() -> Iterator[tuple[int, int]]:
        return ((vma.start * RECORD, vma.end * RECORD) for vma in task.mm.vmas)

    fill = partial(_fill_pagemap, machine, task, shows_frames)
    return Binary(_END * RECORD, partial(_read, _END, fill), parts)


def kpageflags(machine: Machine) -> Binary:
    """/proc/kpageflags: what each frame is, by its number."""
    return _of_frames(machine, partial(_fill_kpageflags, machine))


def kpagecount(machine: Machine) -> Binary:
    """/proc/kpagecount: how often each frame is mapped, by its number."""
    return _of_frames(machine, partial(_fill_kpagecount, machine))


def frames_end(machine: Machine) -> int:
    """The number behind the last frame's that there may be. Mirrors get_max_dump_pfn()."""
    nr = sum(zone.nr for node in machine.nodes.values() for zone in node.zones)
    return -(-nr // _SECTION) * _SECTION


def _of_frames(machine: Machine, fill: Fill) -> Binary:
    end = frames_end(machine)
    return Binary(end * RECORD, partial(_read, end, fill), lambda: iter([(0, end * RECORD)]))


def _read(end: int, fill: Fill, offset: int, length: int) -> bytes:
    """The records at *offset*, *length* bytes of them or fewer. Raises KernelError EINVAL."""
    if offset % RECORD or length % RECORD:
        raise KernelError("EINVAL", f"it is read in records of {RECORD} bytes")
    first = offset // RECORD
    last = min(first + length // RECORD, end)
    if first >= last:
        return b""
    found = array("Q", bytes((last - first) * RECORD))
    fill(found, first, last)
    if _IS_BIG_ENDIAN:
        found.byteswap()
    return found.tobytes()


# pagemap


def _fill_pagemap(
    machine: Machine, task: Task, shows_frames: bool, found: array[int], a: int, b: int
) -> None:
    """Pages [a, b). Nobody clears soft-dirty bits, which every new mapping has."""
    for vma in task.mm.vmas_between(a, b):
        low, high = max(vma.start, a), min(vma.end, b)
        found[low - a : high - a] = array("Q", [SOFT_DIRTY]) * (high - low)
    for run in task.mm.page_table.between(a, b):
        for page, step, pfn, nr in _rows(run, max(run.start, a), min(run.end, b)):
            for at, entries in _entries(machine, run, pfn, nr, shows_frames):
                start = page - a + at * step
                found[start : start + len(entries) * step : step] = entries


def _rows(run: PteRun, a: int, b: int) -> Iterator[tuple[int, int, int, int]]:
    """Pages [a, b) of *run* as rows: the first page, how far the next one is, frame, how many.

    The frames follow each other; -1 where there are none.
    """
    lanes, order = len(run.lanes), run.order
    if not lanes:
        yield a, 1, -1, b - a
    elif lanes == 1:
        yield a, 1, run.pfn(a), b - a
    elif not order and lanes < run.nr:
        for page in range(a, min(a + lanes, b)):
            yield page, lanes, run.pfn(page), -(-(b - page) // lanes)
    else:
        page = a
        while page < b:
            end = min(b, page + (1 << order) - ((page - run.start) & (1 << order) - 1))
            yield page, 1, run.pfn(page), end - page
            page = end


def _entries(
    machine: Machine, run: PteRun, pfn: int, nr: int, shows_frames: bool
) -> Iterator[tuple[int, array[int]]]:
    """What is told of *nr* pages of *run* whose frames begin with *pfn*; from which page on."""
    if run.flags & (Pte.DEVICE | Pte.HWPOISON):
        yield 0, array("Q", [SWAP | SOFT_DIRTY]) * nr
        return
    present = PRESENT | SOFT_DIRTY
    if pfn < 0:  # a zero page, of which the huge one is taken for a file's
        yield 0, array("Q", [present | (FILE if run.order else 0)]) * nr
        return
    number = physical(machine, pfn)
    for start, count, frame in machine.memmap_of(pfn).between(pfn, pfn + nr):
        entry = present | (0 if _is_anon(frame) else FILE)
        entry |= MMAP_EXCLUSIVE if frame.mapcount == 1 else 0
        if shows_frames:
            first = entry | number + start - pfn
            yield start - pfn, array("Q", range(first, first + count))
        else:
            yield start - pfn, array("Q", [entry]) * count


def _is_anon(frame: Frame) -> bool:
    return frame.is_anon or bool(frame.flags & FrameFlag.KSM)


# kpageflags and kpagecount


def _nodes(machine: Machine, a: int, b: int) -> Iterator[_Frames]:
    """The frames with the numbers [a, b), node by node."""
    for nid, first in first_frames(machine).items():
        node = machine.nodes[nid]
        lowest, end = node.span
        low, high = max(a, first), min(b, first + end - lowest)
        if low < high:
            start = lowest + low - first
            yield _Frames(node, start, start + high - low, low - a)


def _fill_kpagecount(machine: Machine, found: array[int], a: int, b: int) -> None:
    for node, low, high, at in _nodes(machine, a, b):
        for start, nr, frame in node.memmap.between(low, high):
            if frame.mapcount:
                here = at + start - low
                found[here : here + nr] = array("Q", [frame.mapcount]) * nr


def _fill_kpageflags(machine: Machine, found: array[int], a: int, b: int) -> None:
    """Frames [a, b). Mirrors stable_page_flags()."""
    flags = PageFlags(machine)
    found[:] = array("Q", [NOPAGE]) * len(found)
    for part in _nodes(machine, a, b):
        found[part.at : part.at + part.b - part.a] = _flags_of_node(machine, flags, part)


def _flags_of_node(machine: Machine, flags: PageFlags, part: _Frames) -> array[int]:
    """The flags of frames of a node: of free ones, of used ones, of those that are offline."""
    node, low, high, _ = part
    found = array("Q", [BUDDY]) * (high - low)
    for run in node.memmap.between(low, high):
        for start, values in _flags_of(machine, flags, run):
            _put(found, start - low, values)
    for pfn in flags.waiting:
        if nid_of(pfn) == node.nid:
            start, values = _of_folio(machine, flags, pfn)
            _put(found, start - low, values)
    for zone in node.zones:
        for extent in zone.offline.between(max(zone.start, low), min(zone.end, high)):
            _put(found, extent.start - low, array("Q", [NOPAGE]) * extent.nr)
    return found


def _put(found: array[int], at: int, values: array[int]) -> None:
    """Let *values* stand in *found* from place *at* on, as far as that reaches."""
    inside = values[max(-at, 0) : max(len(found) - at, 0)]
    at = max(at, 0)
    found[at : at + len(inside)] = inside


def _flags_of(
    machine: Machine, flags: PageFlags, run: FrameRun
) -> Iterator[tuple[int, array[int]]]:
    """The flags of the frames of *run*, and of the rest of folios that it has a part of."""
    start, nr, frame = run
    size = 1 << frame.order
    if size == 1:
        yield start, array("Q", [_bits(machine, flags, frame, start, start)]) * nr
        return
    first, end = start & -size, start + nr
    if first < start:
        yield _of_folio(machine, flags, first)
        first += size
    whole = (end - first) // size
    if whole > 0:
        yield first, _pages(machine, flags, frame, first) * whole
        first += whole * size
    if first < end:
        yield _of_folio(machine, flags, first)


def _of_folio(machine: Machine, flags: PageFlags, pfn: int) -> tuple[int, array[int]]:
    folio = folio_of(machine, pfn)
    frame = folio.merged() if folio.order else folio.frame
    return folio.pfn, _pages(machine, flags, frame, folio.pfn)


def _pages(machine: Machine, flags: PageFlags, frame: Frame, first: int) -> array[int]:
    """The flags of each page of the folio *frame*."""
    head = array("Q", [_bits(machine, flags, frame, first, first)])
    if not frame.order:
        return head
    tail = array("Q", [_bits(machine, flags, frame, first, first + 1)])
    return head + tail * ((1 << frame.order) - 1)


def _bits(machine: Machine, flags: PageFlags, frame: Frame, first: int, pfn: int) -> int:
    """The flags of frame *pfn* of the folio from *first* on."""
    names = flags.names(frame, first, pfn)
    if pfn != first and not machine.release.kpageflags_of_folio:
        names = tuple(name for name in names if name in _TAIL)
    found = sum(1 << BITS[name] for name in names if name in BITS)
    if frame.mapcount:
        found |= MMAP
    if _is_anon(frame):
        is_merged = frame.flags & FrameFlag.KSM or machine.release.kpageflags_ksm_for_anon
        found |= ANON | KSM if is_merged else ANON
    if frame.order and "hugetlb" not in names:
        found |= THP
    return found
