"""Reclaim: what a node gives up when memory is short, or when it is told to. Mirrors mm/vmscan.c.

Pages go to a lower memory tier if demotion is enabled. What cannot is dropped if it is clean page
cache, or anonymous memory that was freed lazily; all else stays, for there is no swap.

The order is a model of the multi-generational LRU, a clock: files' pages before anonymous ones; of
each a hand goes round the node's frames, on from where it stopped, and takes what no entry was used
of since it last came by. New pages come to lie behind it, where the old ones were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum

from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.frames.hot_pages import TIERING
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.frames.memory_tiers import demotion_of, next_demotion_node
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
from pymigrate.mm.reclaim.room import has_disk_cache
from pymigrate.mm.state.events import MigrateMode, MigrateReason
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.node import Node
from pymigrate.mm.state.task import Task

SWAP_CLUSTER_MAX = 32  # base pages that direct reclaim wants
LIST_NR = 64  # MIN_LRU_BATCH: base pages that are isolated together


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
    mms: Iterable[Mm] | None = None,
) -> int:
    """Reclaim *nr* base pages, or as many as can be had; return how many were reclaimed.

    The nodes are gone through in the order in which *caller* would fall back to them; only those
    of *nodes*, and only what *mms* map, if they are given. What cannot be demoted is not dropped in
    its place. Mirrors memory_reclaim() and try_to_free_mem_cgroup_pages().
    """
    lru_add_drain_all(machine)
    mms = None if mms is None else list(mms)
    wanted = None if nodes is None else set(nodes)
    got = 0
    for nid in zonelist(machine, machine.local_node(caller)):
        if got < nr and (wanted is None or nid in wanted):
            got += shrink_node(machine, nid, nr - got, Reclaimer.PROACTIVE, mms)
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

    Once there were none it does not try again until some page is freed, as kswapd does after many
    failures.
    """
    if machine.hopeless.get(nid) == machine.counters["pgfree"]:
        return 0
    got = shrink_node(machine, nid, nr, Reclaimer.KSWAPD)
    if not got:
        machine.hopeless[nid] = machine.counters["pgfree"]
    return got


def try_to_free_pages(machine: Machine, nodes: Iterable[int]) -> bool:
    """Let the task that allocates reclaim memory itself; whether it got any.

    Mirrors try_to_free_pages().
    """
    machine.counters.add("allocstall_movable")
    return any(shrink_node(machine, nid, SWAP_CLUSTER_MAX, Reclaimer.DIRECT) for nid in nodes)


def wake_all_kswapds(machine: Machine, nodes: Iterable[int]) -> bool:
    """Wake kswapd on *nodes*; whether any of them has reclaimed something."""
    return sum(wakeup_kswapd(machine, nid) for nid in nodes) > 0


def shrink_node(
    machine: Machine, nid: int, nr: int, who: Reclaimer, mms: list[Mm] | None = None
) -> int:
    """Reclaim *nr* base pages of node *nid*, or a few more, or all there are; return how many."""
    shrink = _Shrink(machine, nid, who)
    node = machine.nodes[nid]
    found = list(evictable(machine, nid, mms))
    files, anon = node.hands
    files = shrink.scan([part for part in found if is_file_lru(part)], nr, "file", files)
    if shrink.demotes:  # else anonymous memory has nowhere to go
        anon = shrink.scan([part for part in found if not is_file_lru(part)], nr, "anon", anon)
    node.hands = files, anon
    return shrink.reclaimed


class _Shrink:
    """Reclaim of one node, and what has come of it."""

    def __init__(self, machine: Machine, nid: int, who: Reclaimer) -> None:
        self.machine, self.nid, self.who = machine, nid, who
        self.demotes = can_demote(machine, nid)
        self.is_full = False  # no lower tier has room for more
        self.reclaimed = 0

    def scan(self, parts: list[Slice], nr: int, kind: str, hand: int) -> int:
        """Reclaim of *parts* until *nr* pages are, in all; what was used gets a second chance.

        Begins at frame *hand*, and gives the one to go on at.
        """
        ordered = in_lru_order(self.machine.nodes[self.nid], parts, hand)
        source = _second_chances(self.machine, ordered)
        pushed: list[Slice] = []
        left = 0  # of the lists that are being isolated
        while (left > 0 or self.reclaimed < nr) and not self._is_useless(kind):
            target = next_demotion_node(self.machine, self.nid) if self.demotes else None
            if left <= 0:
                left = self._lists(nr - self.reclaimed)
            room = left if target is None else self._make_room(target)
            batch = take_folios(source, pushed, min(left, room))
            if not batch:
                break
            isolated = sum(part.nr for part in batch)
            left -= isolated
            hand = next_frame(batch[-1])
            got = self._shrink_folio_list(batch, target)
            self.reclaimed += got
            self._count(kind, isolated, got)
        return hand

    def _is_useless(self, kind: str) -> bool:
        """Whether nothing more can be had: what cannot be demoted is not dropped if told to."""
        return self.is_full and (kind == "anon" or self.who == Reclaimer.PROACTIVE)

    def _lists(self, left: int) -> int:
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
        if self.who != Reclaimer.PROACTIVE:
            counters.add(f"pgscan_{self.who.value}", scanned)
            counters.add(f"pgsteal_{self.who.value}", reclaimed)


def _second_chances(machine: Machine, parts: list[Slice]) -> Iterator[Slice]:
    """*parts*, those last that were used; that they were is forgotten as they are passed over."""
    used: list[Slice] = []
    for part in parts:
        if was_used(machine, part):
            mark_old(machine, part)
            used.append(part)
        else:
            yield part
    yield from used


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
    """Whether it is worth a look: pages can be demoted, or there is a disk's page cache."""
    return can_demote(machine, nid) or has_disk_cache(machine)
