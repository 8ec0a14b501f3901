"""Which frames the free scanner takes, and how many it looks at for that."""

from collections.abc import Callable

import pytest

from pymigrate.mm.base.pageblock import MigrateType
from pymigrate.mm.compact.control import WHOLE_ZONE, CompactControl, Owners
from pymigrate.mm.compact.free_scanner import (
    compaction_alloc,
    compaction_free,
    find_free_block,
    release_freepages,
)
from pymigrate.mm.frames.buddy import migratetype_of, set_pageblocks
from pymigrate.mm.state.events import MigrateMode
from pymigrate.mm.state.machine import Machine
from tests.conftest import new_task, touched, two_nodes
from tests.unit.mm.compact.conftest import declared

SYNC, ASYNC = MigrateMode.SYNC_LIGHT, MigrateMode.ASYNC
EVEN = "stride: 2"  # are in use
ODD = "stride: 2, offset: 4KiB"
FULL = "run: 4096, stride: 4097, offset: {}"


def scanner(
    machine: Machine, mode: MigrateMode = SYNC, order: int = WHOLE_ZONE, top: int = 3584
) -> CompactControl:
    """A run over the 4096 frames of node 0, whose free scanner begins at *top*."""
    node = machine.nodes[0]
    cc = CompactControl(machine, node, node.zones[0], Owners(machine), 0, order, mode)
    cc.free_pfn = top
    return cc


def scanned(cc: CompactControl, nr: int = 32) -> tuple[int, list[int]]:
    """How many frames are looked at for *nr* ones, and which are found."""
    found = compaction_alloc(cc, nr)
    return cc.free_scanned, found


def test_a_run_that_waits_looks_at_each_frame() -> None:
    cc = scanner(declared(EVEN, memory="16MiB"))
    assert scanned(cc) == (64, [*range(3585, 3649, 2)])
    assert cc.free_pfn == 3648
    assert scanned(cc, 16) == (96, [*range(3649, 3681, 2)])
    assert cc.machine.counters["compact_isolated"] == 48


def test_a_run_that_does_not_wait_looks_at_each_32nd_until_it_finds_some() -> None:
    cc = scanner(declared(EVEN, memory="16MiB"), ASYNC)
    assert scanned(cc) == (7 * 16, [])  # down to the migrate scanner's pageblock
    cc = scanner(declared(ODD, memory="16MiB"), ASYNC)
    assert scanned(cc) == (16 + 31, [*range(3584, 4096, 32), *range(3072, 3104, 2)])
    assert cc.free_pfn == 3103


@pytest.mark.parametrize("watches", [False, True], ids=["alone", "watched"])
@pytest.mark.parametrize(
    ("pattern", "mode", "expected"),
    [
        (EVEN, SYNC, (512 + 256 + 128 + 64 + 32 + 16 + 16, 0)),
        (ODD, SYNC, (512 + 256 + 32, 32)),
        (ODD, ASYNC, (16 + 16 + 16 + 31, 32)),
    ],
    ids=["nothing is met", "what is met is taken", "each 32nd"],
)
def test_the_stride_doubles_while_nothing_is_found(
    pattern: str, mode: MigrateMode, expected: tuple[int, int], watches: bool
) -> None:
    machine = declared(f"{pattern}, size: 12MiB", FULL.format("12MiB"), memory="16MiB")
    machine.watch = machine.watch._replace(events=[] if watches else None)
    nr, found = scanned(scanner(machine, mode))
    assert (nr, len(found)) == expected


def test_huge_pages_in_use_are_passed_whole() -> None:
    machine = two_nodes("16MiB")
    machine.thp = "always"
    touched(machine, new_task(machine), "4MiB")
    start = min(run.start for run in machine.nodes[0].memmap.runs)
    cc = scanner(machine, ASYNC, top=start + 512)
    assert scanned(cc)[0] == 512 * (2 - (start == 0))


def test_blocks_are_taken_whole_and_the_smallest_are_used_first() -> None:
    cc = scanner(declared("stride: 4", memory="16MiB"))
    assert scanned(cc, 6) == (8, [3585, 3589, 3586, 3587, 3590, 3591])


def test_what_was_cut_from_a_block_is_used_before_more_is_scanned() -> None:
    cc = scanner(declared("stride: 4", memory="16MiB"))
    assert scanned(cc, 2) == (4, [3585, 3586])
    assert scanned(cc, 1) == (4, [3587])
    compaction_free(cc, [3587])
    assert cc.nr_freepages == 1
    assert scanned(cc, 1) == (4, [3587])


def test_what_is_left_over_goes_back() -> None:
    machine = declared("stride: 4", memory="16MiB")
    free = machine.nodes[0].nr_free
    cc = scanner(machine)
    compaction_alloc(cc, 2)
    assert release_freepages(cc) == 3587
    assert (machine.nodes[0].nr_free, cc.nr_freepages) == (free - 2, 0)
    assert release_freepages(cc) == -1


@pytest.mark.parametrize(
    ("pattern", "expected"), [(EVEN, (7, [3585, 3587])), ("stride: 4", (4, [3585]))]
)
def test_memory_below_the_watermark_is_left(pattern: str, expected: tuple[int, list[int]]) -> None:
    machine = declared(pattern, memory="16MiB")
    zone = machine.nodes[0].zones[0]
    zone.watermark_min = zone.nr_free - 3
    assert scanned(scanner(machine), 3) == expected


def skip(cc: CompactControl) -> None:
    set_pageblocks(cc.zone, 3584, 4096, skip=True)


def unmovable(cc: CompactControl) -> None:
    set_pageblocks(cc.zone, 3584, 4096, MigrateType.UNMOVABLE)


def cma(cc: CompactControl) -> None:
    set_pageblocks(cc.zone, 3584, 4096, MigrateType.CMA)


@pytest.mark.parametrize(
    ("change", "anything", "first"),
    [
        (skip, False, 3073),
        (skip, True, 3585),
        (unmovable, False, 3073),
        (unmovable, True, 3585),
        (cma, False, 3585),
    ],
    ids=["skipped", "no hints", "unmovable", "any type", "CMA"],
)
def test_a_pageblock_that_does_not_suit_costs_nothing(
    change: Callable[[CompactControl], None], anything: bool, first: int
) -> None:
    cc = scanner(declared(EVEN, memory="16MiB"))
    change(cc)
    cc.ignore_skip_hint = cc.ignore_block_suitable = anything
    assert scanned(cc, 1) == (2, [first])


def test_free_pageblocks_cost_nothing() -> None:
    cc = scanner(declared(f"{EVEN}, size: 6MiB", memory="16MiB"))
    assert scanned(cc, 1) == (2, [1025])


def test_a_pageblock_that_was_scanned_to_its_end_is_marked() -> None:
    machine = declared(f"{ODD}, size: 14MiB", FULL.format("14MiB"), memory="16MiB")
    zone = machine.nodes[0].zones[0]
    zone.compact.cached_free = 3584
    compaction_alloc(scanner(machine), 1)
    run = zone.pageblocks.at(3584)
    assert run is not None
    assert run.skip
    left = zone.pageblocks.at(3072)
    assert left is None or not left.skip
    assert zone.compact.cached_free == 3072


def test_a_run_for_an_order_takes_the_highest_listed_block_and_what_is_around_it() -> None:
    cc = scanner(declared(EVEN, memory="16MiB"), order=9)
    assert scanned(cc) == (1 + 62, [4095, *range(3585, 3647, 2)])


def test_one_that_does_not_wait_takes_nothing_but_listed_blocks() -> None:
    cc = scanner(declared(EVEN, memory="16MiB"), ASYNC, order=9)
    cc.is_direct = True
    assert scanned(cc) == (32, [*range(4095, 4031, -2)])


def test_larger_blocks_are_liked_better() -> None:
    machine = declared("stride: 4, size: 14MiB", f"{EVEN}, offset: 14MiB", memory="16MiB")
    cc = scanner(machine, ASYNC, order=9)
    cc.is_direct = True
    assert scanned(cc, 2) == (2, [3582, 3583])


def test_only_the_upper_half_between_the_scanners_is_searched() -> None:
    machine = declared(f"{EVEN}, size: 6MiB", FULL.format("6MiB"), memory="16MiB")
    cc = scanner(machine, ASYNC, order=9)
    cc.is_direct = True
    assert scanned(cc, 1) == (7 * 16, [])


def test_the_lowest_listed_block_is_found_too() -> None:
    machine = declared("run: 3600, stride: 4097", FULL.format("14404KiB"), memory="16MiB")
    assert find_free_block(scanner(machine, order=9)) == (3600, 0)


def test_a_search_in_vain_lets_the_next_begin_an_order_lower() -> None:
    cc = scanner(declared(FULL.format("0MiB"), memory="16MiB"), order=3)
    assert [(find_free_block(cc), cc.search_order) for _ in range(4)] == [
        (None, 1),
        (None, 0),
        (None, -1),
        (None, 1),
    ]


@pytest.mark.parametrize("watches", [False, True], ids=["alone", "watched"])
def test_a_skipped_pageblock_among_used_ones_costs_nothing(watches: bool) -> None:
    machine = declared(FULL.format("0MiB"), memory="16MiB")
    set_pageblocks(machine.nodes[0].zones[0], 1024, 1536, skip=True)
    machine.watch = machine.watch._replace(events=[] if watches else None)
    assert scanned(scanner(machine)) == (512 + 256 + 128 + 64 + 32 + 16, [])


@pytest.mark.parametrize(
    ("used", "kind"), [(256, MigrateType.MOVABLE), (384, MigrateType.UNMOVABLE)]
)
def test_a_pageblock_of_which_half_is_taken_becomes_movable(used: int, kind: MigrateType) -> None:
    cc = scanner(declared(f"run: {used}, stride: 512", memory="16MiB"))
    unmovable(cc)
    cc.ignore_block_suitable = True
    assert scanned(cc, 1)[1] == [3584 + used]
    assert migratetype_of(cc.zone, 3584) == migratetype_of(cc.zone, 4095) == kind
    assert migratetype_of(cc.zone, 3583) == MigrateType.MOVABLE
