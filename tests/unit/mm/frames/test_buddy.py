"""Free lists by order, derived from free extents."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymigrate.mm.base.pageblock import MigrateType
from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.frames.buddy import (
    ContigInfo,
    block_at,
    blocks_in,
    contig_infos,
    extfrag_for_order,
    fragmentation_index,
    migratetype_of,
    nr_free,
    nr_free_by_type,
    nr_pageblocks,
    set_pageblocks,
    unusable_free_index,
)
from pymigrate.mm.state.node import Zone


def zone_of(*extents: tuple[int, int], nr: int = 8192) -> Zone:
    """A zone of *nr* frames from 0, of which *extents* are free."""
    free = [Extent(*extent) for extent in extents]
    return Zone("normal", 0, nr, RunMap(free), sum(extent.nr for extent in free))


@settings(max_examples=30)
@given(st.integers(0, 3000), st.integers(1, 2500))
def test_blocks_are_those_that_merging_buddies_gives(start: int, nr: int) -> None:
    lists = {(pfn, 0) for pfn in range(start, start + nr)}
    for order in range(10):
        for pfn in range(0, start + nr, 2 << order):
            pair = {(pfn, order), (pfn + (1 << order), order)}
            if pair <= lists:
                lists = lists - pair | {(pfn, order + 1)}
    found = [
        (first + (i << order), order)
        for first, order, count in blocks_in(start, nr)
        for i in range(count)
    ]
    assert found == sorted(lists)
    for first, order in found:
        last = first + (1 << order) - 1
        assert block_at(Extent(start, nr), last) == (first, order)


def test_free_area_counts_blocks_of_each_order() -> None:
    assert nr_free(zone_of((1, 3), (512, 512), (2048, 3000))) == [1, 1, 0, 1, 1, 1, 0, 1, 1, 2, 2]


def test_a_block_has_the_type_of_its_pageblock() -> None:
    zone = zone_of((256, 256), (512, 512), (4096, 1024), (6144, 2048))
    set_pageblocks(zone, 512, 1024, migratetype=MigrateType.UNMOVABLE)
    set_pageblocks(zone, 6144, 8192, migratetype=MigrateType.RECLAIMABLE)
    free = nr_free_by_type(zone)
    assert free[MigrateType.MOVABLE] == [0] * 8 + [1, 0, 1]
    assert free[MigrateType.UNMOVABLE] == [0] * 9 + [1, 0]
    assert free[MigrateType.RECLAIMABLE] == [0] * 10 + [2]
    blocks = nr_pageblocks(zone)
    assert (blocks[MigrateType.MOVABLE], blocks[MigrateType.UNMOVABLE]) == (11, 1)
    assert blocks[MigrateType.RECLAIMABLE] == 4


def test_pageblocks_as_at_boot_cost_nothing() -> None:
    zone = zone_of((0, 8192))
    set_pageblocks(zone, 600, 700, migratetype=MigrateType.UNMOVABLE, skip=True)
    assert (migratetype_of(zone, 1023), zone.pageblocks.at(512).skip) == (
        MigrateType.UNMOVABLE,
        True,
    )
    assert (migratetype_of(zone, 1024), zone.pageblocks.at(511)) == (MigrateType.MOVABLE, None)
    set_pageblocks(zone, 0, 8192, migratetype=MigrateType.MOVABLE)
    assert len(zone.pageblocks.runs) == 1
    set_pageblocks(zone, 0, 8192, skip=False)
    assert zone.pageblocks.runs == []
    assert nr_free_by_type(zone)[MigrateType.MOVABLE] == nr_free(zone) == [0] * 10 + [8]


@pytest.mark.parametrize(
    ("info", "order", "index", "unusable", "score"),
    [
        pytest.param(ContigInfo(0, 0, 0), 9, 0, 1000, 0, id="nothing free"),
        pytest.param(ContigInfo(1024, 2, 2), 9, -1000, 0, 0, id="enough"),
        pytest.param(ContigInfo(1000, 1000, 0), 9, 998, 1000, 100, id="scattered"),
        pytest.param(ContigInfo(256, 1, 0), 9, -500, 1000, 100, id="too little"),
        pytest.param(ContigInfo(2000, 900, 1), 9, -1000, 744, 74, id="one block"),
    ],
)
def test_indexes_tell_scattered_from_scarce(
    info: ContigInfo, order: int, index: int, unusable: int, score: int
) -> None:
    assert fragmentation_index(info, order) == index
    assert unusable_free_index(info, order) == unusable
    assert extfrag_for_order(info, order) == score


def test_larger_blocks_are_suitable_for_smaller_orders() -> None:
    infos = contig_infos(zone_of((0, 1024), (2048, 512), (4096, 1)))
    assert infos[9] == ContigInfo(1537, 3, 3)
    assert infos[10].free_blocks_suitable == 1
    assert infos[0].free_blocks_suitable == 1537
