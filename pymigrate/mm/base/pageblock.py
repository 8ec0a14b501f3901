"""Pageblocks: what each block of a zone is for, and whether compaction passes it by."""

from __future__ import annotations

from enum import IntEnum

from pymigrate.mm.base.runs import joined_in_turn
from pymigrate.records import NamedTuple
from pymigrate.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER

PAGEBLOCK_ORDER = HPAGE_PMD_ORDER
PAGEBLOCK_NR = HPAGE_PMD_NR


class MigrateType(IntEnum):
    """What a pageblock is for (enum migratetype, mmzone.h)."""

    UNMOVABLE = 0
    MOVABLE = 1
    RECLAIMABLE = 2
    HIGHATOMIC = 3
    CMA = 4
    ISOLATE = 5


class BlockRun(NamedTuple):
    """*nr* frames from *start*, whole pageblocks, that are alike.

    Zone.pageblocks has none where blocks are as they were at boot: movable, with no skip bit.
    """

    start: int
    nr: int
    migratetype: MigrateType
    skip: bool = False

    def cuts(self, at: int) -> tuple[int, int]:
        """It is cut between blocks."""
        return at - at % PAGEBLOCK_NR, -(-at // PAGEBLOCK_NR) * PAGEBLOCK_NR

    def split(self, at: int) -> tuple[BlockRun, BlockRun]:
        """Cut before frame *at*."""
        nr = at - self.start
        return self._replace(nr=nr), self._replace(start=at, nr=self.nr - nr)

    @staticmethod
    def chain(runs: list[BlockRun]) -> list[BlockRun]:
        """Neighbours, as few as they can be."""
        return joined_in_turn(runs)

    def join(self, tail: BlockRun) -> BlockRun | None:
        """Both as one, if they are alike."""
        if (self.migratetype, self.skip) == (tail.migratetype, tail.skip):
            return self._replace(nr=self.nr + tail.nr)
        return None


def block_floor(pfn: int) -> int:
    """Where the pageblock begins that *pfn* lies in."""
    return pfn & -PAGEBLOCK_NR


def block_ceil(pfn: int) -> int:
    """Where the first pageblock begins that lies wholly at or behind *pfn*."""
    return -(-pfn // PAGEBLOCK_NR) * PAGEBLOCK_NR
