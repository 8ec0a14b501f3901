"""Compaction of whole zones: what moves, where the scanners meet, and what is counted."""

from collections.abc import Container

import pytest

from pymigrate.mm.base.memmap import Frame, FrameFlag
from pymigrate.mm.base.pageblock import MigrateType
from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.compact.compaction import compaction_suit_allocation_order, suitable_block
from pymigrate.mm.compact.control import WHOLE_ZONE, CompactControl, CompactResult, Owners
from pymigrate.mm.compact.migrate_scanner import isolate_migratepages, may_isolate
from pymigrate.mm.frames.buddy import set_pageblocks
from pymigrate.mm.state.cost import Tally
from pymigrate.mm.state.events import MigrateMode
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.mmap import munmap
from pymigrate.syscalls.process import fork, touch
from pymigrate.syscalls.sysctl import write
from tests.conftest import (
    PAGE,
    errno_of,
    hold,
    mapped,
    new_file,
    new_task,
    pfn_at,
    touched,
    two_nodes,
)
from tests.property.invariants import check, sharing
from tests.unit.mm.compact.conftest import declared
from tests.unit.mm.conftest import with_driver


@pytest.fixture
def machine() -> Machine:
    return two_nodes("16MiB")


def checkerboard(machine: Machine, task: Task, nr: int) -> int:
    """*nr* pages in use with a free one behind each."""
    addr = mapped(machine, task, f"{nr * PAGE}B")
    other = mapped(machine, task, f"{nr * PAGE}B")
    for i in range(nr):
        touch(machine, task, addr + i * PAGE, PAGE)
        touch(machine, task, other + i * PAGE, PAGE)
    munmap(machine, task, other, nr * PAGE)
    return addr


def blocks(machine: Machine) -> int:
    """The free pageblocks of node 0."""
    return sum(zone.nr_blocks(9) for zone in machine.nodes[0].zones)


def compacted(machine: Machine) -> None:
    before = sharing(machine)
    write(machine, machine.shell_of(0), "compact_memory", "1")
    check(machine)
    assert sharing(machine) == before


def test_a_pageblock_that_was_taken_in_part_is_taken_to_its_last_frame() -> None:
    machine = declared("stride: 1", memory="16MiB")
    node = machine.nodes[0]
    owners, mode = Owners(machine), MigrateMode.SYNC_LIGHT
    cc = CompactControl(machine, node, node.zones[0], owners, 0, WHOLE_ZONE, mode)
    cc.migrate_pfn, cc.free_pfn = 511, 512
    assert [page[:2] for page in isolate_migratepages(cc)] == [(511, 1)]


@pytest.mark.parametrize("is_watched", [False, True])
def test_a_checkerboard_is_packed(machine: Machine, task: Task, is_watched: bool) -> None:
    checkerboard(machine, task, 1200)
    machine.watch = Watch([] if is_watched else None)
    before = blocks(machine)
    zone = machine.nodes[0].zones[0]
    set_pageblocks(zone, zone.start, zone.end, skip=True)  # which a write to the file ignores
    compacted(machine)
    assert (before, blocks(machine)) == (3, 5)
    assert machine.counters == machine.counters | {
        "pgmigrate_success": 544,
        "pgmigrate_fail": 1,
        "compact_isolated": 1312,
        "compact_migrate_scanned": 4096 + 1024,
        "compact_free_scanned": 928,
    }


@pytest.mark.parametrize("kernel", ["6.12", "6.1"])
def test_it_is_the_same_whether_somebody_watches_or_not(kernel: str) -> None:
    machine, other = two_nodes("16MiB", kernel), two_nodes("16MiB", kernel)
    for where, events in ((machine, None), (other, [])):
        checkerboard(where, new_task(where), 300)
        where.watch = Watch(events, tally=Tally())
        compacted(where)
    assert machine.counters == other.counters
    assert machine.nodes[0].memmap.runs == other.nodes[0].memmap.runs
    assert machine.watch.tally == other.watch.tally


def test_what_somebody_holds_and_what_is_huge_stays(machine: Machine, task: Task) -> None:
    addr = checkerboard(machine, task, 100)
    hold(machine, task, addr)
    machine.thp = "always"
    huge = touched(machine, task, "2MiB")
    before = [pfn_at(task, at) for at in (addr, huge)]
    compacted(machine)
    assert [pfn_at(task, at) for at in (addr, huge)] == before


def test_shared_pages_and_files_keep_all_their_mappings(machine: Machine, task: Task) -> None:
    space = new_file(machine, "256KiB")
    addr = touched(machine, task, "256KiB", space=space, is_shared=True)
    checkerboard(machine, task, 300)
    child = fork(machine, task, "b")
    touch(machine, child, addr, 64 * PAGE, write=False)
    compacted(machine)
    assert machine.counters["pgmigrate_success"] > 0


def test_pages_stay_on_their_node(machine: Machine, task: Task) -> None:
    touched(machine, task, "1MiB", node=1)
    checkerboard(machine, task, 200)
    compacted(machine)
    assert sum(run.nr for run in machine.nodes[1].memmap.runs) == 256


def test_only_1_may_be_written(machine: Machine) -> None:
    assert errno_of(write, machine, machine.shell_of(0), "compact_memory", "0") == "EINVAL"


def test_pages_of_drivers_move_too(machine: Machine) -> None:
    driver = with_driver(machine, "zsmalloc", 8)
    machine.watch = Watch(driver_calls=[])
    compacted(machine)
    assert driver.pages == [*range(1025, 1033)][::-1]
    calls = [call.call for call in machine.watch.driver_calls]
    assert (calls.count("isolate_page"), calls.count("migrate_page")) == (8, 8)
    assert machine.counters["pgmigrate_success"] == 8


def test_a_driver_that_refuses_keeps_its_page(machine: Machine) -> None:
    driver = with_driver(machine, "scripted", 1, isolates=["false"])
    before = list(driver.pages)
    compacted(machine)
    assert driver.pages == before
    assert machine.counters["compact_isolated"] == 0


@pytest.mark.parametrize(
    ("wanted", "kind", "order", "suits"),
    [
        (MigrateType.MOVABLE, MigrateType.CMA, 3, True),
        (MigrateType.UNMOVABLE, MigrateType.CMA, 3, False),
        (MigrateType.UNMOVABLE, MigrateType.MOVABLE, 3, True),
        (MigrateType.MOVABLE, MigrateType.UNMOVABLE, 3, False),
        (MigrateType.MOVABLE, MigrateType.UNMOVABLE, 4, True),
    ],
)
def test_blocks_of_another_type_suit_if_they_would_be_stolen(
    wanted: MigrateType, kind: MigrateType, order: int, suits: bool
) -> None:
    zone = two_nodes("16MiB").nodes[0].zones[0]
    zone.free = RunMap([Extent(512, 1 << order)])
    set_pageblocks(zone, 512, 1024, migratetype=kind)
    assert bool(suitable_block(zone, 3, wanted, 0, zone.end)) is suits


@pytest.mark.parametrize("mode", MigrateMode)
@pytest.mark.parametrize(
    ("fs", "flags", "held", "taken"),
    [
        ("ext4", FrameFlag.WRITEBACK, 0, [MigrateMode.SYNC]),
        ("ramfs", FrameFlag.DIRTY, 0, [MigrateMode.SYNC]),
        ("ext4", FrameFlag.DIRTY, 1, MigrateMode),
        ("ext4", FrameFlag.MLOCKED, 0, MigrateMode),
        ("ext4", FrameFlag.HUGETLB, 0, []),
        ("", FrameFlag.ANON, 0, MigrateMode),
        ("", FrameFlag.ANON, 1, []),
        ("", FrameFlag.ANON | FrameFlag.SWAPCACHE, 1, MigrateMode),
    ],
)
def test_which_pages_are_isolated(
    mode: MigrateMode, fs: str, flags: int, held: int, taken: Container[MigrateMode]
) -> None:
    machine = two_nodes("16MiB")
    node = machine.nodes[0]
    cc = CompactControl(machine, node, node.zones[0], Owners(machine), 0, WHOLE_ZONE, mode)
    frame = Frame(new_file(machine, "4KiB", fs).space_id if fs else 7, flags, extra_refs=held)
    assert may_isolate(cc, frame) is (mode in taken)


@pytest.mark.parametrize(
    ("spare", "has_reserve", "result"),
    [
        (2, True, CompactResult.SUCCESS),
        (1, True, CompactResult.SKIPPED),
        (1, False, CompactResult.SUCCESS),
    ],
    ids=["enough", "too little", "who may use the reserve"],
)
def test_an_allocation_leaves_what_a_zone_keeps_for_others(
    spare: int, has_reserve: bool, result: CompactResult
) -> None:
    machine = two_nodes()
    node = machine.nodes[0]
    zone = node.zones[0]
    assert zone.reserve
    zone.watermark_min = zone.nr_free - zone.reserve - spare
    found = compaction_suit_allocation_order(machine, node, zone, 1, True, has_reserve)
    assert found == result
