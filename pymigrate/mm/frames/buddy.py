"""The buddy allocator's free lists, derived from free extents: which blocks of which order.

Free memory is kept as extents, in which neighbours are one. The kernel merges buddies in the same
way, so that its free blocks are the largest aligned ones that an extent can be cut into.
"""

from __future__ import annotations

from collections.abc import Iterator

from pymigrate.mm.base.pageblock import PAGEBLOCK_NR, BlockRun, MigrateType, block_ceil, block_floor
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.state.node import Zone
from pymigrate.records import NamedTuple

MAX_PAGE_ORDER = 10
NR_PAGE_ORDERS = MAX_PAGE_ORDER + 1


class FreeBlocks(NamedTuple):
    """*nr* free blocks of ``1 << order`` frames, one behind the other from pfn *start*."""

    start: int
    order: int
    nr: int


class ContigInfo(NamedTuple):
    """How much of a zone's free memory serves a request of an order (struct contig_page_info)."""

    free_pages: int
    free_blocks_total: int  # of any order
    free_blocks_suitable: int  # how many blocks of the order they make up


def blocks_in(start: int, nr: int) -> Iterator[FreeBlocks]:
    """The free blocks of the extent [start, start + nr), lowest first, those alike together.

    >>> [tuple(blocks) for blocks in blocks_in(3, 6)]
    [(3, 0, 1), (4, 2, 1), (8, 0, 1)]
    """
    end = start + nr
    while start < end:
        order = block_order(start, end)
        count = end - start >> order if order == MAX_PAGE_ORDER else 1
        yield FreeBlocks(start, order, count)
        start += count << order


def block_order(start: int, end: int) -> int:
    """The order of the block that begins an extent [start, end)."""
    order = min((end - start).bit_length() - 1, MAX_PAGE_ORDER)
    return min(order, (start & -start).bit_length() - 1) if start else order


def block_at(extent: Extent, pfn: int) -> tuple[int, int]:
    """First frame and order of the free block of *extent* that *pfn* lies in."""
    end = extent.start + extent.nr
    for order in range(MAX_PAGE_ORDER, -1, -1):
        low = pfn >> order << order
        if extent.start <= low and low + (1 << order) <= end:
            return low, order
    raise AssertionError(f"frame {pfn:#x} does not lie in {extent}")


def nr_free(zone: Zone) -> list[int]:
    """How many free blocks of each order the zone has (free_area[order].nr_free)."""
    counts = [0] * NR_PAGE_ORDERS
    larger = [extent for extent in zone.free.runs if extent.nr > 1]
    counts[0] = len(zone.free.runs) - len(larger)  # scattered memory has many single pages
    for start, length in larger:
        for _, order, nr in blocks_in(start, length):
            counts[order] += nr
    return counts


def nr_free_by_type(zone: Zone) -> dict[MigrateType, list[int]]:
    """How many free blocks of each order the zone has, by migratetype.

    A block's type is that of the pageblock in which it begins.
    """
    counts = {kind: [0] * NR_PAGE_ORDERS for kind in MigrateType}
    if not zone.pageblocks.runs:
        counts[MigrateType.MOVABLE] = nr_free(zone)
        return counts
    for extent in zone.free.runs:
        for blocks in blocks_in(extent.start, extent.nr):
            for _, kind, nr in _of_types(zone, blocks):
                counts[kind][blocks.order] += nr
    return counts


def _of_types(zone: Zone, blocks: FreeBlocks) -> Iterator[tuple[int, MigrateType, int]]:
    """*blocks* in parts of one migratetype: first frame, type, number of blocks."""
    start, order, nr = blocks
    if nr == 1:
        yield start, migratetype_of(zone, start), 1
        return
    for low, high, run in zone.pageblocks.spans(start, start + (nr << order)):
        # A block begins at each multiple of its size; what is cut lower down belongs to another.
        first, last = -(-low >> order), -(-high >> order)
        if first < last:
            kind = run.migratetype if run else MigrateType.MOVABLE
            yield first << order, kind, last - first


def nr_pageblocks(zone: Zone) -> dict[MigrateType, int]:
    """How many pageblocks of each migratetype the zone has."""
    counts = dict.fromkeys(MigrateType, 0)
    first, last = zone.start // PAGEBLOCK_NR, -(-zone.end // PAGEBLOCK_NR)
    gone = sum(extent.nr for extent in [*zone.offline.runs, *zone.foreign.runs]) // PAGEBLOCK_NR
    counts[MigrateType.MOVABLE] = last - first - gone
    for run in zone.pageblocks.runs:
        nr = run.nr // PAGEBLOCK_NR
        counts[MigrateType.MOVABLE] -= nr
        counts[run.migratetype] += nr
    return counts


def contig_page_info(zone: Zone, order: int) -> ContigInfo:
    """The zone's free memory as a request of *order* sees it. Mirrors fill_contig_page_info()."""
    return contig_infos(zone)[order]


def contig_infos(zone: Zone) -> list[ContigInfo]:
    """The zone's free memory as a request of each order sees it, order by order."""
    counts = nr_free(zone)
    pages = sum(nr << order for order, nr in enumerate(counts))
    total = sum(counts)
    infos, suitable = [], 0
    for order in range(MAX_PAGE_ORDER, -1, -1):
        suitable = (suitable << 1) + counts[order]
        infos.append(ContigInfo(pages, total, suitable))
    return infos[::-1]


def fragmentation_index(info: ContigInfo, order: int) -> int:
    """Why an allocation of *order* would fail: towards 0 for want of memory, towards 1000 because
    it is fragmented; -1000 if it would not. Mirrors __fragmentation_index().

    >>> fragmentation_index(ContigInfo(1000, 1000, 0), 9)
    998
    """
    if not info.free_blocks_total:
        return 0
    if info.free_blocks_suitable:
        return -1000
    requested = 1 << order
    return 1000 - (1000 + info.free_pages * 1000 // requested) // info.free_blocks_total


def unusable_free_index(info: ContigInfo, order: int) -> int:
    """How much of the free memory, in thousandths, is of no use to an allocation of *order*."""
    if not info.free_pages:
        return 1000
    return (info.free_pages - (info.free_blocks_suitable << order)) * 1000 // info.free_pages


def extfrag_for_order(info: ContigInfo, order: int) -> int:
    """What percentage of the free memory is of no use to *order*; 0 if nothing is free."""
    if not info.free_pages:
        return 0
    return (info.free_pages - (info.free_blocks_suitable << order)) * 100 // info.free_pages


def migratetype_of(zone: Zone, pfn: int) -> MigrateType:
    """The type of the pageblock that *pfn* lies in. Mirrors get_pageblock_migratetype()."""
    run = zone.pageblocks.at(pfn)
    return run.migratetype if run else MigrateType.MOVABLE


def set_pageblocks(
    zone: Zone,
    start: int,
    end: int,
    migratetype: MigrateType | None = None,
    skip: bool | None = None,
) -> None:
    """Change the pageblocks that [start, end) meets: their type, their skip bit, or both."""
    runs: list[BlockRun] = []
    for low, high, run in zone.pageblocks.spans(block_floor(start), block_ceil(end)):
        kind = run.migratetype if run else MigrateType.MOVABLE
        kind = kind if migratetype is None else migratetype
        is_skipped_now = (run.skip if run else False) if skip is None else skip
        if kind != MigrateType.MOVABLE or is_skipped_now:
            runs.append(BlockRun(low, high - low, kind, is_skipped_now))
    zone.pageblocks.put(block_floor(start), block_ceil(end), *runs)
