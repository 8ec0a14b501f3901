"""Runs of pageblocks."""

import pytest

from pymigrate.mm.base.pageblock import BlockRun, MigrateType, block_ceil, block_floor

MOVABLE, CMA = MigrateType.MOVABLE, MigrateType.CMA


@pytest.mark.parametrize(
    ("at", "cuts"), [(1024, (1024, 1024)), (1025, (1024, 1536)), (1535, (1024, 1536))]
)
def test_they_are_cut_between_blocks(at: int, cuts: tuple[int, int]) -> None:
    assert BlockRun(512, 2048, CMA).cuts(at) == cuts
    assert (block_floor(at), block_ceil(at)) == cuts


def test_alike_neighbours_are_one() -> None:
    head, tail = BlockRun(512, 2048, CMA, True).split(1024)
    assert (head, tail) == (BlockRun(512, 512, CMA, True), BlockRun(1024, 1536, CMA, True))
    assert head.join(tail) == BlockRun(512, 2048, CMA, True)
    assert head.join(tail._replace(skip=False)) is None
    assert head.join(tail._replace(migratetype=MOVABLE)) is None
