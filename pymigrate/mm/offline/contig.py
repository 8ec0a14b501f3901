"""Memory in one piece, from pageblocks that only movable pages may use. Mirrors mm/cma.c."""

from __future__ import annotations

from pymigrate.errors import KernelError
from pymigrate.mm.base.memmap import Frame, FrameFlag, FrameRun, nid_of
from pymigrate.mm.base.pageblock import PAGEBLOCK_NR, MigrateType, block_ceil, block_floor
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.engine.migrate_bulk import is_plain
from pymigrate.mm.frames.buddy import set_pageblocks
from pymigrate.mm.frames.frames import folio_of, frame_runs, update_frames
from pymigrate.mm.frames.free_area import cma_areas, cma_ranges
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.frames.placement import Prefer
from pymigrate.mm.offline.page_isolation import (
    InRange,
    has_unmovable_pages,
    isolate_range,
    isolated_page_range,
    isolated_range,
    movable_runs,
)
from pymigrate.mm.reclaim.hugetlb import replace_free_huge_pages
from pymigrate.mm.reclaim.lru import drop, is_file_lru
from pymigrate.mm.reclaim.room import migrate_for_the_kernel
from pymigrate.mm.state.events import MigrateReason
from pymigrate.mm.state.machine import Machine, migrating
from pymigrate.mm.state.node import Node

MAX_ALIGN = 8  # CONFIG_CMA_ALIGNMENT: no allocation is aligned to more than so many pages' order
CLUSTER = 32  # COMPACT_CLUSTER_MAX: pages that are isolated and moved together
TRIES = 5  # calls of the engine for what was isolated together
CONTIG_FRAME = Frame(0, FrameFlag.CONTIG)
_KEPT = FrameFlag.DIRTY | FrameFlag.MLOCKED | FrameFlag.HUGETLB | FrameFlag.SWAPBACKED


_KEPT |= FrameFlag.MOVABLE | FrameFlag.CLEARED | FrameFlag.WRITEBACK


def declare_cma(node: Node, nr: int) -> bool:
    """Keep the last *nr* frames of *node* below ZONE_MOVABLE for CMA: whole pageblocks.

    False if the last zone there is smaller.

    Mirrors cma_declare_contiguous_nid().
    """
    zone = [zone for zone in node.zones if zone.name != "movable"][-1]
    end = zone.end // PAGEBLOCK_NR * PAGEBLOCK_NR
    if end - nr < zone.start:
        return False
    set_pageblocks(zone, end - nr, end, migratetype=MigrateType.CMA)
    return True


def cma_alloc(machine: Machine, nid: int, name: str, nr: int) -> Extent:
    """Allocate *nr* frames in one piece from the area of node *nid*, to be called *name*.

    Places are tried in ascending order, aligned to the size, but to at most 1 MiB, as devices'
    buffers are. Counts cma_alloc_success and cma_alloc_fail.

    Raises KernelError ENOMEM. Mirrors cma_alloc(), and dma_alloc_contiguous() for the alignment.
    """
    step = 1 << min((nr - 1).bit_length(), MAX_ALIGN)
    why = "no part of the area is free for so many pages"
    for a, b in cma_areas(machine).get(nid, []):
        at = -(-a // step) * step
        while at + nr <= b:
            taken = [e for e in machine.contigs.values() if e.start < at + nr and at < sum(e)]
            if taken:
                at = -(-max(map(sum, taken)) // step) * step
                continue
            try:
                alloc_contig_range(machine, at, at + nr)
            except KernelError as error:
                why = error.why
                if error.name != "EBUSY":
                    break
                at += step
                continue
            machine.counters.add("cma_alloc_success", nr)
            machine.contigs[name] = Extent(at, nr)
            return machine.contigs[name]
    machine.counters.add("cma_alloc_fail", nr)
    raise KernelError("ENOMEM", why)


def cma_release(machine: Machine, name: str) -> None:
    """Give back the frames that cma_alloc() gave under that name."""
    start, nr = machine.contigs.pop(name)
    free_contig_range(machine, start, start + nr)


def alloc_contig_range(machine: Machine, a: int, b: int) -> None:
    """Take frames [a, b) of a zone, all of them, with what lies there moved away or dropped.

    Raises KernelError EBUSY if something stays, ENOMEM if there is no memory for it; what moved has
    moved. Mirrors alloc_contig_range() for MIGRATE_CMA, and for MIGRATE_MOVABLE elsewhere.
    """
    zone = machine.nodes[nid_of(a)].zone_of(a)
    assert b <= zone.end, "the range lies in one zone"
    is_cma = any(low <= a < high for low, high in cma_ranges(zone))
    unmovable = "" if is_cma else has_unmovable_pages(machine, a, b)
    if unmovable:
        raise KernelError("EBUSY", unmovable)
    with migrating(machine, MigrateReason.CONTIG_RANGE):
        lru_add_drain_all(machine)
        low, high = max(block_floor(a), zone.start), min(block_ceil(b), zone.end)
        with isolated_page_range(machine, low, high) as isolated:
            replace_free_huge_pages(machine, a, b)
            _migrate_range(machine, a, b)
            memmap = machine.memmap_of(a)
            if memmap.between(a, b):
                raise KernelError("EBUSY", "something in the range did not move")
            isolated.free.put(a, b)
            memmap.put(a, b, FrameRun(a, b - a, CONTIG_FRAME))
            machine.counters.add("compact_isolated", b - a)


def free_contig_range(machine: Machine, a: int, b: int) -> None:
    """Give frames [a, b) back."""
    update_frames(machine, [(a, b - a)], lambda _: None)


def _migrate_range(machine: Machine, a: int, b: int) -> None:
    """Mirrors __alloc_contig_migrate_range()."""
    if not machine.is_watched and not any(run.frame.is_held for run in movable_runs(machine, a, b)):
        with isolated_range(machine, a, b) as whole:
            if all(is_plain(machine, part) for part in _unpinned(whole)):
                # Nothing can tell it from many small batches.
                _move(machine, whole, _counted(machine, whole), a, b)
                return
    at = a
    while at < b:
        end = _batch_end(machine, at, b)
        with isolated_range(machine, at, end) as taken:
            _move(machine, taken, _counted(machine, taken), at, end)
        at = end


def _batch_end(machine: Machine, a: int, b: int) -> int:
    """Where the pages from *a* on end that are isolated together."""
    left = CLUSTER
    for run in movable_runs(machine, a, b):
        frame = folio_of(machine, run.start).merged() if run.frame.order else run.frame
        if _looks_pinned(frame):
            continue
        if run.nr >= left:
            mask = (1 << run.frame.order) - 1
            return min((run.start + left + mask) & ~mask, b)
        left -= run.nr
    return b


def _looks_pinned(frame: Frame) -> bool:
    """Whether a page has more references than entries. Mirrors isolate_migratepages_block()."""
    return frame.is_anon and frame.is_held and not frame.flags & FrameFlag.SWAPCACHE


def _counted(machine: Machine, taken: InRange) -> list[Slice]:
    """What of *taken* is to move. Counts it as isolated."""
    queue = _unpinned(taken)
    machine.counters.add("compact_isolated", sum(part.nr for part in queue))
    return queue


def _unpinned(taken: InRange) -> list[Slice]:
    return [part for part in taken.queue if not any(map(_looks_pinned, part.states.distinct))]


def _move(machine: Machine, taken: InRange, queue: list[Slice], a: int, b: int) -> None:
    """Move *queue*, which is of *taken*, or drop it. Raises KernelError EBUSY, ENOMEM."""
    where = Prefer(nid_of(a))
    queue = _reclaim_clean(machine, queue)
    for _ in range(TRIES):
        if not queue:
            break
        result = migrate_for_the_kernel(machine, queue, where, MigrateReason.CONTIG_RANGE)
        if result.is_enomem:
            raise KernelError("ENOMEM", "there is no memory for what lies there")
        if not result.stayed:
            break
        queue = _unpinned(isolate_range(machine, a, b, taken.driver_pages))
    else:
        raise KernelError("EBUSY", "something in the range did not move")


def _reclaim_clean(machine: Machine, queue: list[Slice]) -> list[Slice]:
    """Drop clean pages of files; gives the rest. Mirrors reclaim_clean_pages_from_list()."""
    clean = [
        part
        for part in queue
        if is_file_lru(part)
        and not any(frame.is_held or frame.flags & _KEPT for frame in part.states.distinct)
    ]
    drop(machine, clean)
    gone = {id(part) for part in clean if not any(frame_runs(machine, part.extents()))}
    return [part for part in queue if id(part) not in gone]
