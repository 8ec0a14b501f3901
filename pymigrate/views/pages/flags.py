"""The flags of struct page, by the names of include/linux/page-flags.h."""

from __future__ import annotations

from collections.abc import Set

from pymigrate.mm.base.memmap import Frame, FrameFlag, is_pooled, nid_of
from pymigrate.mm.frames.lru_batches import mlocked_pfns, waiting_pfns
from pymigrate.mm.reclaim.lru import is_on_lru
from pymigrate.mm.state.machine import Machine
from pymigrate.units import MAX_NUMNODES

_FLAGS = {
    FrameFlag.LOCKED: "locked",
    FrameFlag.DIRTY: "dirty",
    FrameFlag.WRITEBACK: "writeback",
    FrameFlag.PRIVATE: "private",
    FrameFlag.READAHEAD: "readahead",
    FrameFlag.SWAPBACKED: "swapbacked",
    FrameFlag.SWAPCACHE: "swapcache",
    FrameFlag.MLOCKED: "mlocked",
    FrameFlag.HUGETLB: "hugetlb",
    FrameFlag.HWPOISON: "hwpoison",
    FrameFlag.ISOLATED: "isolated",
    FrameFlag.PARTIALLY_MAPPED: "partially_mapped",
}
_OF_DRIVER = FrameFlag.MOVABLE | FrameFlag.CLEARED
# Memory without contents of a file or a process: nothing is read into it.
_BARE = FrameFlag.KERNEL | FrameFlag.CONTIG | _OF_DRIVER


class PageFlags:
    """Tells the flags of pages, of the machine as it is now."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        # First frames of folios that are not on their list yet. Those that are to leave one stay.
        self.waiting: Set[int] = waiting_pfns(machine) | mlocked_pfns(machine)
        is_active = machine.release.new_is_active
        self._active: Set[int] = waiting_pfns(machine) if is_active else frozenset()

    def names(self, frame: Frame, first: int, pfn: int) -> tuple[str, ...]:
        """The flags of frame *pfn*, of a folio whose first frame is *first*, derived ones first.

        *frame* is the state of the first one, or any other's where all are alike.
        """
        flags = frame.flags
        found = [] if flags & _BARE or is_pooled(frame) else ["uptodate"]
        if flags & FrameFlag.KERNEL:
            found.append("slab")
        if frame.order:
            found.append("head" if pfn == first else "tail")
        is_waiting = first in self.waiting
        is_bare = flags & _BARE or nid_of(pfn) >= MAX_NUMNODES  # a device's is on no list
        if not is_bare and is_on_lru(self._machine, frame) and not is_waiting:
            found.append("lru")
        if flags & FrameFlag.MLOCKED and not is_waiting:
            found.append("unevictable")
        if first in self._active:
            found.append("active")
        return tuple(found + [name for flag, name in _FLAGS.items() if flags & flag])
