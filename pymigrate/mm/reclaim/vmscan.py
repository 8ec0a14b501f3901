"""Reclaim: what a node gives up when memory is short, or when it is told to. Mirrors mm/vmscan.c.

Pages go to a lower memory tier if demotion is enabled. What cannot is dropped if it is clean page
cache, or anonymous memory that was freed lazily; all else stays, for there is no swap.

The order is a model of the multi-generational LRU, a clock: files' pages before anonymous ones, and
a hand that goes round the node's frames, on from where it stopped, and takes what no entry was used
of since it last came by. New pages, of either kind, come to lie behind it, where the old ones were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum

from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.frames.hot_pages import TIERING
from pymigrate.mm.frames.lru_batches import lru_add_drain_all, waiting_pfns
from pymigrate.mm.frames.memory_tiers import demotion_of, next_demotion_node, node_is_toptier
from pymigrate.mm.frames.page_alloc import available, room_for, zonelist
from pymigrate.mm.frames.placement import Demote
from pymigrate.mm.reclaim.lru import (
    drop,
    evictable,
    in_lru_order,
    is_file_lru,
    mark_old,
    next_frame,
    take_folios,
    was_used,
)
from pymigrate.mm.reclaim.room import has_freeable, has_huge_pages
from pymigrate.mm.reclaim.shrinker import shrink_slab
from pymigrate.mm.state.events import MigrateMode, MigrateReason
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.node import Node
from pymigrate.mm.state.task import Task

DEF_PRIORITY = 12  # of what there is ``1 / (1 << 12)`` is scanned at first
SWAP_CLUSTER_MAX = 32  # base pages that direct reclaim wants
LIST_NR = 64  # MIN_LRU_BATCH: base pages that are isolated together
_KINDS = ("file", "anon")  # in the order in which they are reclaimed


class Reclaimer(Enum):
    """Who reclaims, as the counters name it."""

    KSWAPD = "kswapd"
    DIRECT = "direct"
    PROACTIVE = "proactive"


def can_demote(machine: Machine, nid: int) -> bool:
    """Whether reclaim of node *nid* may demote. Mirrors can_demote()."""
    return machine.demotion and bool(demotion_of(machine, nid).preferred)


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
    if not machine.release.reclaim_stops_early:
        lru_add_drain_all(machine)
    wanted = None if nodes is None else set(nodes)
    passes = _Passes(
        _Shrink(machine, nid, Reclaimer.PROACTIVE, mms, takes_anon)
        for nid in zonelist(machine, machine.local_node(caller))
        if wanted is None or nid in wanted
    )
    got = 0
    while got < nr:
        reclaimed = passes.run(max((nr - got) // 4, SWAP_CLUSTER_MAX))
        if not reclaimed and not passes.drain():  # nor would there be any if it was tried again
            break
        got += reclaimed
    return got


def wakeup_kswapd(machine: Machine, nid: int) -> int:
    """Let kswapd bring node *nid* back to its high watermark; how many base pages it reclaimed.

    It runs at once, and as far as it can. Mirrors wakeup_kswapd() and balance_pgdat().
    """
    node = machine.nodes[nid]
    if not node.zones or _nr_below(machine, node) <= 0 or not _has_reclaimable(machine, nid):
        return 0
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
    shrink = _Shrink(machine, nid, who)
    shrink.look()
    for kind in shrink.kinds:
        while shrink.reclaimed < nr and shrink.evict(kind, shrink.lists(nr - shrink.reclaimed)):
            pass
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

    def __init__(self, shrinks: Iterable[_Shrink]) -> None:
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

    def _shrink_lruvec(self, shrink: _Shrink, priority: int, wanted: int) -> int:
        """Take a node's share; other nodes have more afterwards if it demotes.

        *wanted*: how many pages are lacking. Some kernels stop when they are had. Mirrors
        try_to_shrink_lruvec() and should_abort_scan().
        """
        nr = shrink.get_nr_to_scan(priority)
        if not nr:
            return 0
        step = LIST_NR if shrink.machine.release.reclaim_stops_early else nr
        nodes = shrink.machine.nodes
        free = {other.nid: nodes[other.nid].nr_free for other in self.shrinks}
        before = shrink.reclaimed
        for kind in shrink.kinds:
            while nr > 0:
                asked = min(nr, step)
                taken = shrink.evict(kind, asked)
                is_enough = step < nr and shrink.reclaimed - before >= wanted
                nr = 0 if is_enough else nr - taken
                if taken < asked:
                    break
        for other in self.shrinks:
            if other is not shrink:
                came = free[other.nid] - nodes[other.nid].nr_free
                other.nr_evictable += came
                other.stale.update(other.kinds if came > 0 else ())
        got = shrink.reclaimed - before
        shrink.nr_evictable -= got
        return got


class _Shrink:
    """Reclaim of one node, and what has come of it.

    Of *mms* alone, if they are given. *takes_anon*: also anonymous memory, where it can be demoted.
    """

    def __init__(
        self,
        machine: Machine,
        nid: int,
        who: Reclaimer,
        mms: list[Mm] | None = None,
        takes_anon: bool = True,
    ) -> None:
        self.machine, self.nid, self.who, self.mms = machine, nid, who, mms
        self.demotes = can_demote(machine, nid)
        self.kinds = _KINDS if self.demotes and takes_anon else _KINDS[:1]
        self.is_full = False  # no lower tier has room for more
        self.reclaimed = 0
        self.nr_evictable = 0  # base pages of these kinds
        self.nr_waiting = 0  # base pages that wait for their list on some CPU
        self.is_young = False  # all of them were used
        self.stale: set[str] = set()  # kinds that may have come since it was looked for them
        self.sources: dict[str, Iterator[Slice]] = {}
        self.pushed: dict[str, list[Slice]] = {"file": [], "anon": []}

    def look(self) -> None:
        """Find what may be evicted, in its order, and how much that is.

        What was used gets a second chance.
        """
        stops_early = self.machine.release.reclaim_stops_early
        self.is_young = stops_early
        self.nr_evictable = sum(self._look_for(kind) for kind in _KINDS)
        if stops_early:
            pfns = waiting_pfns(self.machine)
            self.nr_waiting = sum(nid_of(pfn) == self.nid for pfn in pfns)
            self.nr_evictable = max(self.nr_evictable - self.nr_waiting, 0)

    def drained(self) -> int:
        """How many pages have come from the CPUs' batches, which are empty now."""
        came, self.nr_waiting = self.nr_waiting, 0
        self.nr_evictable += came
        return came

    def get_nr_to_scan(self, priority: int) -> int:
        """The share of a pass: base pages.

        Mirrors get_nr_to_scan(); where all memory is young the passes before the last one make
        it old.
        """
        share = self.nr_evictable >> priority
        if not self.machine.release.reclaim_stops_early:
            return -(-share // LIST_NR) * LIST_NR
        if priority and self.is_young:
            return 0
        self.is_young = False
        return share

    def _look_for(self, kind: str) -> int:
        """Find what of a *kind* may be evicted; how many base pages.

        A hand goes on where it has stopped. What was demoted to the node is in the order of its
        pages, as it was where it came from: its frames are some that were freed here.
        """
        node = self.machine.nodes[self.nid]
        parts = self._evictable(kind)
        if node_is_toptier(self.machine, self.nid):
            parts = in_lru_order(node, parts, node.hand)
        else:
            parts.sort(key=lambda part: part.run.start)
        self.sources[kind] = self._second_chances(kind, parts)
        self.is_young = self.is_young and all(was_used(self.machine, part) for part in parts)
        return sum(part.nr for part in parts)

    def _second_chances(self, kind: str, parts: list[Slice]) -> Iterator[Slice]:
        """*parts*, those last that were used; that they were is forgotten as they are passed over.

        They have been isolated in vain, and count as scanned, if something behind them was not
        used. Else nothing was left that is older, and the aging has looked at their entries.
        """
        used: list[Slice] = []
        passed = 0
        for part in parts:
            if was_used(self.machine, part):
                mark_old(self.machine, part)
                used.append(part)
                passed += part.nr
            else:
                self._count(kind, passed, 0)
                passed = 0
                yield part
        yield from used

    def _evictable(self, kind: str) -> list[Slice]:
        """The folios of a *kind* that may be evicted."""
        if kind not in self.kinds:
            return []
        is_file = kind == "file"
        mms = self.mms
        if not is_file and self.machine.release.demotes_in_cpusets:
            mms = self._may_demote()
        found = evictable(self.machine, self.nid, mms)
        return [part for part in found if is_file_lru(part) == is_file]

    def _may_demote(self) -> list[Mm]:
        """The address spaces of tasks that may have memory where this node's is demoted to.

        Mirrors mem_cgroup_node_allowed().
        """
        nodes = demotion_of(self.machine, self.nid).preferred
        mms = {id(t.mm): t.mm for t in self.machine.tasks.values() if t.mems_allowed & nodes}
        return [mm for mm in mms.values() if self.mms is None or mm in self.mms]

    def evict(self, kind: str, nr: int) -> int:
        """Isolate *nr* pages, and reclaim them; how many were isolated.

        They are fewer if there are no more, or it is of no use to go on.
        """
        isolated = 0
        while isolated < nr and not self._is_useless(kind):
            target = next_demotion_node(self.machine, self.nid) if self.demotes else None
            left = nr - isolated
            room = left if target is None else self._make_room(target)
            batch = self._take(kind, min(left, room))
            if not batch:
                break
            taken = sum(part.nr for part in batch)
            isolated += taken
            self.machine.nodes[self.nid].hand = next_frame(batch[-1])
            got = self._shrink_folio_list(batch, target)
            self.reclaimed += got
            self._count(kind, taken, got)
        return isolated

    def _take(self, kind: str, nr: int) -> list[Slice]:
        """Isolate up to *nr* pages; where there are none left new ones may have come."""
        batch = take_folios(self.sources[kind], self.pushed[kind], nr)
        if not batch and kind in self.stale:
            self.stale.remove(kind)
            self._look_for(kind)
            batch = take_folios(self.sources[kind], self.pushed[kind], nr)
        return batch

    def _is_useless(self, kind: str) -> bool:
        """Whether nothing more can be had: what cannot be demoted is not dropped if told to."""
        return self.is_full and (kind == "anon" or self.who == Reclaimer.PROACTIVE)

    def lists(self, left: int) -> int:
        """How many pages to isolate: a list's, or those of several whose outcome is the same."""
        is_seen = self.machine.watch.events is not None
        if self.demotes and (is_seen or len(demotion_of(self.machine, self.nid).preferred) > 1):
            return LIST_NR
        return -(-left // LIST_NR) * LIST_NR

    def _make_room(self, target: int) -> int:
        """How many pages may go to *target* before its kswapd is woken, or at all."""
        node = self.machine.nodes[target]
        if not available(node, to_min=False):
            wakeup_kswapd(self.machine, target)
        return (
            available(node, to_min=False)
            or room_for(self.machine, self.machine.shell_of(0), self._where(target))
            or LIST_NR
        )

    def _where(self, target: int) -> Demote:
        """Mirrors alloc_migrate_folio(): the target alone, and then all lower tiers."""
        lower = demotion_of(self.machine, self.nid).fallback
        return Demote(target, lower)

    def _shrink_folio_list(self, batch: list[Slice], target: int | None) -> int:
        """Demote *batch*, or else drop what can be; how many base pages.

        Mirrors shrink_folio_list().
        """
        got = 0
        if target is not None and not self.is_full:
            got = self._demote_folio_list(batch, target)
            if self.who == Reclaimer.PROACTIVE:
                return got
        return got + drop(self.machine, batch)

    def _demote_folio_list(self, batch: list[Slice], target: int) -> int:
        """Move *batch* to a lower tier; how many base pages. Mirrors demote_folio_list()."""
        machine = self.machine
        result = migrate_pages(
            machine,
            machine.shell_of(0),
            batch,
            self._where(target),
            MigrateReason.DEMOTION,
            mode=MigrateMode.ASYNC,
        )
        self.is_full = result.is_enomem
        name = self.who.value
        if self.who == Reclaimer.PROACTIVE and not machine.release.counts_proactive:
            name = Reclaimer.DIRECT.value
        counters = machine.nodes[self.nid].numa
        if name == Reclaimer.PROACTIVE.value:
            counters = machine.counters
        counters.add(f"pgdemote_{name}", result.succeeded)
        return result.succeeded

    def _count(self, kind: str, scanned: int, reclaimed: int) -> None:
        """Count pages, but a cgroup's for the cgroup alone. Mirrors evict_folios()."""
        counters = self.machine.counters
        counters.add(f"pgscan_{kind}", scanned)
        counters.add(f"pgsteal_{kind}", reclaimed)
        if self.who != Reclaimer.PROACTIVE or self.machine.release.counts_proactive:
            counters.add(f"pgscan_{self.who.value}", scanned)
            counters.add(f"pgsteal_{self.who.value}", reclaimed)


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
