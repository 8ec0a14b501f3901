"""What compaction makes of declared checkerboards."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pymigrate.mm.base.pageblock import PAGEBLOCK_NR
from pymigrate.mm.compact import free_scanner, migrate_scanner
from pymigrate.mm.compact.compaction import compact_memory, compact_zone
from pymigrate.mm.compact.control import CompactControl, CompactResult, Owners
from pymigrate.mm.frames.buddy import nr_free
from pymigrate.mm.state.events import MigrateMode
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Zone
from pymigrate.views.proc import vmstat
from tests.conftest import kernel_page
from tests.property.invariants import check
from tests.unit.mm.compact.conftest import declared


def contents(machine: Machine) -> list[int]:
    """How many pages each file has in the cache."""
    return [sum(run.nr for run in space.pages.runs) for space in machine.spaces.values()]


def free_pageblocks(zone: Zone) -> int:
    return zone.nr_blocks(9)


def possible_pageblocks(zone: Zone) -> int:
    """The free pageblocks of a zone whose pages in use lie as close together as they can."""
    return zone.nr // PAGEBLOCK_NR - -(-(zone.nr - zone.nr_free) // PAGEBLOCK_NR)


@settings(max_examples=20)
@given(
    stride=st.integers(2, 40),
    run=st.integers(1, 20),
    offset=st.integers(0, 3000),
    size=st.integers(300, 7000),
)
@example(stride=36, run=7, offset=132, size=3964)
def test_a_declared_checkerboard_zone_is_packed_to_at_most_two_pageblocks_short_of_perfect(
    stride: int, run: int, offset: int, size: int
) -> None:
    if run >= stride:
        run = stride - 1
    machine = declared(
        f"stride: {stride}, run: {run}, offset: {offset * 4}KiB, size: {size * 4}KiB"
    )
    before = contents(machine)
    compact_memory(machine)
    check(machine)  # no frame is owned twice, none is lost, and every cached page has one
    assert contents(machine) == before
    for zone in machine.nodes[0].zones:
        possible = possible_pageblocks(zone)
        assert possible - 2 <= free_pageblocks(zone) <= possible


@settings(max_examples=30)
@given(
    stride=st.integers(2, 9),
    run=st.integers(1, 3),
    kernel=st.integers(100, 2000),
    free=st.integers(0, 2000),
    order=st.integers(-1, 9),
    mode=st.sampled_from([MigrateMode.SYNC_LIGHT, MigrateMode.ASYNC]),
)
def test_scanners_take_runs_as_they_take_pages_one_by_one(
    stride: int, run: int, kernel: int, free: int, order: int, mode: MigrateMode
) -> None:
    patterns = [
        f"stride: {stride}, run: {min(run, stride - 1)}",
        f"pages: unmovable, stride: {kernel}, type: movable",
        f"stride: 3, offset: {free * 4}KiB, size: 3MiB",
    ]

    def outcome() -> list[object]:
        machine = declared(*patterns, memory="16MiB")
        ret, cc = run_over(machine, order, mode)
        check(machine)
        node = machine.nodes[0]
        spaces = [space.pages.runs for space in machine.spaces.values()]
        told = [ret, cc.migrate_pfn, cc.free_pfn, cc.moved, dict(machine.counters)]
        return [*told, node.memmap.runs, [zone.free.runs for zone in node.zones], spaces]

    at_once = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate_scanner, "_take_many", lambda block: None)
        patch.setattr(free_scanner, "_single_pages", lambda cc, at, end: [])
        assert outcome() == at_once


def test_a_checkerboard_is_scanned_in_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    take = migrate_scanner._take
    monkeypatch.setattr(migrate_scanner, "_take", lambda *args: taken.append(args) or take(*args))
    machine = declared("stride: 2")
    compact_memory(machine)
    assert machine.counters["pgmigrate_success"] > 1000
    assert not taken


def test_the_cost_grows_with_runs_not_with_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = 0
    find = CompactControl.__dict__["is_met"].fget

    def counted(cc: CompactControl) -> bool:
        nonlocal looked_at
        looked_at += 1
        return bool(find(cc))

    monkeypatch.setattr(CompactControl, "is_met", property(counted))
    steps = []
    for memory in ("1GiB", "64GiB"):
        pages = int(memory[:-3]) << 18
        looked_at = 0
        machine = declared(f"run: {pages // 2 + 77}, stride: {pages}", memory=memory)
        compact_memory(machine)
        steps.append(looked_at)
        assert machine.counters["pgmigrate_success"] < 2000
    assert steps[1] < 2 * steps[0] + 20


def test_unmovable_pages_stay_and_spoil_only_their_pageblocks() -> None:
    machine = declared("stride: 2", "pages: unmovable, stride: 2048, offset: 4KiB, type: movable")
    kernel = [run.start for run in machine.nodes[0].memmap.runs if run.frame.owner == 0]
    compact_memory(machine)
    check(machine)
    assert kernel == [run.start for run in machine.nodes[0].memmap.runs if run.frame.owner == 0]
    assert vmstat.rows(machine)["nr_slab_unreclaimable"] == 4
    assert sum(free_pageblocks(zone) for zone in machine.nodes[0].zones) == 4


def run_over(
    machine: Machine, order: int, mode: MigrateMode
) -> tuple[CompactResult, CompactControl]:
    """A run over the lowest zone of node 0."""
    node = machine.nodes[0]
    cc = CompactControl(machine, node, node.zones[0], Owners(machine), 0, order, mode)
    return compact_zone(cc), cc


def test_a_run_for_an_order_ends_once_a_block_of_it_is_free() -> None:
    machine = declared("stride: 2", memory="16MiB")
    ret, cc = run_over(machine, 9, MigrateMode.SYNC_LIGHT)
    check(machine)
    assert ret == CompactResult.SUCCESS
    assert nr_free(machine.nodes[0].zones[0])[9:] == [1, 0]
    assert machine.counters["compact_migrate_scanned"] == cc.migrate_scanned == 512


def test_the_next_run_goes_on_where_the_last_one_ended() -> None:
    machine = declared("stride: 2", memory="16MiB")
    zone = machine.nodes[0].zones[0]
    run_over(machine, 9, MigrateMode.SYNC_LIGHT)
    kernel_page(machine, 0)
    assert zone.compact.cached_migrate_sync == 512
    ret, cc = run_over(machine, 9, MigrateMode.SYNC_LIGHT)
    assert (ret, cc.migrate_pfn) == (CompactResult.SUCCESS, 1024)


def test_enough_free_memory_is_needed_to_begin() -> None:
    machine = declared("stride: 2", "stride: 1, run: 1, offset: 512KiB", memory="16MiB")
    ret, _ = run_over(machine, 9, MigrateMode.SYNC_LIGHT)
    assert ret == CompactResult.SKIPPED
    assert machine.counters["compact_migrate_scanned"] == 0


def test_memory_that_is_not_scattered_but_scarce_is_left_alone() -> None:
    machine = declared("stride: 2", memory="16MiB")
    machine.compact_knobs = machine.compact_knobs._replace(extfrag_threshold=1000)
    assert run_over(machine, 9, MigrateMode.SYNC_LIGHT)[0] == CompactResult.SKIPPED


def test_a_free_block_of_the_order_is_success_at_once() -> None:
    machine = declared("stride: 2, size: 8MiB", memory="16MiB")
    assert run_over(machine, 9, MigrateMode.SYNC_LIGHT)[0] == CompactResult.SUCCESS
    assert machine.counters["compact_isolated"] == 0
