"""When memory is short: kswapd is woken, and makes room. Mirrors __alloc_pages_slowpath().

kswapd runs at once, and as far as it can, so that direct reclaim seldom finds more. Pages are
reclaimed only between accesses and batches of the engine, never while somebody has them in hand.
"""

from __future__ import annotations

from collections.abc import Sequence

from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import RunMap, coalesce
from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.frames.page_alloc import (
    allowed_nodes,
    fill_run,
    finds_no_zone,
    lanes_of,
    nodes_of,
    shortage_on,
)
from pymigrate.mm.frames.placement import Placement, placement
from pymigrate.mm.reclaim.room import has_reclaimable
from pymigrate.mm.reclaim.vmscan import kswapd_shrink_node, try_to_free_pages, wake_all_kswapds
from pymigrate.mm.state.machine import Machine, telling
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vma


def may_reclaim(machine: Machine) -> bool:
    """Whether allocations reclaim memory, as far as there is any that can be reclaimed."""
    return not machine.scope.memalloc and has_reclaimable(machine)


def alloc_run_slowpath(
    machine: Machine, task: Task, where: Placement, wanted: PteRun
) -> list[PteRun]:
    """Give base pages frames as alloc_run() does, or some of them.

    None only if memory has run out: where all nodes are down to their low watermarks their
    kswapds are woken, only when these get nothing the rest is taken, and then it is reclaimed here.
    """
    lanes = lanes_of(machine, task, where)
    if not may_reclaim(machine) or finds_no_zone(machine, task):
        return fill_run(machine, task, lanes, wanted)
    nodes = nodes_of(lanes)
    above_low = [lane.above_low() for lane in lanes]
    while True:
        if runs := fill_run(machine, task, above_low, wanted):
            return runs
        if not wake_all_kswapds(machine, nodes):
            break
    while True:
        runs = fill_run(machine, task, lanes, wanted)
        if runs or not try_to_free_pages(machine, nodes):
            return runs


def alloc_run_above_low(
    machine: Machine, task: Task, where: Placement, wanted: PteRun
) -> list[PteRun]:
    """Give base pages frames as alloc_run() does, but none for which kswapd would be woken first.

    Where accesses reclaim nothing nobody wakes it, and memory is taken down to "min".
    """
    lanes = lanes_of(machine, task, where)
    if may_reclaim(machine):
        lanes = [lane.above_low() for lane in lanes]
    return fill_run(machine, task, lanes, wanted)


def have_room(machine: Machine, task: Task, where: Placement, nr: int) -> bool:
    """Let kswapd reclaim what *nr* base pages will need; whether it has reclaimed something."""
    if not may_reclaim(machine):
        return False
    got = 0
    nodes = allowed_nodes(machine, task, where)
    for nid in nodes:
        while short := shortage_on(machine, nodes, nr):
            freed = kswapd_shrink_node(machine, nid, short)
            if not freed:
                break
            got += freed  # more is short where a node had fallen below its low watermark
    return got > 0


def have_room_to_migrate(
    machine: Machine, caller: Task, where: Placement, queue: Sequence[Slice], nr: int
) -> bool:
    """Let kswapd reclaim *nr* base pages for *queue*; whether it has reclaimed something.

    The folios of *queue* are off the LRU lists then.
    """
    extents = (extent for part in queue for extent in part.extents())
    isolated = RunMap(coalesce([*machine.scope.off_lru.runs, *extents]))
    with telling(machine, machine.scope._replace(off_lru=isolated)):
        return have_room(machine, caller, where, nr)


def have_room_to_copy(
    machine: Machine, task: Task, vma: Vma, run: PteRun | None, write: bool
) -> bool:
    """Let kswapd reclaim what a store into *run* will copy; whether it has reclaimed something.

    Only a store into private memory that is not writable yet copies. What was reclaimed may have
    moved the pages of *run* elsewhere.
    """
    if not write or run is None or run.flags & Pte.WRITE or not run.lanes or vma.is_shared:
        return False
    return have_room(machine, task, placement(machine, task, vma.policy or task.policy), run.nr)


def reclaimed(machine: Machine) -> int:
    """How many pages were reclaimed, or isolated to compact memory, or split, so far.

    Pages may lie elsewhere once it is another number.
    """
    nr = machine.counters.get
    stolen = nr("pgsteal_anon", 0) + nr("pgsteal_file", 0)
    return stolen + nr("compact_isolated", 0) + nr("thp_split_page", 0)
