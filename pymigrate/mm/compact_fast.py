"""The free scanner's short cut: a free block from the free lists instead of a look at each page.

The kernel's lists are in the order in which blocks became free, newest at the head; here they are
in the order of addresses, as at boot, so that a list's tail is its highest block. Mirrors
fast_isolate_freepages(), mm/compaction.c.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from pymigrate.mm.buddy import blocks_in
from pymigrate.mm.pageblock import MigrateType, block_floor, migratetype_of

if TYPE_CHECKING:
    from pymigrate.mm.compact_control import CompactControl


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
    """The highest movable block of just *order* from *lowest* on.

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
