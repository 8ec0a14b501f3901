"""What compaction remembers of a zone, and its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pymigrate.mm.base.pageblock import block_floor

MAX_DEFER_SHIFT = 6  # COMPACT_MAX_DEFER_SHIFT


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

    def reset_positions(self, start: int, end: int) -> None:
        """Begin at the ends of the zone. Mirrors reset_cached_positions()."""
        self.cached_migrate_async = self.cached_migrate_sync = start
        self.cached_free = block_floor(end - 1)

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
        """Whether runs were put off for as long as can be. Mirrors compaction_restarting()."""
        return (
            order >= self.order_failed
            and self.defer_shift == MAX_DEFER_SHIFT
            and self.considered >= 1 << self.defer_shift
        )
