"""Pages that are taken out of use, for they may go bad. Mirrors mm/memory-failure.c."""

from __future__ import annotations

from pymigrate.errors import KernelError
from pymigrate.mm.base.memmap import (
    POISON_FRAME,
    Busy,
    Folio,
    FrameFlag,
    FrameRun,
    is_pooled,
    nid_of,
)
from pymigrate.mm.engine.migrate_ops import ops_of
from pymigrate.mm.frames.busy import wait_for
from pymigrate.mm.frames.frames import folio_of, frame_of, update_frames
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.frames.placement import Prefer
from pymigrate.mm.offline.page_isolation import is_kernel, isolate_range, isolated_range
from pymigrate.mm.reclaim.room import migrate_for_the_kernel
from pymigrate.mm.spaces.huge_memory import free_unmapped, split_folio
from pymigrate.mm.spaces.hugetlb_pool import dissolve_free_huge_pages
from pymigrate.mm.state.events import MigrateReason
from pymigrate.mm.state.machine import Machine


def num_poisoned_pages(machine: Machine) -> int:
    """How many pages are out of use (HardwareCorrupted of /proc/meminfo)."""
    return sum(
        run.nr
        for node in machine.nodes.values()
        for run in node.memmap.runs
        if run.frame.flags & FrameFlag.HWPOISON
    )


def soft_offline_page(machine: Machine, pfn: int) -> None:
    """Take frame *pfn* of a node out of use, with what it holds moved elsewhere.

    One that is out of use already is passed over. Raises KernelError EIO for memory that is
    offline or the kernel's own; EBUSY, ENOMEM for a page that stays. Mirrors soft_offline_page().
    """
    node = machine.nodes[nid_of(pfn)]
    if node.zone_of(pfn).offline.at(pfn):
        raise KernelError("EIO", "its memory block is offline")
    run = node.memmap.at(pfn)
    if run is None or is_pooled(run.frame):
        _take_free_page(machine, pfn)
    elif is_kernel(run.frame):
        raise KernelError("EIO", "the page is the kernel's own")
    elif not run.frame.flags & FrameFlag.HWPOISON:
        _soft_offline_in_use_page(machine, pfn)


def _soft_offline_in_use_page(machine: Machine, pfn: int) -> None:
    """Drop what can be read again; split a THP; migrate, and keep the page."""
    lru_add_drain_all(machine)
    folio = folio_of(machine, pfn)
    is_hugetlb = bool(folio.flags & FrameFlag.HUGETLB)
    if folio.order and not is_hugetlb:
        page = _first_page(machine, folio)
        if not split_folio(machine, folio, page):
            raise KernelError("EBUSY", "the huge page that it is of cannot be split")
        try:
            _migrate(machine, pfn)
        finally:
            free_unmapped(machine, folio)
        return
    for kind in () if is_hugetlb else (Busy.LOCKED, Busy.READING, Busy.WRITEBACK):
        wait_for(machine, folio.pfn, kind, may_wait=True)
    if _evict(machine, folio_of(machine, pfn)):
        return
    _migrate(machine, pfn)
    if is_hugetlb:
        _take_free_page(machine, pfn)


def _evict(machine: Machine, folio: Folio) -> bool:
    """Drop clean page cache that nobody maps or holds. Mirrors mapping_evict_folio()."""
    keep = FrameFlag.DIRTY | FrameFlag.WRITEBACK | FrameFlag.HUGETLB
    if folio.is_anon or folio.mapcount or folio.is_held or folio.flags & keep:
        return False
    space = machine.spaces.get(folio.frame.owner)
    if space is None or folio.flags & FrameFlag.PRIVATE or not _may_release(machine, folio):
        return False
    index = _first_page(machine, folio)
    space.pages.put(index, index + 1)
    update_frames(machine, [(folio.pfn, 1)], lambda _: POISON_FRAME)
    return True


def _first_page(machine: Machine, folio: Folio) -> int:
    """The number of its first page, as rmap.mappings() counts; no driver's page."""
    return isolate_range(machine, folio.pfn, folio.pfn + folio.nr).queue[0].run.start


def _may_release(machine: Machine, folio: Folio) -> bool:
    """Whether what its file system attached to it can go, or there is nothing."""
    return not ops_of(machine, folio).has_private(folio) or folio.pfn not in machine.busy


def _migrate(machine: Machine, pfn: int) -> None:
    """Move what lies at *pfn*, within its node if it can be. Raises KernelError EBUSY, ENOMEM."""
    folio = folio_of(machine, pfn)
    with isolated_range(machine, folio.pfn, folio.pfn + folio.nr) as taken:
        if not taken.queue:
            raise KernelError("EBUSY", "the page cannot be isolated")
        where, reason = Prefer(nid_of(pfn)), MigrateReason.MEMORY_FAILURE
        result = migrate_for_the_kernel(machine, taken.queue, where, reason)
    if result.is_enomem:
        raise KernelError("ENOMEM", "there is no memory for what it holds")
    if result.stayed:
        raise KernelError("EBUSY", f"what it holds did not move: {_held(machine, pfn)}")


def _held(machine: Machine, pfn: int) -> str:
    frame = frame_of(machine, pfn)
    if frame.pins:
        return "it is pinned"
    return "somebody holds it" if frame.extra_refs else "who owns it refuses"


def _take_free_page(machine: Machine, pfn: int) -> None:
    """Take a free page, which may be of a free huge page of the pool, out of use.

    Raises KernelError EBUSY. Mirrors __page_handle_poison().
    """
    node = machine.nodes[nid_of(pfn)]
    if node.memmap.at(pfn) is not None:
        dissolve_free_huge_pages(machine, pfn, pfn + 1)
    zone = node.zone_of(pfn)
    zone.free.put(pfn, pfn + 1)
    zone.nr_free -= 1
    node.memmap.put(pfn, pfn + 1, FrameRun(pfn, 1, POISON_FRAME))
