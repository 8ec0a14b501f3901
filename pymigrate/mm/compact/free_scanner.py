"""Compaction's free scanner: it goes down a zone and takes free frames to move pages to.

Mirrors isolate_freepages() and compaction_alloc(), mm/compaction.c.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import takewhile

from pymigrate.mm.base.pageblock import (
    PAGEBLOCK_NR,
    PAGEBLOCK_ORDER,
    MigrateType,
    block_ceil,
    block_floor,
)
from pymigrate.mm.base.runs import Extent, coalesce
from pymigrate.mm.compact.control import CLUSTER, CompactControl
from pymigrate.mm.frames.buddy import block_at, blocks_in, migratetype_of, set_pageblocks
from pymigrate.mm.state.trace import call_event


def find_free_block(cc: CompactControl) -> tuple[int, int] | None:
    """First frame and order of a movable block below the wanted order, high up in the zone.

    The orders are gone through downwards from where the last search ended. Blocks in the top
    quarter of what lies between the scanners are liked best; the top half will do.
    """
    if cc.order <= 0:
        return None
    lowest = block_floor(cc.free_pfn - (cc.free_pfn - cc.migrate_pfn >> 1))
    first = min(cc.search_order, cc.order - 1) if cc.search_order >= 0 else cc.order - 1
    for i in range(cc.order):
        order = (first - i) % cc.order
        pfn = _highest(cc, order, lowest)
        if pfn is not None:
            cc.search_order = order
            return pfn, order
    cc.search_order = first - 1
    return None


def _highest(cc: CompactControl, order: int, lowest: int) -> int | None:
    """The highest movable block of exactly *order* from *lowest* on.

    None appears above the migrate scanner while a run goes on, so that what was gone through
    before need not be again.
    """
    free = cc.zone.free
    top = min(cc.fast_tops.get(order, cc.zone.end), cc.zone.end)
    if top <= lowest:
        return None
    i = bisect_left(free.starts, top) - 1
    while i >= 0 and free.runs[i].start + free.runs[i].nr > lowest:
        extent = free.runs[i]
        if extent.nr >> order:
            for start, size, _ in reversed([*blocks_in(extent.start, extent.nr)]):
                is_it = size == order and lowest <= start < top
                if is_it and migratetype_of(cc.zone, start) == MigrateType.MOVABLE:
                    cc.fast_tops[order] = start + 1
                    return start
        i -= 1
    cc.fast_tops[order] = lowest
    return None


def compaction_alloc(cc: CompactControl, nr: int) -> list[int]:
    """Frames for *nr* base pages, in the order of their use; fewer if the scanners meet.

    Each is cut from the smallest listed block that will do.
    """
    found: list[int] = []
    cc.nr_migratepages = nr
    while len(found) < nr:
        single = cc.freepages[0][: nr - len(found)]
        if single:
            del cc.freepages[0][: len(single)]
            found += single
            cc.nr_freepages -= len(single)
            cc.nr_migratepages -= len(single)
            continue
        order = next((i for i, listed in enumerate(cc.freepages) if listed), -1)
        if order < 0:
            _isolate_freepages(cc)
            order = next((i for i, listed in enumerate(cc.freepages) if listed), -1)
            if order < 0:
                break
        pfn = cc.freepages[order].pop(0)
        while order:
            order -= 1
            cc.freepages[order].insert(0, pfn + (1 << order))
        found.append(pfn)
        cc.nr_freepages -= 1
        cc.nr_migratepages -= 1
    return found


def compaction_free(cc: CompactControl, pfns: list[int]) -> None:
    """Frames that were not needed go back on the list. Mirrors compaction_free()."""
    cc.freepages[0][:0] = pfns
    cc.nr_freepages += len(pfns)


def release_freepages(cc: CompactControl) -> int:
    """Give back what is listed; the highest frame of it, or -1. Mirrors release_free_list()."""
    listed = [(pfn, 1 << order) for order, pfns in enumerate(cc.freepages) for pfn in pfns]
    if not listed:
        return -1
    parts = coalesce(listed)
    cc.zone.free.insert(parts)
    cc.zone.nr_free += sum(part.nr for part in parts)
    for pfns in cc.freepages:
        pfns.clear()
    cc.nr_freepages = 0
    return max(pfn for pfn, _ in listed)


def _isolate_freepages(cc: CompactControl) -> None:
    """Take free frames, from the lists or else block by block downwards, until there are enough."""
    _fast_isolate(cc)
    if cc.nr_freepages:
        return
    at, low = cc.free_pfn, block_ceil(cc.migrate_pfn + 1)
    stride = 1 if cc.is_sync else CLUSTER
    start = block_floor(at)
    while start >= low:
        end = min(start + PAGEBLOCK_NR, cc.zone.end)
        below = _unsuitable_until(cc, start)
        if below < start:
            start = at = max(below, low - PAGEBLOCK_NR)
            continue
        if at == start and (below := _used_until(cc, start, low)) < start:
            stride = _pass_used(cc, below, start, stride)
            start = at = below
            continue
        stop, taken = _isolate_block(cc, at, end, stride)
        if stop == end:
            _mark(cc, start)
        if cc.nr_freepages >= cc.nr_migratepages:
            at = stop if stop < end else start - PAGEBLOCK_NR
            break
        if stop < end:
            at = stop
            break
        stride = 1 if taken else min(stride << 1, CLUSTER)
        start = at = start - PAGEBLOCK_NR
    cc.free_pfn = at


def _fast_isolate(cc: CompactControl) -> None:
    """Take a free block from the lists, and what is free around it."""
    found = find_free_block(cc)
    if found is None:
        return
    pfn, order = found
    if cc.zone.nr_free <= cc.zone.watermark_min + (1 << order):
        return
    cc.free_scanned += 1 << order
    cc.machine.counters.add("compact_isolated", 1 << order)
    cc.nr_freepages += 1 << order
    cc.freepages[order].append(pfn)
    _remove(cc, [Extent(pfn, 1 << order)])
    if cc.nr_freepages >= cc.nr_migratepages or cc.is_async_direct:
        return
    start = max(block_floor(pfn), cc.zone.start)
    end = min(block_floor(pfn) + PAGEBLOCK_NR, cc.zone.end)
    stop, _ = _isolate_block(cc, start, end, 1)
    if stop == end:
        set_pageblocks(cc.zone, start, end, skip=True)


def _unsuitable_until(cc: CompactControl, start: int) -> int:
    """*start*, if frames may be taken from its pageblock; else the next block below to look at.

    Mirrors suitable_migration_target() and isolation_suitable().
    """
    zone = cc.zone
    foreign = zone.foreign.at(start)
    if foreign is not None:
        return foreign.start - PAGEBLOCK_NR
    extent = zone.free.at(start)
    if extent is not None:
        first, order = block_at(extent, start)
        if order >= (cc.order if cc.order > 0 else PAGEBLOCK_ORDER) and (
            first == start or order > PAGEBLOCK_ORDER
        ):
            is_whole = extent.start + extent.nr >= start + PAGEBLOCK_NR
            lowest = block_ceil(extent.start) if is_whole else start
            return min(lowest, start) - PAGEBLOCK_NR
    run = zone.pageblocks.at(start)
    if run is None:
        return start
    is_target = cc.ignore_block_suitable or run.migratetype in (
        MigrateType.MOVABLE,
        MigrateType.CMA,
    )
    if is_target and (cc.ignore_skip_hint or not run.skip):
        return start
    return run.start - PAGEBLOCK_NR


def _used_until(cc: CompactControl, start: int, low: int) -> int:
    """The first pageblock below *start*, not below *low*, that is not like the one at *start*.

    It is *start* if that block has free frames, or in use for different things. Blocks wholly in
    use, and alike, need not be looked at one by one; only who watches sees that done.
    """
    run = cc.node.memmap.at(start)
    if (
        run is None
        or run.start + run.nr < start + PAGEBLOCK_NR
        or cc.machine.watch.events is not None
    ):
        return start
    first = max(block_ceil(run.start), low)
    blocks = cc.zone.pageblocks
    block = blocks.at(start)
    i = bisect_right(blocks.starts, start) - 1
    if block is not None:
        first = max(first, block.start)
    elif i >= 0:
        first = max(first, blocks.runs[i].start + blocks.runs[i].nr)
    return first - PAGEBLOCK_NR


def _pass_used(cc: CompactControl, below: int, start: int, stride: int) -> int:
    """Scan the blocks from *start* down to above *below*, which have no free frame; the stride."""
    used = cc.node.memmap.at(start)
    for _ in range(below + PAGEBLOCK_NR, start + 1, PAGEBLOCK_NR):
        is_large = used is not None and used.frame.order >= PAGEBLOCK_ORDER
        cc.free_scanned += PAGEBLOCK_NR if is_large else -(-PAGEBLOCK_NR // stride)
        stride = min(stride << 1, CLUSTER)
    set_pageblocks(cc.zone, below + PAGEBLOCK_NR, start + 1, skip=True)
    cc.zone.compact.cached_free = min(cc.zone.compact.cached_free, below)
    return stride


def _isolate_block(cc: CompactControl, at: int, end: int, stride: int) -> tuple[int, int]:
    """Take free blocks of [at, end); where that ended, and how many frames were taken.

    Mirrors isolate_freepages_block().
    """
    find = _each_free if stride == 1 else _strided_free
    taken = _single_pages(cc, at, end) if stride == 1 else []
    start, pos, scanned, stopped = at, at, 0, False
    if taken:
        pos = taken[-1].start + 1
        scanned = pos - at
        stopped = cc.nr_freepages >= cc.nr_migratepages
    left = cc.zone.nr_free - len(taken)
    for pfn, order, looked_at in () if stopped else find(cc, pos, end, stride):
        scanned += looked_at
        if order < 0:
            continue
        pos = pfn
        if left <= cc.zone.watermark_min + (1 << order):
            stopped = True
            break
        taken.append(Extent(pfn, 1 << order))
        left -= 1 << order
        scanned += (1 << order) - 1
        cc.nr_freepages += 1 << order
        cc.freepages[order].append(pfn)
        pos = pfn + (1 << order)
        if cc.nr_freepages >= cc.nr_migratepages:
            stopped = True
            break
    stop = min(pos, end) if stopped else end
    nr = _remove(cc, taken)
    text = f"range=({start:#x} ~ {stop:#x}) nr_scanned={scanned} nr_taken={nr}"
    call_event(cc.machine, "mm_compaction_isolate_freepages", text)
    cc.free_scanned += scanned
    cc.machine.counters.add("compact_isolated", nr)
    return stop, nr


def _single_pages(cc: CompactControl, at: int, end: int) -> list[Extent]:
    """List the single free frames that [at, end) begins with, as many as are wanted.

    They are alike: above the watermark each is taken as _isolate_block() takes one block.
    """
    free = cc.zone.free
    first = bisect_left(free.starts, at)
    before = free.runs[first - 1] if first else None
    if before is not None and before.start + before.nr > at:
        return []
    wanted = min(cc.nr_migratepages - cc.nr_freepages, cc.zone.nr_free - cc.zone.watermark_min - 1)
    last = min(bisect_left(free.starts, end, first), first + max(wanted, 0))
    taken = [*takewhile(_is_single, free.runs[first:last])]
    cc.freepages[0] += free.starts[first : first + len(taken)]
    cc.nr_freepages += len(taken)
    return taken


def _is_single(extent: Extent) -> bool:
    return extent.nr == 1


def _each_free(cc: CompactControl, at: int, end: int, _: int) -> list[tuple[int, int, int]]:
    """The free blocks of [at, end): frame, order (-1: none), frames looked at to come there."""
    found, last = [], at
    for extent in cc.zone.free.between(at, end):
        for start, order, nr in blocks_in(extent.start, extent.nr):
            for i in range(nr):
                pfn = start + (i << order)
                found.append((pfn, order, pfn - last + 1))
                last = pfn + (1 << order)
    return [*found, (end, -1, end - last)] if last < end else found


def _strided_free(cc: CompactControl, at: int, end: int, stride: int) -> list[tuple[int, int, int]]:
    """The free blocks of [at, end) as _each_free() gives them, seen from each *stride*-th frame."""
    found, last, pos = [], 0, at
    while pos < end:
        last += 1
        extent = cc.zone.free.at(pos)
        if extent is not None:
            first, order = block_at(extent, pos)
            if first == pos:
                found.append((pos, order, last))
                last, pos = 0, pos + (1 << order) - 1
        else:
            used = cc.node.memmap.at(pos)
            order = used.frame.order if used is not None else 0
            if order and pos % (1 << order) == 0 and pos + (1 << order) <= end:
                last, pos = last + (1 << order) - 1, pos + (1 << order) - 1
        pos += stride
    return [*found, (end, -1, last)]


def _remove(cc: CompactControl, taken: list[Extent]) -> int:
    """Take *taken* off the free lists. Mirrors __isolate_free_page()."""
    nr = sum(part.nr for part in taken)
    cc.zone.free.remove(taken)
    cc.zone.nr_free -= nr
    for part in taken:
        if part.nr >= PAGEBLOCK_NR // 2:
            set_pageblocks(cc.zone, part.start, part.start + part.nr, MigrateType.MOVABLE)
    return nr


def _mark(cc: CompactControl, start: int) -> None:
    """A block was scanned to its end. Mirrors update_pageblock_skip()."""
    set_pageblocks(cc.zone, start, start + 1, skip=True)
    state = cc.zone.compact
    if start - PAGEBLOCK_NR < state.cached_free:
        state.cached_free = start - PAGEBLOCK_NR
