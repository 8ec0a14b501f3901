"""Direct compaction: who needs a block of some order makes one free.

Mirrors __alloc_pages_slowpath() and __alloc_pages_direct_compact(), mm/page_alloc.c, and
try_to_compact_pages(), mm/compaction.c. No memory is reclaimed in between.
"""

from __future__ import annotations

from collections.abc import Callable

from pymigrate.mm.base.gfp import Gfp
from pymigrate.mm.base.pageblock import MigrateType
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.compact.compaction import (
    COSTLY_ORDER,
    compact_zone,
    defer,
    is_deferred,
    reset_defer,
    reset_isolation_suitable,
)
from pymigrate.mm.compact.control import CompactControl, CompactPriority, CompactResult, Owners
from pymigrate.mm.compact.kcompactd import wakeup_kcompactd
from pymigrate.mm.frames.page_alloc import (
    Lane,
    fill_run,
    freed_on_error,
    get_page_from_freelist,
    lanes_of,
)
from pymigrate.mm.frames.placement import Placement, ThisNode
from pymigrate.mm.state.events import MigrateMode, MigrateReason
from pymigrate.mm.state.machine import Machine, migrating
from pymigrate.mm.state.node import Node, Zone
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.trace import call_event
from pymigrate.records import NamedTuple

MAX_COMPACT_RETRIES = 16
_VAIN = (CompactResult.SKIPPED, CompactResult.DEFERRED)
_DONE = (CompactResult.COMPLETE, CompactResult.PARTIAL_SKIPPED)


class Request(NamedTuple):
    """An allocation of a block of ``1 << order`` frames from one of *zones*, in this order."""

    order: int
    gfp: Gfp
    zones: tuple[tuple[Node, Zone], ...]
    cpu: int
    get_page: Callable[[], Extent | None]  # takes a block that is free, if there is one


class Attempt(NamedTuple):
    """What came of a direct compaction: the block, if there is one now."""

    page: Extent | None
    result: CompactResult


class SlowPath:
    """The way of allocations of one call for which no block is free."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.owners: Owners | None = None

    def alloc(self, request: Request) -> Extent | None:
        """A block, if compaction makes one free; then those who work in the background begin."""
        page = self._compact(request) if request.gfp & Gfp.DIRECT_RECLAIM else None
        if request.gfp & Gfp.KSWAPD_RECLAIM:
            with freed_on_error(self.machine, [[page] if page else []]):
                self._wake(request)
            self.owners = None
        return page

    def _compact(self, request: Request) -> Extent | None:
        """Try, ever harder, as the request allows."""
        is_costly = request.order > COSTLY_ORDER
        priority = CompactPriority.SYNC_LIGHT
        if is_costly or not request.gfp & Gfp.MOVABLE:
            page, ret = self.attempt(request, CompactPriority.ASYNC)
            if page:
                return page
            if is_costly and request.gfp & Gfp.NORETRY:
                if ret in _VAIN or request.gfp & Gfp.THISNODE:
                    return None
                priority = CompactPriority.ASYNC
        retries = 0
        while True:
            page, ret = self.attempt(request, priority)
            may_retry = not request.gfp & Gfp.NORETRY and (
                not is_costly or request.gfp & Gfp.RETRY_MAYFAIL
            )
            if page or not may_retry or ret == CompactResult.SKIPPED:
                return page
            retries += ret == CompactResult.SUCCESS
            most = MAX_COMPACT_RETRIES // 4 if is_costly else MAX_COMPACT_RETRIES
            if ret == CompactResult.SUCCESS and retries <= most:
                continue
            least = CompactPriority.SYNC_LIGHT if is_costly else CompactPriority.SYNC_FULL
            if priority <= least:
                return None
            priority, retries = CompactPriority(priority - 1), 0

    def attempt(self, request: Request, priority: CompactPriority) -> Attempt:
        """One direct compaction. Counts stalls, and how they end."""
        counters = self.machine.counters
        with migrating(self.machine, MigrateReason.COMPACTION):
            ret, page = self._try_to_compact_pages(request, priority)
            if ret == CompactResult.SKIPPED:
                return Attempt(None, ret)
            counters.add("compact_stall")
            page = page or request.get_page()
            if page is None:
                counters.add("compact_fail")
                return Attempt(None, ret)
            node, zone = next(pair for pair in request.zones if pair[1].owns(page.start))
            zone.compact.blockskip_flush = False
            reset_defer(self.machine, node, zone, request.order, has_allocated=True)
            counters.add("compact_success")
            return Attempt(page, ret)

    def _try_to_compact_pages(
        self, request: Request, priority: CompactPriority
    ) -> tuple[CompactResult, Extent | None]:
        """Compact zone by zone until one has a block; the block, if it was captured."""
        machine, order = self.machine, request.order
        text = f"order={order} gfp_mask={_gfp_text(request.gfp)} priority={int(priority)}"
        call_event(machine, "mm_compaction_try_to_compact_pages", text)
        best = CompactResult.SKIPPED
        for node, zone in request.zones:
            is_full = priority == CompactPriority.SYNC_FULL
            if not is_full and is_deferred(machine, node, zone, order):
                best = max(best, CompactResult.DEFERRED)
                continue
            cc = self._control(request, node, zone, priority)
            status = compact_zone(cc)
            if cc.captured >= 0:
                best, page = CompactResult.SUCCESS, Extent(cc.captured, 1 << order)
                reset_defer(machine, node, zone, order)
                return best, page
            best = max(best, status)
            if status == CompactResult.SUCCESS:
                reset_defer(machine, node, zone, order)
                break
            if priority != CompactPriority.ASYNC and status in _DONE:
                defer(machine, node, zone, order)
        return best, None

    def _control(
        self, request: Request, node: Node, zone: Zone, priority: CompactPriority
    ) -> CompactControl:
        """What a run over a zone is told. Mirrors compact_zone_order()."""
        self.owners = self.owners or Owners(self.machine)
        is_async, is_full = priority == CompactPriority.ASYNC, priority == CompactPriority.SYNC_FULL
        mode = MigrateMode.ASYNC if is_async else MigrateMode.SYNC_LIGHT
        cc = CompactControl(self.machine, node, zone, self.owners, request.cpu, request.order, mode)
        is_movable = request.gfp & Gfp.MOVABLE
        cc.migratetype = MigrateType.MOVABLE if is_movable else MigrateType.UNMOVABLE
        cc.has_fs, cc.is_direct = bool(request.gfp & Gfp.FS), True
        cc.whole_zone = cc.ignore_skip_hint = cc.ignore_block_suitable = is_full
        return cc

    def _wake(self, request: Request) -> None:
        """kswapd of each node has nothing to reclaim: it forgets skip bits, and wakes kcompactd."""
        zones = {id(zone) for _, zone in request.zones}
        for nid in dict.fromkeys(node.nid for node, _ in request.zones):
            node = self.machine.nodes[nid]
            mine = [zone for zone in node.zones if id(zone) in zones]
            for zone in mine:
                reset_isolation_suitable(zone)
            wakeup_kcompactd(self.machine, node, request.order, mine)


def _gfp_text(gfp: Gfp) -> str:
    return "|".join(f"__GFP_{flag.name}" for flag in gfp) or "0"


def alloc_large_folio(
    machine: Machine, task: Task, where: Placement, order: int, gfp: Gfp
) -> int | None:
    """The first frame of a large folio as alloc_folio() gives it, or of one made free for it."""
    runs = alloc_large_run(machine, task, where, PteRun(0, 1 << order, (), order), gfp)
    return runs[0].lanes[0] if runs else None


def alloc_large_run(
    machine: Machine, task: Task, where: Placement, wanted: PteRun, gfp: Gfp
) -> list[PteRun]:
    """Give large entries frames as alloc_run() does, with memory compacted for them.

    *gfp* says how hard it is tried, for each folio for which no block is free.
    """
    gfp |= Gfp.THISNODE if isinstance(where, ThisNode) else Gfp.NONE
    slow = _SlowPath(machine, task, wanted.order, gfp)
    return fill_run(machine, task, lanes_of(machine, task, where), wanted, slow.alloc)


class _SlowPath:
    """What an allocation does when no block of its order is free: only large folios get here."""

    def __init__(self, machine: Machine, task: Task, order: int, gfp: Gfp) -> None:
        self.machine, self.task, self.order, self.gfp = machine, task, order, gfp
        self.path: SlowPath | None = None

    def alloc(self, lane: Lane) -> Extent | None:
        """A block that was made free."""
        if not self.order or not self.gfp & (Gfp.DIRECT_RECLAIM | Gfp.KSWAPD_RECLAIM):
            return None
        self.path = self.path or SlowPath(self.machine)
        nodes = [
            self.machine.nodes[nid] for nid in dict.fromkeys(n for p in lane.passes for n in p[0])
        ]
        is_movable = not self.machine.scope.memalloc_pin  # current_gfp_context()
        zones = tuple(
            (node, zone)
            for node in nodes
            for zone in reversed(node.zones)
            if is_movable or zone.name != "movable"
        )
        if not zones:
            return None

        def get_page() -> Extent | None:
            return get_page_from_freelist(self.machine, self.task, lane, self.order)

        return self.path.alloc(Request(self.order, self.gfp, zones, self.task.cpu, get_page))
