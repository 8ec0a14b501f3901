"""Reclaim of one node: what was isolated is demoted, or dropped. Mirrors mm/vmscan.c."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum

from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.frames.memory_tiers import demotion_of, next_demotion_node
from pymigrate.mm.frames.page_alloc import available, room_for
from pymigrate.mm.frames.placement import Demote
from pymigrate.mm.reclaim.lru import drop, evictable, is_file_lru
from pymigrate.mm.state.events import MigrateMode, MigrateReason
from pymigrate.mm.state.machine import Machine, migrating
from pymigrate.mm.state.mm import Mm
from pymigrate.records import NamedTuple

DEF_PRIORITY = 12  # of what there is ``1 / (1 << 12)`` is scanned at first
LIST_NR = 64  # MIN_LRU_BATCH: base pages that are isolated together
KINDS = ("file", "anon")  # in the order in which they are reclaimed


class Reclaimer(Enum):
    """Who reclaims, as the counters name it."""

    KSWAPD = "kswapd"
    DIRECT = "direct"
    PROACTIVE = "proactive"


def can_demote(machine: Machine, nid: int) -> bool:
    """Whether reclaim of node *nid* may demote. Mirrors can_demote()."""
    return machine.demotion and bool(demotion_of(machine, nid).preferred)


class Control(NamedTuple):
    """What reclaim is for: struct scan_control.

    Of *mms* alone, if they are given. *takes_anon*: also anonymous memory, where it can be
    demoted. *wake_kswapd* is told the node that memory is demoted to, if it has none to spare.
    """

    who: Reclaimer
    wake_kswapd: Callable[[Machine, int], int]
    mms: list[Mm] | None = None
    takes_anon: bool = True


class Shrink(ABC):
    """Reclaim of node *nid*, and what has come of it."""

    def __init__(self, machine: Machine, nid: int, control: Control) -> None:
        self.machine, self.nid, self.control = machine, nid, control
        self.demotes = can_demote(machine, nid)
        self.kinds = KINDS if self.demotes and control.takes_anon else KINDS[:1]
        self.is_full = False  # no lower tier has room for more
        self.reclaimed = 0

    @abstractmethod
    def look(self) -> None:
        """Find what may be evicted."""

    @abstractmethod
    def shrink_lruvec(self, priority: int, wanted: int) -> None:
        """Evict the share of a pass; *wanted*: how many pages are lacking.

        Mirrors try_to_shrink_lruvec().
        """

    @abstractmethod
    def shrink_until(self, nr: int) -> None:
        """Reclaim *nr* base pages, or some more, or all that there are."""

    @abstractmethod
    def drained(self) -> int:
        """How many pages have come from the CPUs' batches, which are empty now."""

    @abstractmethod
    def have_come(self, nr: int) -> None:
        """*nr* more pages have been demoted to this node."""

    def evictable(self, kind: str) -> list[Slice]:
        """The folios of a *kind* that may be evicted."""
        if kind not in self.kinds:
            return []
        is_file = kind == "file"
        mms = self.control.mms
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
        return [mm for mm in mms.values() if self.control.mms is None or mm in self.control.mms]

    def target(self) -> int | None:
        """The node that the next list is demoted to."""
        return next_demotion_node(self.machine, self.nid) if self.demotes else None

    def is_useless(self, kind: str) -> bool:
        """Whether nothing more can be had: what cannot be demoted is not dropped if told to."""
        return self.is_full and (kind == "anon" or self.control.who == Reclaimer.PROACTIVE)

    def are_alike(self) -> bool:
        """Whether several lists have the outcome of one."""
        is_seen = self.machine.watch.events is not None
        several = len(demotion_of(self.machine, self.nid).preferred) > 1
        return not (self.demotes and (is_seen or several))

    def reclaim(self, kind: str, batch: list[Slice], target: int | None) -> None:
        """Reclaim *batch*, which is isolated, and count it."""
        got = self._shrink_folio_list(batch, target)
        self.reclaimed += got
        self.count(kind, sum(part.nr for part in batch), got)

    def make_room(self, target: int) -> int:
        """How many pages may go to *target* before its kswapd is woken, or at all."""
        node = self.machine.nodes[target]
        if not available(node, to_min=False):
            self.control.wake_kswapd(self.machine, target)
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
            if self.control.who == Reclaimer.PROACTIVE:
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
        name = self.control.who.value
        if self.control.who == Reclaimer.PROACTIVE and not machine.release.counts_proactive:
            name = Reclaimer.DIRECT.value
        counters = machine.nodes[self.nid].numa
        if name == Reclaimer.PROACTIVE.value:
            counters = machine.counters
        with migrating(machine, MigrateReason.DEMOTION):
            counters.add(f"pgdemote_{name}", result.succeeded)
        return result.succeeded

    def count(self, kind: str, scanned: int, reclaimed: int) -> None:
        """Count pages, but a cgroup's for the cgroup alone. Mirrors evict_folios()."""
        counters = self.machine.counters
        counters.add(f"pgscan_{kind}", scanned)
        counters.add(f"pgsteal_{kind}", reclaimed)
        if self.control.who != Reclaimer.PROACTIVE or self.machine.release.counts_proactive:
            counters.add(f"pgscan_{self.control.who.value}", scanned)
            counters.add(f"pgsteal_{self.control.who.value}", reclaimed)
