"""What compaction remembers of a zone, and what one run of it is told and comes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from pymigrate.mm.buddy import NR_PAGE_ORDERS
from pymigrate.mm.pageblock import MigrateType, block_floor
from pymigrate.mm.trace import MigrateMode

if TYPE_CHECKING:
    from pymigrate.mm.compact_owners import Owners
    from pymigrate.mm.machine import Machine, Node, Zone

MAX_DEFER_SHIFT = 6  # COMPACT_MAX_DEFER_SHIFT
WHOLE_ZONE = -1  # the order of a run that wants no block of some order
CLUSTER = 32  # COMPACT_CLUSTER_MAX: pages that are isolated and moved together


class CompactResult(IntEnum):
    """How a run ends (enum compact_result, linux/compaction.h)."""

    NOT_SUITABLE_ZONE = 0
    SKIPPED = 1
    DEFERRED = 2
    NO_SUITABLE_PAGE = 3
    CONTINUE = 4
    COMPLETE = 5
    PARTIAL_SKIPPED = 6
    CONTENDED = 7
    SUCCESS = 8


class CompactPriority(IntEnum):
    """How hard a direct compaction tries (enum compact_priority): the lower the harder."""

    SYNC_FULL = 0
    SYNC_LIGHT = 1
    ASYNC = 2


class CompactKnobs(NamedTuple):
    """The sysctls of compaction, in vm."""

    unevictable_allowed: int = 1  # compact_unevictable_allowed: mlocked pages move too
    extfrag_threshold: int = 500
    proactiveness: int = 20  # compaction_proactiveness


@dataclass(slots=True)
class CompactState:
    """A zone's cached positions, and how often runs are put off after failures.

    A position of -1 was never set. Mirrors the compact_* fields of struct zone.
    """

    cached_migrate_async: int = -1
    cached_migrate_sync: int = -1
    cached_free: int = -1
    init_migrate: int = -1
    init_free: int = -1
    considered: int = 0
    defer_shift: int = 0
    order_failed: int = 0
    blockskip_flush: bool = False  # whether the skip bits are to go before the next run

    def reset_positions(self, zone: Zone) -> None:
        """Mirrors reset_cached_positions()."""
        self.cached_migrate_async = self.cached_migrate_sync = zone.start
        self.cached_free = block_floor(zone.end - 1)

    def defer(self, order: int) -> None:
        """Put runs off for twice as many requests as before. Mirrors defer_compaction()."""
        self.considered = 0
        self.defer_shift = min(self.defer_shift + 1, MAX_DEFER_SHIFT)
        self.order_failed = min(self.order_failed, order)

    def is_deferred(self, order: int) -> bool:
        """Whether a run for *order* is put off; counts it. Mirrors compaction_deferred()."""
        if order < self.order_failed:
            return False
        self.considered = min(self.considered + 1, 1 << self.defer_shift)
        return self.considered < 1 << self.defer_shift

    def reset_defer(self, order: int, has_allocated: bool) -> None:
        """A run for *order* has, or should have, succeeded. Mirrors compaction_defer_reset()."""
        if has_allocated:
            self.considered = self.defer_shift = 0
        if order >= self.order_failed:
            self.order_failed = order + 1

    def is_restarting(self, order: int) -> bool:
        """Whether a run begins after the longest time of none. Mirrors compaction_restarting()."""
        return (
            order >= self.order_failed
            and self.defer_shift == MAX_DEFER_SHIFT
            and self.considered >= 1 << self.defer_shift
        )


@dataclass(slots=True, eq=False)
class CompactControl:
    """One run over a zone: what it is told, and how far it has come (struct compact_control)."""

    machine: Machine
    node: Node
    zone: Zone
    owners: Owners
    cpu: int  # whose LRU batch is drained
    order: int = WHOLE_ZONE
    mode: MigrateMode = MigrateMode.SYNC
    migratetype: MigrateType = MigrateType.UNMOVABLE
    has_fs: bool = True  # __GFP_FS
    whole_zone: bool = False
    ignore_skip_hint: bool = False
    ignore_block_suitable: bool = False
    is_direct: bool = False
    is_proactive: bool = False
    finish_pageblock: bool = False
    migrate_pfn: int = 0
    free_pfn: int = 0
    checked_pfn: int = -1  # below it no suitable block is free
    nr_migratepages: int = 0
    freepages: list[list[int]] = field(default_factory=lambda: [[] for _ in range(NR_PAGE_ORDERS)])
    nr_freepages: int = 0
    migrate_scanned: int = 0
    free_scanned: int = 0
    moved: int = 0  # pages
    search_order: int = -1  # where the search of the free lists begins; -1: at the highest order
    fast_tops: dict[int, int] = field(default_factory=dict)  # above: no free block of that order
    captured: int = -1  # the first frame of a block that the run hands over
    waiting: frozenset[int] = frozenset()  # frames on no LRU list yet

    @property
    def is_sync(self) -> bool:
        """Whether it may wait."""
        return self.mode != MigrateMode.ASYNC

    @property
    def is_async_direct(self) -> bool:
        """Whether it only takes what is easily had."""
        return self.is_direct and not self.is_sync

    @property
    def is_met(self) -> bool:
        """Whether the scanners have met. Mirrors compact_scanners_met()."""
        return block_floor(self.free_pfn) <= block_floor(self.migrate_pfn)
