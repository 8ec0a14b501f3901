"""kcompactd: compaction in the background, when an allocation has failed or free memory scatters.

Mirrors kcompactd_do_work() and proactive_compact_node(), mm/compaction.c. The thread has no time
of its own here: it works at once when it is woken.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from pymigrate.mm.compact.compaction import (
    ZONE_NAMES,
    ZoneRun,
    compact_node,
    compact_zone,
    compaction_suit_allocation_order,
    cpu_of_node,
    defer,
    fragmentation_score_wmark,
    fragmentation_score_zone,
    is_deferred,
    reset_defer,
    told,
)
from pymigrate.mm.compact.control import CompactControl, CompactResult, Owners
from pymigrate.mm.frames.buddy import MAX_PAGE_ORDER
from pymigrate.mm.state.events import MigrateMode, MigrateReason
from pymigrate.mm.state.machine import Machine, as_thread, migrating
from pymigrate.mm.state.node import MAX_DEFER_SHIFT, Node, Zone
from pymigrate.mm.state.trace import call_event

_POLL = 500  # ms: HPAGE_FRAG_CHECK_INTERVAL_MSEC


def wakeup_kcompactd(machine: Machine, node: Node, order: int, zones: list[Zone]) -> list[ZoneRun]:
    """Let *node*'s kcompactd make a block of *order* free in *zones*, if that may help in one."""
    if not order or order > MAX_PAGE_ORDER:
        return []
    found = [(zone, _suits(machine, node, zone, order)) for zone in zones]
    if all(ret != CompactResult.CONTINUE for _, ret in found):
        return [ZoneRun(node.nid, ZONE_NAMES[zone.name], ret, 0, 0, 0) for zone, ret in found]
    with _kcompactd(machine, node), migrating(machine, MigrateReason.COMPACTION):
        return _do_work(machine, node, order, zones)


def fragmentation_score_node(node: Node) -> int:
    """How scattered a node's free memory is, from 0 to 100: its zones by their sizes."""
    present = node.nr_pages + 1
    return sum(zone.nr * fragmentation_score_zone(zone) // present for zone in node.zones)


def proactive_compact_nodes(machine: Machine) -> None:
    """One round of each node's kcompactd, as a write to compaction_proactiveness triggers it."""
    for _, node in sorted(machine.nodes.items()):
        if node.zones:
            proactive_compact_node(machine, node)


def poll(machine: Machine) -> None:
    """Let each node's kcompactd look at its node, as it does twice a second.

    After a round that achieved nothing it does so only every 32 seconds. Mirrors kcompactd().
    """
    if not machine.compact_knobs.proactiveness:
        return
    for _, node in sorted(machine.nodes.items()):
        if node.zones and machine.now >= node.next_proactive:
            is_in_vain = not proactive_compact_node(machine, node)
            wait = _POLL << MAX_DEFER_SHIFT if is_in_vain else _POLL
            node.next_proactive = machine.now + wait


def proactive_compact_node(machine: Machine, node: Node) -> bool:
    """Compact *node* if its score is too high; False if that did not make it lower.

    Mirrors should_proactive_compact_node() and proactive_compact_node().
    """
    if not machine.compact_knobs.proactiveness:
        return True
    before = fragmentation_score_node(node)
    if before <= fragmentation_score_wmark(machine, is_low=False):
        return True
    with _kcompactd(machine, node):
        compact_node(machine, node, is_proactive=True)
    return fragmentation_score_node(node) < before


def _kcompactd(machine: Machine, node: Node) -> AbstractContextManager[None]:
    return as_thread(machine, f"kcompactd{node.nid}", MigrateReason.COMPACTION.text)


def _suits(machine: Machine, node: Node, zone: Zone, order: int) -> CompactResult:
    """CONTINUE if a run would begin. Mirrors kcompactd_node_suitable()."""
    return compaction_suit_allocation_order(
        machine, node, zone, order, to_min=True, has_reserve=False
    )


def _do_work(machine: Machine, node: Node, order: int, zones: list[Zone]) -> list[ZoneRun]:
    counters, runs = machine.counters, []
    text = f"nid={node.nid} order={order} classzone_idx={ZONE_NAMES[zones[-1].name]:<8}"
    call_event(machine, "mm_compaction_kcompactd_wake", text)
    counters.add("compact_daemon_wake")
    owners = Owners(machine)
    cpu = cpu_of_node(machine, node)
    for zone in zones:
        cc = CompactControl(machine, node, zone, owners, cpu, order, MigrateMode.SYNC_LIGHT)
        if is_deferred(machine, node, zone, order):
            runs.append(told(cc, CompactResult.DEFERRED))
            continue
        status = _suits(machine, node, zone, order)
        if status == CompactResult.CONTINUE:
            status = compact_zone(cc, to_min=True, has_reserve=False)
            if status == CompactResult.SUCCESS:
                reset_defer(machine, node, zone, order)
            elif status in (CompactResult.PARTIAL_SKIPPED, CompactResult.COMPLETE):
                defer(machine, node, zone, order)
        runs.append(told(cc, status))
        counters.add("compact_daemon_migrate_scanned", cc.migrate_scanned)
        counters.add("compact_daemon_free_scanned", cc.free_scanned)
    return runs
