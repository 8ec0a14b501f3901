"""One run of compaction over a zone: its parameters, its progress and how it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from pymigrate.mm.base.pageblock import MigrateType, block_floor
from pymigrate.mm.compact.owners import Owners
from pymigrate.mm.frames.buddy import NR_PAGE_ORDERS
from pymigrate.mm.state.events import MigrateMode
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Node, Zone

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
