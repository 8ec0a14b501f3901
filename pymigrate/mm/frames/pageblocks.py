"""What each pageblock of a zone is for."""

from __future__ import annotations

from pymigrate.mm.base.pageblock import BlockRun, MigrateType, block_ceil, block_floor
from pymigrate.mm.state.node import Zone


def migratetype_of(zone: Zone, pfn: int) -> MigrateType:
    """The type of the pageblock that *pfn* lies in. Mirrors get_pageblock_migratetype()."""
    run = zone.pageblocks.at(pfn)
    return run.migratetype if run else MigrateType.MOVABLE


def set_pageblocks(
    zone: Zone,
    start: int,
    end: int,
    migratetype: MigrateType | None = None,
    skip: bool | None = None,
) -> None:
    """Change the pageblocks that [start, end) meets: their type, their skip bit, or both."""
    runs: list[BlockRun] = []
    for low, high, run in zone.pageblocks.spans(block_floor(start), block_ceil(end)):
        kind = run.migratetype if run else MigrateType.MOVABLE
        kind = kind if migratetype is None else migratetype
        is_skipped_now = (run.skip if run else False) if skip is None else skip
        if kind != MigrateType.MOVABLE or is_skipped_now:
            runs.append(BlockRun(low, high - low, kind, is_skipped_now))
    zone.pageblocks.put(block_floor(start), block_ceil(end), *runs)
