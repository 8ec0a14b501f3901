"""Blocks that the kernel allocates for itself, and the migratetypes that they are taken from.

Mirrors rmqueue_smallest() and what is stolen in __rmqueue_fallback(), mm/page_alloc.c.
"""

from __future__ import annotations

from pymigrate.mm.base.gfp import Gfp
from pymigrate.mm.base.memmap import Frame, FrameFlag
from pymigrate.mm.base.pageblock import PAGEBLOCK_NR, PAGEBLOCK_ORDER, MigrateType, block_floor
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.compact.direct import Request, SlowPath
from pymigrate.mm.frames.buddy import blocks_in, migratetype_of, set_pageblocks
from pymigrate.mm.frames.frames import FrameEdits, update_frames
from pymigrate.mm.frames.free_area import free_regular, nr_free_cma
from pymigrate.mm.frames.page_alloc import freed_on_error, zone_statistics, zonelist
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Allocation, Node, Zone
from pymigrate.records import NamedTuple

# Where a request looks next, if no block of its type is free.
FALLBACKS = {
    MigrateType.UNMOVABLE: (MigrateType.RECLAIMABLE, MigrateType.MOVABLE),
    MigrateType.MOVABLE: (MigrateType.RECLAIMABLE, MigrateType.UNMOVABLE),
}


class Blocks(NamedTuple):
    """*nr* blocks of ``1 << order`` frames, and what may be done for them."""

    order: int
    nr: int
    gfp: Gfp


def alloc_kernel_pages(machine: Machine, name: str, nid: int, cpu: int, wanted: Blocks) -> int:
    """Allocate blocks near node *nid*, on behalf of *cpu*, that are called *name*.

    Returns how many there were; nobody can move them.
    """
    order, nr, gfp = wanted
    nodes = (nid,) if gfp & Gfp.THISNODE else zonelist(machine, nid)
    zones = tuple(
        (machine.nodes[n], zone)
        for n in nodes
        for zone in reversed(machine.nodes[n].zones)
        if gfp & Gfp.MOVABLE or zone.name != "movable"
    )
    taken: list[int] = []
    path = SlowPath(machine)

    def get_page() -> Extent | None:
        found = _take_anywhere(machine, request, 1, to_min=True)
        return Extent(found[0], 1 << order) if found else None

    request = Request(order, gfp, zones, cpu, get_page)
    while len(taken) < nr:
        found = _take_anywhere(machine, request, nr - len(taken), to_min=False)
        found = found or _take_anywhere(machine, request, 1, to_min=True)
        if not found and order:
            with freed_on_error(machine, [(Extent(pfn, 1 << order) for pfn in taken)]):
                page = path.alloc(request)
            found = [page.start] if page else []
        if not found:
            break
        taken += found
    allocation = Allocation(machine.new_id(), order, tuple(taken))
    machine.allocations[name] = allocation
    edits = FrameEdits(machine)
    frame = Frame(allocation.alloc_id, FrameFlag.KERNEL)
    edits.set([(pfn, 1 << order) for pfn in sorted(taken)], frame)
    edits.commit()
    return len(taken)


def free_kernel_pages(machine: Machine, name: str) -> int:
    """Give the blocks called *name* back; how many there were."""
    allocation = machine.allocations.pop(name)
    extents = [(pfn, 1 << allocation.order) for pfn in sorted(allocation.pfns)]
    update_frames(machine, extents, lambda _: None)
    return len(allocation.pfns)


def _take_anywhere(machine: Machine, request: Request, nr: int, to_min: bool) -> list[int]:
    """Take up to *nr* blocks from the first zone that has some above its watermark."""
    order = request.order
    wanted = MigrateType.MOVABLE if request.gfp & Gfp.MOVABLE else MigrateType.UNMOVABLE
    for node, zone in request.zones:
        mark = zone.watermark_min if to_min else zone.watermark_low
        mark += zone.reserve + (1 << order) - 1
        most = min(nr, max(zone.nr_free - nr_free_cma(zone) - mark, 0) >> order)
        found = _take_blocks(node, zone, order, most, wanted) if most else []
        if found:
            machine.counters.add(f"pgalloc_{zone.name}", len(found) << order)
            preferred, here = request.zones[0][0].nid, machine.node_of_cpu(request.cpu)
            zone_statistics(machine, node, preferred, here, len(found))
            return found
    return []


def _take_blocks(node: Node, zone: Zone, order: int, nr: int, wanted: MigrateType) -> list[int]:
    """Take up to *nr* blocks: the smallest of the type first, then the largest of others."""
    listed: dict[MigrateType, list[tuple[int, int]]] = {}
    for extent in free_regular(zone):
        for first, size, count in blocks_in(extent.start, extent.nr):
            if size >= order:
                for start in range(first, first + (count << size), 1 << size):
                    listed.setdefault(migratetype_of(zone, start), []).append((size, start))
    found = _cut(sorted(listed.get(wanted, [])), order, nr)
    for kind in FALLBACKS[wanted]:
        if len(found) == nr:
            break
        for size, start in sorted(listed.get(kind, []), key=lambda b: (-b[0], b[1])):
            if len(found) == nr:
                break
            _steal(node, zone, (start, size), wanted)
            found += _cut([(size, start)], order, nr - len(found))
    zone.free.edit([(pfn, pfn + (1 << order), ()) for pfn in sorted(found)])
    zone.nr_free -= len(found) << order
    return found


def _cut(blocks: list[tuple[int, int]], order: int, nr: int) -> list[int]:
    """The first *nr* blocks of *order* that *blocks* (order, first frame) make up."""
    found: list[int] = []
    for size, start in blocks:
        count = min(nr - len(found), 1 << size - order)
        found += range(start, start + (count << order), 1 << order)
        if len(found) == nr:
            break
    return found


def _steal(node: Node, zone: Zone, block: tuple[int, int], wanted: MigrateType) -> None:
    """Let the pageblock of *block* (first frame, order), which is taken for another type, have that
    type, if most of it is free or of that kind. Mirrors steal_suitable_fallback().
    """
    start, size = block
    if size >= PAGEBLOCK_ORDER:
        set_pageblocks(zone, start, start + (1 << size), migratetype=wanted)
        return
    is_movable = wanted == MigrateType.MOVABLE
    if is_movable and size < PAGEBLOCK_ORDER // 2:
        return
    first = block_floor(start)
    alike = sum(part.nr for part in zone.free.between(first, first + PAGEBLOCK_NR))
    if is_movable or migratetype_of(zone, start) == MigrateType.MOVABLE:
        for run in node.memmap.between(first, first + PAGEBLOCK_NR):
            alike += run.nr if bool(run.frame.flags & FrameFlag.KERNEL) != is_movable else 0
    if alike >= PAGEBLOCK_NR // 2:
        set_pageblocks(zone, start, start + 1, migratetype=wanted)
