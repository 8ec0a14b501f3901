"""Compaction: base pages go from the low end of a zone to free frames at its high end.

A migrate scanner goes up the zone and a free scanner down, until a block of the wanted order is
free or they meet. Mirrors compact_zone() and what calls it, mm/compaction.c.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.base.pageblock import PAGEBLOCK_NR, PAGEBLOCK_ORDER, MigrateType, block_floor
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.compact.control import WHOLE_ZONE, CompactControl, CompactResult, Owners
from pymigrate.mm.compact.free_scanner import release_freepages
from pymigrate.mm.compact.migrate_scanner import isolate_migratepages
from pymigrate.mm.compact.move import move_isolated
from pymigrate.mm.frames.buddy import (
    blocks_in,
    contig_page_info,
    extfrag_for_order,
    fragmentation_index,
    migratetype_of,
    set_pageblocks,
)
from pymigrate.mm.frames.lru_batches import in_batches, lru_add_drain, lru_add_drain_all
from pymigrate.mm.state.events import MigrateMode, MigrateReason
from pymigrate.mm.state.machine import Machine, migrating
from pymigrate.mm.state.node import Node, Zone
from pymigrate.mm.state.trace import call_event
from pymigrate.records import NamedTuple

COSTLY_ORDER = 3  # PAGE_ALLOC_COSTLY_ORDER
ZONE_NAMES = {"dma": "DMA", "dma32": "DMA32", "normal": "Normal", "movable": "Movable"}
_CHECKED_ORDER = 3  # below it a movable request steals no block of another type


class ZoneRun(NamedTuple):
    """The outcome of a run over a zone; counts are of base pages."""

    node: int
    zone: str
    result: CompactResult
    moved: int
    migrate_scanned: int
    free_scanned: int


def compact_memory(machine: Machine) -> list[ZoneRun]:
    """Compact every zone of every node. Mirrors compact_nodes()."""
    lru_add_drain_all(machine)
    owners = Owners(machine)
    return [
        run
        for _, node in sorted(machine.nodes.items())
        for run in compact_node(machine, node, owners=owners)
    ]


def compact_node(
    machine: Machine, node: Node, owners: Owners | None = None, is_proactive: bool = False
) -> list[ZoneRun]:
    """Compact the zones of *node*: all of each or, if it is proactive, until its score is low."""
    owners, runs = owners or Owners(machine), []
    for zone in node.zones:
        cc = CompactControl(machine, node, zone, owners, cpu_of_node(machine, node))
        cc.mode = MigrateMode.SYNC_LIGHT if is_proactive else MigrateMode.SYNC
        cc.whole_zone = cc.ignore_skip_hint = True
        cc.is_proactive = is_proactive
        runs.append(told(cc, compact_zone(cc)))
        if is_proactive:
            with migrating(machine, MigrateReason.COMPACTION):
                machine.counters.add("compact_daemon_migrate_scanned", cc.migrate_scanned)
                machine.counters.add("compact_daemon_free_scanned", cc.free_scanned)
    return runs


def told(cc: CompactControl, result: CompactResult) -> ZoneRun:
    """The outcome of the run *cc* that ended with *result*."""
    return ZoneRun(
        cc.node.nid,
        ZONE_NAMES[cc.zone.name],
        result,
        cc.moved,
        cc.migrate_scanned,
        cc.free_scanned,
    )


def compact_zone(
    cc: CompactControl, to_min: bool = True, has_reserve: bool = True
) -> CompactResult:
    """One run over a zone. *to_min*: which watermark the allocation is after; *has_reserve*:
    whether it must leave what the zone keeps for those who need it.
    """
    machine, zone = cc.machine, cc.zone
    if cc.order >= 0:
        ret = compaction_suit_allocation_order(
            machine, cc.node, zone, cc.order, to_min, has_reserve
        )
        if ret != CompactResult.CONTINUE:
            return ret
        if zone.compact.is_restarting(cc.order):
            reset_isolation_suitable(zone)
    with migrating(machine, MigrateReason.COMPACTION):
        cc.owners.refresh()
        _set_positions(cc)
        _begin(cc)
        try:
            ret = _run(cc)
        finally:
            highest = release_freepages(cc)
        if highest >= 0:
            zone.compact.cached_free = max(zone.compact.cached_free, block_floor(highest))
        machine.counters.add("compact_migrate_scanned", cc.migrate_scanned)
        machine.counters.add("compact_free_scanned", cc.free_scanned)
    _tell(cc, "mm_compaction_end", f" status={ret.name.lower()}")
    return ret


def compaction_suitable(
    machine: Machine, node: Node, zone: Zone, order: int, has_reserve: bool
) -> bool:
    """Whether a run has enough free memory, and would mend what keeps allocations from it.

    Mirrors compaction_suitable().
    """
    mark = zone.watermark_low if order > COSTLY_ORDER else zone.watermark_min
    mark += (2 << order) + (zone.reserve if has_reserve else 0)
    ret = CompactResult.CONTINUE
    if zone.nr_free <= mark:
        ret = CompactResult.SKIPPED
    elif order > COSTLY_ORDER:
        index = fragmentation_index(contig_page_info(zone, order), order)
        if 0 <= index <= machine.compact_knobs.extfrag_threshold:
            ret = CompactResult.NOT_SUITABLE_ZONE
    _tell_zone(machine, node, zone, order, "mm_compaction_suitable", ret)
    return ret == CompactResult.CONTINUE


def compaction_suit_allocation_order(
    machine: Machine,
    node: Node,
    zone: Zone,
    order: int,
    to_min: bool,
    has_reserve: bool,
) -> CompactResult:
    """Whether to begin: SUCCESS if the allocation would do without."""
    mark = zone.watermark_min if to_min else zone.watermark_low
    mark += zone.reserve if has_reserve else 0
    if zone.nr_free - (1 << order) + 1 > mark and has_free_block(zone, order):
        return CompactResult.SUCCESS
    if not compaction_suitable(machine, node, zone, order, has_reserve):
        return CompactResult.SKIPPED
    return CompactResult.CONTINUE


def has_free_block(zone: Zone, order: int) -> bool:
    """Whether a block of *order* is free that ordinary requests may have: __zone_watermark_ok()."""
    return any(
        migratetype_of(zone, start) <= MigrateType.RECLAIMABLE
        for extent in zone.free.runs
        if extent.nr >> order
        for start, size, _ in blocks_in(extent.start, extent.nr)
        if size >= order
    )


def reset_isolation_suitable(zone: Zone) -> None:
    """Forget the skip bits, if that was asked for. Mirrors __reset_isolation_suitable()."""
    if not zone.compact.blockskip_flush:
        return
    zone.compact.blockskip_flush = False
    set_pageblocks(zone, zone.start, zone.end, skip=False)
    zone.compact.reset_positions(zone.start, zone.end)
    zone.compact.init_migrate = zone.compact.cached_migrate_sync
    zone.compact.init_free = zone.compact.cached_free


def fragmentation_score_zone(zone: Zone) -> int:
    """How much of the free memory, in percent, is of no use to huge pages."""
    return extfrag_for_order(contig_page_info(zone, PAGEBLOCK_ORDER), PAGEBLOCK_ORDER)


def fragmentation_score_wmark(machine: Machine, is_low: bool) -> int:
    """The score at which proactive runs end, or that where they begin."""
    low = max(100 - machine.compact_knobs.proactiveness, 5)
    return low if is_low else min(low + 10, 100)


def cpu_of_node(machine: Machine, node: Node) -> int:
    """The CPU that the kernel's thread of *node* runs on."""
    return node.cpus.first if node.cpus else machine.shell_of(0).cpu


def _set_positions(cc: CompactControl) -> None:
    """Where the scanners begin: at the ends of the zone, or where earlier runs have come to."""
    zone, state = cc.zone, cc.zone.compact
    last = block_floor(zone.end - 1)
    if cc.whole_zone:
        cc.migrate_pfn, cc.free_pfn = zone.start, max(last, zone.start)
        return
    if not zone.start <= state.cached_free < zone.end:
        state.cached_free = last
    cc.free_pfn = state.cached_free
    at = state.cached_migrate_sync if cc.is_sync else state.cached_migrate_async
    if not zone.start <= at < zone.end:
        at = state.cached_migrate_async = state.cached_migrate_sync = zone.start
    cc.migrate_pfn = at
    if at <= max(state.init_migrate, zone.start):
        cc.whole_zone = True


def _begin(cc: CompactControl) -> None:
    _tell(cc, "mm_compaction_begin", "")
    lru_add_drain(cc.machine, cc.cpu)
    isolated = (
        pfn
        for start, nr in cc.machine.scope.off_lru.runs
        if nid_of(start) == cc.node.nid
        for pfn in range(start, start + nr)
    )
    cc.waiting = frozenset({*in_batches(cc.machine), *isolated})


def _run(cc: CompactControl) -> CompactResult:
    """Isolate and move, some pages at a time, until it is finished."""
    state = cc.zone.compact
    keeps_in_step = not cc.is_sync and state.cached_migrate_async == state.cached_migrate_sync
    last_migrated = -1
    while (ret := compact_finished(cc)) == CompactResult.CONTINUE:
        cc.finish_pageblock = last_migrated == block_floor(cc.migrate_pfn)
        while True:
            isolated = isolate_migratepages(cc)
            if not isolated:
                if keeps_in_step:
                    state.cached_migrate_sync = state.cached_migrate_async
                break
            keeps_in_step = False
            last_migrated = max(cc.zone.start, block_floor(cc.migrate_pfn - 1))
            moved = move_isolated(cc, isolated)
            if moved.is_enomem and not cc.is_met:
                return CompactResult.CONTENDED
            if not moved.stayed or not _rescans(cc):
                break
            cc.finish_pageblock = True
            if cc.order == PAGEBLOCK_ORDER:
                last_migrated = -1
        if cc.captured >= 0:
            return CompactResult.SUCCESS
    return ret


def _rescans(cc: CompactControl) -> bool:
    """Whether the rest of a pageblock is scanned at once, for pages of it have stayed."""
    is_inside = cc.migrate_pfn % PAGEBLOCK_NR != 0
    is_hinted = not cc.ignore_skip_hint and not cc.finish_pageblock
    return is_inside and is_hinted and cc.mode != MigrateMode.SYNC


def compact_finished(cc: CompactControl) -> CompactResult:
    """Whether the run goes on. Mirrors compact_finished()."""
    ret = _finished(cc)
    if cc.machine.watch.events is not None:
        _tell_zone(cc.machine, cc.node, cc.zone, cc.order, "mm_compaction_finished", ret)
    return CompactResult.CONTINUE if ret == CompactResult.NO_SUITABLE_PAGE else ret


def _finished(cc: CompactControl) -> CompactResult:
    zone = cc.zone
    if cc.is_met:
        zone.compact.reset_positions(zone.start, zone.end)
        if cc.is_direct:
            zone.compact.blockskip_flush = True
        return CompactResult.COMPLETE if cc.whole_zone else CompactResult.PARTIAL_SKIPPED
    if cc.is_proactive:
        low = fragmentation_score_wmark(cc.machine, is_low=True)
        is_high = fragmentation_score_zone(zone) > low
        return CompactResult.CONTINUE if is_high else CompactResult.SUCCESS
    if cc.order == WHOLE_ZONE or cc.migrate_pfn % PAGEBLOCK_NR:
        return CompactResult.CONTINUE
    # Of what was looked at before, only what lies around the blocks scanned since has changed.
    low, cc.checked_pfn = cc.checked_pfn, cc.migrate_pfn
    high = cc.migrate_pfn if low >= 0 else zone.end
    low = low if low >= 0 else zone.start
    if suitable_block(zone, cc.order, cc.migratetype, low, high) is not None:
        return CompactResult.SUCCESS
    return CompactResult.NO_SUITABLE_PAGE


def suitable_block(
    zone: Zone, order: int, migratetype: MigrateType, low: int, high: int
) -> Extent | None:
    """A free extent that meets [low, high) and has a block for a request; blocks of other types
    only if it would steal them.
    """
    free = zone.free
    first = max(bisect_right(free.starts, low) - 1, 0)
    for extent in free.runs[first : bisect_left(free.starts, high, first)]:
        if not extent.nr >> order:
            continue
        for start, size, _ in blocks_in(extent.start, extent.nr):
            if size >= order and _is_usable(size, migratetype, migratetype_of(zone, start)):
                return extent
    return None


def _is_usable(order: int, wanted: MigrateType, kind: MigrateType) -> bool:
    """Whether a request takes a free block of that type. Mirrors find_suitable_fallback()."""
    if kind == wanted or (kind == MigrateType.CMA and wanted == MigrateType.MOVABLE):
        return True
    if kind > MigrateType.RECLAIMABLE:
        return False
    return order > _CHECKED_ORDER or wanted != MigrateType.MOVABLE


def _tell(cc: CompactControl, name: str, more: str) -> None:
    zone = cc.zone
    mode = "sync" if cc.is_sync else "async"
    text = (
        f"zone_start={zone.start:#x} migrate_pfn={cc.migrate_pfn:#x}"
        f" free_pfn={cc.free_pfn:#x} zone_end={zone.end:#x}, mode={mode}{more}"
    )
    call_event(cc.machine, name, text)


def _tell_zone(
    machine: Machine, node: Node, zone: Zone, order: int, name: str, ret: CompactResult
) -> None:
    text = f"node={node.nid} zone={ZONE_NAMES[zone.name]:<8} order={order} ret={ret.name.lower()}"
    call_event(machine, name, text)


def is_deferred(machine: Machine, node: Node, zone: Zone, order: int) -> bool:
    """Whether a run is put off; counts it. Mirrors compaction_deferred()."""
    is_off = zone.compact.is_deferred(order)
    if is_off:
        _tell_defer(machine, node, zone, order, "mm_compaction_deferred")
    return is_off


def defer(machine: Machine, node: Node, zone: Zone, order: int) -> None:
    """Put later runs off after a failure. Mirrors defer_compaction()."""
    zone.compact.defer(order)
    _tell_defer(machine, node, zone, order, "mm_compaction_defer_compaction")


def reset_defer(
    machine: Machine, node: Node, zone: Zone, order: int, has_allocated: bool = False
) -> None:
    """A run has, or should have, succeeded. Mirrors compaction_defer_reset()."""
    zone.compact.reset_defer(order, has_allocated)
    _tell_defer(machine, node, zone, order, "mm_compaction_defer_reset")


def _tell_defer(machine: Machine, node: Node, zone: Zone, order: int, name: str) -> None:
    state = zone.compact
    call_event(
        machine,
        name,
        f"node={node.nid} zone={ZONE_NAMES[zone.name]:<8} order={order}"
        f" order_failed={state.order_failed} consider={state.considered}"
        f" limit={1 << state.defer_shift}",
    )
