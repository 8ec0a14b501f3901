"""Reclaim: what a node gives up when memory is short, or when it is told to. Mirrors mm/vmscan.c.

Pages go to a lower memory tier if demotion is enabled. What cannot is dropped if it is clean page
cache, or anonymous memory that was freed lazily; all else stays, for there is no swap.

The order is that of the generations of the LRU lists, see generations.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from pymigrate.mm.frames.hot_pages import TIERING
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.frames.page_alloc import zonelist
from pymigrate.mm.reclaim.clock import ClockShrink
from pymigrate.mm.reclaim.generations import GenShrink
from pymigrate.mm.reclaim.room import has_freeable, has_huge_pages
from pymigrate.mm.reclaim.shrink import DEF_PRIORITY, Control, Reclaimer, Shrink, can_demote
from pymigrate.mm.reclaim.shrinker import shrink_slab
from pymigrate.mm.state.machine import Machine, as_thread, because
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.node import Node
from pymigrate.mm.state.task import Task

SWAP_CLUSTER_MAX = 32  # base pages that direct reclaim wants
MAX_RECLAIM_RETRIES = 16


@because("reclaim")
def memory_reclaim(
    machine: Machine,
    caller: Task,
    nr: int,
    nodes: Iterable[int] | None = None,
    mms: list[Mm] | None = None,
    takes_anon: bool = True,
) -> int:
    """Reclaim *nr* base pages, or as many as can be had; return how many were reclaimed.

    The nodes are gone through in the order in which *caller* would fall back to them, again and
    again, and each gives a share; only those of *nodes*, and only what *mms* map, if they are
    given. Anonymous memory is left alone unless this *takes_anon*. What cannot be demoted is not
    dropped in its place. Mirrors memory_reclaim() and try_to_free_mem_cgroup_pages().
    """
    if not machine.release.lru_gen:
        lru_add_drain_all(machine)
    wanted = None if nodes is None else set(nodes)
    control = Control(Reclaimer.PROACTIVE, wakeup_kswapd, mms, takes_anon)
    passes = _Passes(
        _shrink(machine, nid, control)
        for nid in zonelist(machine, machine.local_node(caller))
        if wanted is None or nid in wanted
    )
    got, retries = 0, MAX_RECLAIM_RETRIES
    while got < nr:
        if not retries:
            passes.drain()
        reclaimed = passes.run(max((nr - got) // 4, SWAP_CLUSTER_MAX))
        if not reclaimed and not retries:
            break
        retries -= not reclaimed
        got += reclaimed
    return got


def wakeup_kswapd(machine: Machine, nid: int) -> int:
    """Let kswapd bring node *nid* back to its high watermark; how many base pages it reclaimed.

    It runs at once, and as far as it can. Mirrors wakeup_kswapd() and balance_pgdat().
    """
    node = machine.nodes[nid]
    if not node.zones or _nr_below(machine, node) <= 0 or not _has_reclaimable(machine, nid):
        return 0
    with as_thread(machine, f"kswapd{nid}", "reclaim"):
        machine.counters.add("pageoutrun")
        got = 0
        while (nr := _nr_below(machine, node)) > 0:
            reclaimed = kswapd_shrink_node(machine, nid, nr)
            got += reclaimed
            if not reclaimed:
                break
    return got


def kswapd_shrink_node(machine: Machine, nid: int, nr: int) -> int:
    """Reclaim *nr* base pages of node *nid*; return how many were reclaimed.

    Where they are not to be had, slab caches shrink. Once there were none it does not try again
    until some page is freed, as kswapd does after many failures.
    """
    if machine.hopeless.get(nid) == machine.counters["pgfree"]:
        return 0
    got = shrink_node(machine, nid, nr, Reclaimer.KSWAPD)
    if got < nr:
        got += _shrink_slab(machine, nid)
    if not got:
        machine.hopeless[nid] = machine.counters["pgfree"]
    return got


@because("reclaim")
def try_to_free_pages(machine: Machine, nodes: Iterable[int]) -> bool:
    """Let the task that allocates reclaim memory itself; whether it got any.

    Mirrors try_to_free_pages().
    """
    machine.counters.add("allocstall_movable")
    return any(
        shrink_node(machine, nid, SWAP_CLUSTER_MAX, Reclaimer.DIRECT) or _shrink_slab(machine, nid)
        for nid in nodes
    )


def wake_all_kswapds(machine: Machine, nodes: Iterable[int]) -> bool:
    """Wake kswapd on *nodes*; whether any of them has reclaimed something."""
    return sum(wakeup_kswapd(machine, nid) for nid in nodes) > 0


def shrink_node(machine: Machine, nid: int, nr: int, who: Reclaimer) -> int:
    """Reclaim *nr* base pages of node *nid*, or a few more, or all there are; return how many."""
    shrink = _shrink(machine, nid, Control(who, wakeup_kswapd))
    shrink.look()
    shrink.shrink_until(nr)
    return shrink.reclaimed


def _shrink_slab(machine: Machine, nid: int) -> int:
    """Run the shrinkers for node *nid*, as when there is nothing else left; how many of its base
    pages are free then that were not.

    At low priorities they are asked for less than they have, and then do nothing: do_shrink_slab().
    """
    if not has_huge_pages(machine):
        return 0
    node = machine.nodes[nid]
    free = node.nr_free
    shrink_slab(machine)
    return node.nr_free - free


class _Passes:
    """Reclaim that goes round several nodes, and takes a share of what each has."""

    def __init__(self, shrinks: Iterable[Shrink]) -> None:
        self.shrinks = list(shrinks)
        for shrink in self.shrinks:
            shrink.look()

    def run(self, wanted: int) -> int:
        """Reclaim *wanted* pages, or some more; how many.

        Mirrors do_try_to_free_pages(): the shares double from pass to pass.
        """
        got = 0
        for priority in range(DEF_PRIORITY, -1, -1):
            for shrink in self.shrinks:
                got += self._shrink_lruvec(shrink, priority, wanted - got)
            if got >= wanted:
                break
        return got

    def drain(self) -> bool:
        """Empty the CPUs' batches for a last attempt; whether there is more to reclaim now."""
        for shrink in self.shrinks[:1]:
            lru_add_drain_all(shrink.machine)
        return sum(shrink.drained() for shrink in self.shrinks) > 0

    def _shrink_lruvec(self, shrink: Shrink, priority: int, wanted: int) -> int:
        """Take a node's share; other nodes have more afterwards if it demotes."""
        nodes = shrink.machine.nodes
        free = {other.nid: nodes[other.nid].nr_free for other in self.shrinks}
        before = shrink.reclaimed
        shrink.shrink_lruvec(priority, wanted)
        for other in self.shrinks:
            if other is not shrink:
                other.have_come(free[other.nid] - nodes[other.nid].nr_free)
        return shrink.reclaimed - before


def _shrink(machine: Machine, nid: int, control: Control) -> Shrink:
    """Reclaim of node *nid*."""
    return (GenShrink if machine.release.lru_gen else ClockShrink)(machine, nid, control)


def _nr_below(machine: Machine, node: Node) -> int:
    """How many pages node's highest zone lacks, unless another has enough.

    With NUMA balancing between tiers there is to be room for promotion, too. Mirrors
    pgdat_balanced().
    """
    lacking = 0
    for zone in node.zones:
        mark = zone.watermark_high + zone.reserve
        if machine.numa_balancing & TIERING:
            mark += zone.watermark_high - zone.watermark_low
        lacking = mark + 1 - zone.nr_free
        if lacking <= 0:
            return 0
    return lacking


def _has_reclaimable(machine: Machine, nid: int) -> bool:
    """Whether it is worth a look: pages can be demoted, or freed."""
    return can_demote(machine, nid) or has_freeable(machine)
