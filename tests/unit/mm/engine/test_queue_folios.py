"""Pairs of nodes, and which folios a walk takes."""

import pytest

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.memmap import FrameFlag, nid_of
from pymigrate.mm.base.why import Why
from pymigrate.mm.calls.mempolicy import do_migrate_pages, node_pairs
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.engine.queue_folios import Queue, Walk
from pymigrate.mm.frames.frames import update_frames
from pymigrate.mm.frames.placement import ThisNode
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.process import fork, touch
from pymigrate.uapi import MPOL
from tests.conftest import (
    PAGE,
    errno_of,
    four_nodes,
    hold,
    mapped,
    new_file,
    new_task,
    nodes_of,
    placed_on,
    touched,
    two_nodes,
)
from tests.property.invariants import check, entries
from tests.unit.mm.conftest import file_of, huge, loaded, with_task


@pytest.mark.parametrize(
    ("old", "new", "pairs"),
    [
        ("0", "1", "0>1"),
        ("0", "1-2", "0>1"),
        ("0-1", "2-3", "0>2 1>3"),
        ("0-1", "0-1", ""),
        ("0-2", "1-3", "2>3 1>2 0>1"),
        ("1-2", "0-1", "1>0 2>1"),
        ("0,2", "0-1", "2>1"),
        ("0-2", "2-3", "1>3 0>2"),
        ("0-3", "1", "3>1 2>1 0>1"),
        ("0-3", "0-1", "3>1 2>0"),
        ("0-7", "3-5", "7>4 6>3 2>5 1>4 0>3"),
        ("0-1", "1-3", "0>1"),
        ("0,5", "1", "0>1 5>1"),
        ("", "1", ""),
    ],
)
def test_pairs_of_nodes_are_by_rank_and_vacate_first(old: str, new: str, pairs: str) -> None:
    found = node_pairs(Nodemask.parse(old), Nodemask.parse(new), Nodemask.parse("0-7"))
    assert " ".join(f"{s}>{d}" for s, d in found) == pairs


@pytest.mark.parametrize("there", ["0", "0-1", "0,2", "1-3", "0,2,5", "0-5"])
def test_nodes_that_are_not_there_change_only_the_ranks_of_others(there: str) -> None:
    """All masks of six nodes, cut to those that are there as migrate_pages() cuts the new one."""
    nodes = Nodemask.parse(there)
    for old in map(Nodemask, range(64)):
        for new in {nodes & Nodemask(bits) for bits in range(64)} - {Nodemask()}:
            every = node_pairs(old, new, Nodemask.parse("0-5"))
            expected = [pair for pair in every if pair[0] in nodes]
            assert list(node_pairs(old, new, nodes)) == expected


def migrate(machine: Machine, task: Task, old: str, new: str, move_all: bool = False) -> int:
    """What root, or with *move_all* an ordinary caller, gets for *task*."""
    return do_migrate_pages(
        machine, task, task.mm, Nodemask.parse(old), Nodemask.parse(new), move_all
    )


def test_only_pages_on_the_source_move(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    with placed_on(task, 1):
        touch(machine, task, addr, PAGE)
    touch(machine, task, addr, 3 * PAGE)
    assert migrate(machine, task, "0", "1") == 0
    assert nodes_of(machine, task, addr, "16KiB") == [[3, 1], [1, -1]]
    assert machine.counters["pgmigrate_success"] == 2


def test_pages_of_several_nodes_move_pair_by_pair() -> None:
    machine, task = with_task(four_nodes())
    nodes = Nodemask.parse("0-3")
    task.policy = Mempolicy(MPOL.INTERLEAVE, 0, nodes, nodes)
    addr = mapped(machine, task, "32KiB")
    touch(machine, task, addr, 8 * PAGE)
    assert migrate(machine, task, "0-1", "2-3") == 0
    assert nodes_of(machine, task, addr, "32KiB") == [[1, 2], [1, 3]] * 4


def test_shared_pages_stay_uncounted_without_move_all(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    child = fork(machine, task, "b")
    touch(machine, child, addr, PAGE)
    machine.watch = Watch(left=(left := []))
    assert migrate(machine, task, "0", "1") == 0
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 1], [3, 0]]
    assert [(nr, why) for _, nr, why in left] == [(3, Why.SHARED)]


def test_shared_pages_move_for_everybody_with_move_all(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    child = fork(machine, task, "b")
    assert migrate(machine, task, "0", "1", move_all=True) == 0
    assert nodes_of(machine, child, addr, "16KiB") == [[4, 1]]
    assert machine.counters["pgmigrate_success"] == 4


@pytest.mark.parametrize(
    ("kernel", "move_all", "moved", "stayed"),
    [
        pytest.param("6.12", False, 0, 0, id="shared, so it stays"),
        pytest.param("6.12", True, 4, 4, id="the second sighting fails"),
        pytest.param("6.1", True, 4, 0, id="6.1 does not count that"),
    ],
)
def test_a_file_mapped_twice_by_one(kernel: str, move_all: bool, moved: int, stayed: int) -> None:
    machine, task = with_task(two_nodes("4MiB", kernel))
    file = new_file(machine, "16KiB")
    first = touched(machine, task, "16KiB", space=file, is_shared=True)
    second = touched(machine, task, "16KiB", space=file, is_shared=True)
    assert migrate(machine, task, "0", "1", move_all) == stayed
    assert machine.counters["pgmigrate_success"] == moved
    expected = [[4, 1 if moved else 0]]
    assert nodes_of(machine, task, first, "16KiB") == expected
    assert nodes_of(machine, task, second, "16KiB") == expected
    check(machine)


def test_a_window_partly_seen_is_looked_at_page_by_page(machine: Machine, task: Task) -> None:
    file = new_file(machine, "64KiB")
    first = mapped(machine, task, "64KiB", space=file, is_shared=True)
    second = mapped(machine, task, "64KiB", space=file, is_shared=True)
    third = mapped(machine, task, "64KiB", space=file, is_shared=True)
    touch(machine, task, third, 16 * PAGE)
    touch(machine, task, first + 4 * PAGE, 4 * PAGE)
    touch(machine, task, second, 16 * PAGE)
    assert migrate(machine, task, "0", "1", move_all=True) == 4 + 16
    assert machine.counters["pgmigrate_success"] == 16


def test_pages_in_device_memory_are_skipped(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    task.mm.vmas[0].flags |= Vm.PFNMAP
    assert migrate(machine, task, "0", "1", move_all=True) == 0
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 0]]


def test_a_large_folio_that_is_mapped_by_pages_fails_once(machine: Machine, task: Task) -> None:
    addr = huge(machine, task)
    madvise(machine, task, addr, PAGE, Madv.DONTNEED)
    queue = Queue(machine, Walk(lambda _: True, move=False))
    queue.add_vma(task.mm, task.mm.vmas[0], addr >> 12, (addr >> 12) + 512)
    assert queue.failed == 1


def test_folios_that_fail_are_added_up_over_the_pairs() -> None:
    machine, task = with_task(four_nodes("4MiB"))
    for node in (0, 1):
        hold(machine, task, touched(machine, task, "16KiB", node=node), 2)
    assert migrate(machine, task, "0-1", "2-3") == 4


def test_a_full_target_ends_the_call_with_what_moved_moved(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "1MiB")
    touched(machine, task, "3MiB", node=1)
    assert errno_of(migrate, machine, task, "0", "1") == "ENOMEM"
    assert nodes_of(machine, task, addr, "1MiB") == [[979 - 768, 1], [256 - 211, 0]]
    assert machine.counters == machine.counters | {"pgmigrate_success": 211, "pgmigrate_fail": 1}


def test_pages_that_a_call_did_not_come_to_are_told() -> None:
    machine = four_nodes("4MiB")
    task = new_task(machine)
    for size, node in [("1MiB", 0), ("16KiB", 1), ("3MiB", 2)]:
        touched(machine, task, size, node)
    machine.watch = Watch(left=(left := []))
    assert errno_of(migrate, machine, task, "0-1", "2-3") == "ENOMEM"
    assert [(nr, why) for _, nr, why in left] == [(32, Why.FULL), (4, Why.ENDED)]


def test_private_and_file_pages_in_one_table_move_together(machine: Machine, task: Task) -> None:
    file, addr = file_of(machine, task, "32KiB", is_shared=False)
    touch(machine, task, addr, 8 * PAGE, write=False)
    for page in (1, 4, 6):
        touch(machine, task, addr + page * PAGE, PAGE)
    assert migrate(machine, task, "0", "1") == 0
    assert nodes_of(machine, task, addr, "32KiB") == [[8, 1]]
    cached = [nid_of(pfn) for run in file.pages.runs for pfn in run.pfns()]
    assert cached == [1, 0, 1, 1, 0, 1, 0, 1]


def scattered(machine: Machine, task: Task, size: int) -> int:
    """Memory whose pages were touched in no order, so that they lie in an explicit table."""
    addr = mapped(machine, task, str(size * PAGE))
    for page in range(size):
        touch(machine, task, addr + page * 7 % size * PAGE, PAGE)
    return addr


def test_zero_pages_are_passed_over(machine: Machine, task: Task) -> None:
    addr = loaded(machine, task, "16KiB")
    touch(machine, task, addr + PAGE, PAGE)
    assert migrate(machine, task, "0", "1") == 0
    assert nodes_of(machine, task, addr, "16KiB") == [[1, -1], [1, 1], [2, -1]]


@pytest.mark.parametrize(
    ("move_all", "expected"),
    [(False, [[1, 0], [2, 1], [3, 0], [1, 1], [5, 0]]), (True, [[12, 1]])],
    ids=["one by one", "together with move_all"],
)
def test_pages_of_a_table_some_of_which_are_shared(
    machine: Machine, task: Task, move_all: bool, expected: list[list[int]]
) -> None:
    addr = scattered(machine, task, 12)
    child = fork(machine, task, "b")
    for page in (1, 2, 6):
        touch(machine, child, addr + page * PAGE, PAGE)
    machine.watch = Watch(left=(left := []))
    assert migrate(machine, task, "0", "1", move_all) == 0
    assert nodes_of(machine, task, addr, "48KiB") == expected
    assert sum(stay.nr for stay in left) == (0 if move_all else 9)
    assert machine.counters["pgmigrate_success"] == (12 if move_all else 3)


def test_a_run_that_was_partly_seen_is_isolated_page_by_page(machine: Machine, task: Task) -> None:
    file = new_file(machine, "32KiB")
    other = new_task(machine, "b")
    first = mapped(machine, task, "16KiB", space=file, is_shared=True)
    second = mapped(machine, task, "16KiB", space=file, is_shared=True, offset=8192)
    theirs = mapped(machine, other, "32KiB", space=file, is_shared=True)
    touch(machine, task, first, 4 * PAGE)
    touch(machine, task, second, 4 * PAGE)
    touch(machine, other, theirs, 2 * PAGE)
    touch(machine, other, theirs + 4 * PAGE, 2 * PAGE)
    # Each of pages 0 to 5 is mapped twice; task has pages 2 and 3 in both of its mappings.
    assert migrate(machine, task, "0", "1", move_all=True) == 2
    assert machine.counters["pgmigrate_success"] == 6


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        pytest.param({0}, [3, 1, 2, 3, 1, 2], id="the lowest"),
        pytest.param({2}, [0, 1, 3, 0, 1, 3], id="the highest"),
        pytest.param({1}, [0, 3, 2, 0, 3, 2], id="one between"),
        pytest.param({0, 2}, [3, 1, 3, 3, 1, 3], id="several"),
        pytest.param({3}, [0, 1, 2, 0, 1, 2], id="none of them"),
    ],
)
def test_misplaced_pages_are_picked_from_a_table(wrong: set[int], expected: list[int]) -> None:
    machine, task = with_task(four_nodes("4MiB"))
    addr = mapped(machine, task, "24KiB")
    for page in (5, 0, 3, 1, 4, 2):
        with placed_on(task, page % 3):
            touch(machine, task, addr + page * PAGE, PAGE)
    queue = Queue(machine, Walk(lambda nid: nid in wrong))
    queue.add_vma(task.mm, task.mm.vmas[0], addr >> 12, (addr >> 12) + 6)
    if queue.slices:
        migrate_pages(machine, task, queue.slices, ThisNode(3))
    assert [node for nr, node in nodes_of(machine, task, addr, "24KiB") for _ in range(nr)] == (
        expected
    )
    check(machine)


def test_frames_of_a_table_that_differ_keep_their_own_state(machine: Machine, task: Task) -> None:
    addr = scattered(machine, task, 12)
    update_frames(machine, [(3, 2)], lambda f: f.with_flags(FrameFlag.WRITEBACK))
    assert migrate(machine, task, "0", "1") == 0
    writeback = {
        pfn
        for run in machine.nodes[1].memmap.runs
        for pfn in range(run.start, run.start + run.nr)
        if run.frame.flags & FrameFlag.WRITEBACK
    }
    pages = {e.lanes[0]: e.start - (addr >> 12) for e in entries(task.mm)}
    assert {pages[pfn] for pfn in writeback} == {3 * 7 % 12, 4 * 7 % 12}


def test_a_page_between_those_of_a_large_folio_is_queued_too(machine: Machine, task: Task) -> None:
    addr = huge(machine, task)
    madvise(machine, task, addr + PAGE, 511 * PAGE, Madv.DONTNEED)
    touch(machine, task, addr + PAGE, PAGE)
    [run] = task.mm.page_table.runs
    assert (run.nr, len(run.lanes)) == (2, 2)
    assert migrate(machine, task, "0", "1") == 0
    assert nodes_of(machine, task, addr, "2MiB") == [[2, 1], [510, -1]]
