"""Which free frames of a zone an allocation gets: those kept for CMA only if its pages can move.

Mirrors __rmqueue(), and what __zone_watermark_unusable_free() leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence

from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.base.pageblock import MigrateType
from pymigrate.mm.base.runs import Extent, coalesce
from pymigrate.mm.frames.buddy import migratetype_of
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Zone


def cma_ranges(zone: Zone) -> list[tuple[int, int]]:
    """The pageblocks of *zone* that are kept for CMA, as frames [a, b)."""
    return [
        (run.start, run.start + run.nr)
        for run in zone.pageblocks.runs
        if run.migratetype == MigrateType.CMA
    ]


def cma_areas(machine: Machine) -> dict[int, list[tuple[int, int]]]:
    """The frames [a, b) that are kept for CMA, of each node that has some."""
    found = {
        nid: [part for zone in node.zones for part in cma_ranges(zone)]
        for nid, node in sorted(machine.nodes.items())
    }
    return {nid: parts for nid, parts in found.items() if parts}


def free_cma(zone: Zone) -> list[Extent]:
    """The free frames of the zone's pageblocks that are kept for CMA."""
    return [extent for a, b in cma_ranges(zone) for extent in zone.free.between(a, b)]


def nr_free_cma(zone: Zone) -> int:
    """How many frames that are kept for CMA are free (NR_FREE_CMA_PAGES)."""
    return sum(extent.nr for extent in free_cma(zone))


def unpinnable_ranges(machine: Machine) -> list[tuple[int, int]]:
    """The frames [a, b) that may not be held for long: of ZONE_MOVABLE, and those for CMA."""
    zones = [zone for node in machine.nodes.values() for zone in node.zones]
    movable = [
        part
        for zone in zones
        if zone.name == "movable"
        for part in zone.parts(zone.start, zone.end)
    ]
    return movable + [part for zone in zones if zone.name != "movable" for part in cma_ranges(zone)]


def is_longterm_pinnable(machine: Machine, pfn: int) -> bool:
    """Whether a page may be pinned for long: it lies neither in ZONE_MOVABLE nor in CMA.

    Mirrors folio_is_longterm_pinnable().
    """
    zone = machine.nodes[nid_of(pfn)].zone_of(pfn)
    return zone.name != "movable" and migratetype_of(zone, pfn) != MigrateType.CMA


def nr_available(zone: Zone, mark: int, order: int, is_movable: bool) -> int:
    """How many folios are free above *mark* base pages. Mirrors __zone_watermark_ok()."""
    if not is_movable and zone.name == "movable":
        return 0
    if is_movable or not zone.pageblocks.runs:
        nr = max(zone.nr_free - mark, 0) >> order
        return min(nr, zone.nr_blocks(order)) if nr and order else nr
    regular = free_regular(zone)
    nr = max(sum(extent.nr for extent in regular) - mark, 0) >> order
    return min(nr, _nr_blocks(zone, regular, order)) if nr and order else nr


def take(zone: Zone, nr: int, order: int, is_movable: bool) -> list[Extent]:
    """Take *nr* folios that are known to be there off the free frames of *zone*.

    Base pages come from the lowest frames, and large folios from the highest blocks, so that the
    ones do not scatter over the others' blocks. Movable ones come from CMA's pageblocks while those
    hold more than half of what is free, and when nothing else is left.
    """
    reserved = free_cma(zone) if zone.pageblocks.runs else []
    if not reserved:
        taken = take_blocks(zone, nr, order) if order else zone.free.pop_front(nr)
    elif not is_movable:
        taken = _take_of(zone, free_regular(zone), nr, order)
    else:
        of_cma = _share_of_cma(zone, reserved, nr, order)
        taken = _take_of(zone, reserved, of_cma, order)
        taken += _take_of(zone, free_regular(zone), nr - of_cma, order)
    zone.nr_free -= nr << order
    return taken


def take_blocks(
    zone: Zone, nr: int, order: int, free: Sequence[Extent] | None = None
) -> list[Extent]:
    """Take *nr* aligned blocks off the highest part of *free* (of all of *zone*), lowest first."""
    taken: list[Extent] = []
    for extent in reversed(zone.free.runs if free is None else free):
        low, high = zone.blocks_of(extent, order)
        if high <= low:
            continue
        low = max(low, high - (nr << order))
        taken.append(Extent(low, high - low))
        nr -= high - low >> order
        if not nr:
            break
    assert not nr, f"zone {zone.name} is short of {nr} blocks"
    taken.reverse()
    zone.free.remove(taken)
    return taken


def free_regular(zone: Zone) -> list[Extent]:
    """The free frames that are not kept for CMA."""
    out: list[Extent] = []
    at = zone.start
    for a, b in [*cma_ranges(zone), (zone.end, zone.end)]:
        out += zone.free.between(at, a)
        at = b
    return out


def _nr_blocks(zone: Zone, free: Sequence[Extent], order: int) -> int:
    bounds = (zone.blocks_of(extent, order) for extent in free)
    return sum(max(high - low, 0) >> order for low, high in bounds)


def _take_of(zone: Zone, free: Sequence[Extent], nr: int, order: int) -> list[Extent]:
    if not nr:
        return []
    if order:
        return take_blocks(zone, nr, order, free)
    taken: list[Extent] = []
    for extent in free:
        part = min(nr, extent.nr)
        taken.append(Extent(extent.start, part))
        nr -= part
        if not nr:
            break
    assert not nr, f"zone {zone.name} is short of {nr} pages"
    zone.free.remove(taken)
    return coalesce(taken)


def _share_of_cma(zone: Zone, reserved: Sequence[Extent], nr: int, order: int) -> int:
    """How many of *nr* folios come from CMA's pageblocks, one being taken after the other."""
    cma = sum(extent.nr for extent in reserved)
    other = zone.nr_free - cma
    blocks = _nr_blocks(zone, reserved, order), _nr_blocks(zone, free_regular(zone), order)
    if not order:
        return _balanced(cma, other, nr)
    taken = [0, 0]  # of CMA, of the others
    for _ in range(nr):
        is_cma = cma > (cma + other) // 2
        if taken[not is_cma] == blocks[not is_cma]:
            is_cma = not is_cma
        taken[not is_cma] += 1
        cma, other = (cma - (1 << order), other) if is_cma else (cma, other - (1 << order))
    return taken[0]


def _balanced(cma: int, other: int, nr: int) -> int:
    """How many of *nr* base pages come from CMA: the larger part first, then both in turn."""
    if cma > other:
        first = min(nr, cma - other)
        return first + (nr - first) // 2
    return max(nr - (other - cma), 0) // 2
