"""The engine with base pages: batches, passes, retries, and what it counts."""

import pytest

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.memmap import Frame, FrameFlag, States
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.engine.queue_folios import Queue, Walk
from pymigrate.mm.frames.frames import frame_of, update_frames
from pymigrate.mm.frames.placement import Cycle, Placement, ThisNode, from_index
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.mempolicy import set_mempolicy
from pymigrate.syscalls.process import fork, touch
from pymigrate.uapi import MPOL
from tests.conftest import (
    PAGE,
    check,
    four_nodes,
    hold,
    mapped,
    maps,
    new_file,
    new_task,
    nodes_of,
    pfn_at,
    placed_on,
    touched,
    two_nodes,
)
from tests.unit.mm.conftest import file_of, with_task

TO_1 = ThisNode(1)
FREE = 979  # pages that an empty node of 4 MiB gives


def engine(
    machine: Machine, task: Task, where: Placement = TO_1, move_all: bool = True
) -> tuple[int, int, int, bool]:
    """Move all that *task* has on node 0: how many moved, failed, stayed; whether it was full."""
    queue = Queue(machine, Walk(lambda nid: nid == 0, move_all=move_all))
    for vma in task.mm.vmas:
        queue.add_vma(task.mm, vma, vma.start, vma.end)
    result = migrate_pages(machine, task, queue.slices, where)
    check(machine)
    return result.succeeded, result.failed, result.stayed, result.is_enomem


def fill(machine: Machine, task: Task, free: int) -> None:
    """Leave room for *free* pages on node 1."""
    nodes = Nodemask.of(1)
    task.policy = Mempolicy(MPOL.BIND, 0, nodes, nodes)
    size = (FREE - free) * PAGE
    assert touch(machine, task, mapped(machine, task, str(size)), size) is None
    task.policy = None


def test_what_can_move_moves(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "32KiB")
    assert engine(machine, task) == (8, 0, 0, False)
    assert nodes_of(machine, task, addr, "32KiB") == [[8, 1]]
    assert machine.counters["pgmigrate_success"] == 8
    assert machine.nodes[0].nr_free == 1024


def test_nothing_to_move_is_nothing(machine: Machine, task: Task) -> None:
    assert engine(machine, task) == (0, 0, 0, False)
    assert machine.counters["pgmigrate_success"] == 0


def test_all_processes_follow_and_stay_write_protected(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "32KiB")
    child = fork(machine, task, "b")
    before = [run.flags for run in task.mm.page_table.runs]
    assert engine(machine, child)[0] == 8
    assert nodes_of(machine, task, addr, "32KiB") == [[8, 1]]
    assert [run.flags for run in task.mm.page_table.runs] == before


def test_the_page_cache_and_all_mappings_of_a_file_follow(machine: Machine, task: Task) -> None:
    file = new_file(machine, "32KiB")
    touched(machine, task, "32KiB", space=file, is_shared=True)
    other = new_task(machine, "b")
    theirs = mapped(machine, other, "16KiB", space=file, is_shared=True, offset=8192)
    touch(machine, other, theirs, 4 * PAGE)
    assert engine(machine, task)[0] == 8
    assert nodes_of(machine, other, theirs, "16KiB") == [[4, 1]]
    assert [run.lanes[0] >> 32 for run in file.pages.runs] == [1]


@pytest.mark.parametrize("pins", [0, 1], ids=["reference", "pin"])
def test_a_held_page_stays_and_counts_as_failed(machine: Machine, task: Task, pins: int) -> None:
    addr = touched(machine, task, "16KiB")
    hold(machine, task, addr + 2 * PAGE, pins=pins)
    assert engine(machine, task) == (3, 1, 1, False)
    assert nodes_of(machine, task, addr, "16KiB") == [[2, 1], [1, 0], [1, 1]]
    assert machine.counters["pgmigrate_fail"] == 1
    assert machine.nodes[1].nr_free == 1024 - 3
    assert frame_of(machine, pfn_at(task, addr + 2 * PAGE)).flags & FrameFlag.DIRTY


def test_a_folio_that_was_unmapped_in_vain_is_dirty(machine: Machine, task: Task) -> None:
    file, addr = file_of(machine, task, "4KiB")
    touch(machine, task, addr, PAGE, write=False)
    hold(machine, task, addr)
    touch(machine, task, addr, PAGE)
    [cached] = file.pages.runs
    assert not frame_of(machine, cached.lanes[0]).flags & FrameFlag.DIRTY
    assert engine(machine, task) == (0, 1, 1, False)
    assert frame_of(machine, cached.lanes[0]).flags & FrameFlag.DIRTY


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        pytest.param(0, (0, 1, 0, True), id="a full node fails one page, however many there are"),
        pytest.param(10, (10, 1, 0, True), id="what there was room for stays moved"),
        pytest.param(16, (16, 0, 0, False), id="room for all is enough"),
    ],
)
def test_a_node_takes_what_it_has_room_for(
    machine: Machine, task: Task, room: int, expected: tuple[int, int, int, bool]
) -> None:
    addr = touched(machine, task, "64KiB")
    fill(machine, task, room)
    assert engine(machine, task) == expected
    found = [node for nr, node in nodes_of(machine, task, addr, "64KiB") for _ in range(nr)]
    assert found == [1] * room + [0] * (16 - room)


def test_several_slices_fill_the_node_in_their_order(machine: Machine, task: Task) -> None:
    first = touched(machine, task, "32KiB")
    second = touched(machine, task, "32KiB", is_shared=True)
    fill(machine, task, 12)
    assert engine(machine, task) == (12, 1, 0, True)
    assert nodes_of(machine, task, first, "32KiB") == [[8, 1]]
    assert nodes_of(machine, task, second, "32KiB") == [[4, 1], [4, 0]]


@pytest.mark.parametrize(
    ("room", "pins", "expected", "left"),
    [
        pytest.param(3, 1, (3, 3, 0, True), 0, id="pins give their target back at once"),
        pytest.param(3, 0, (1, 3, 0, True), 2, id="references keep it until the batch ends"),
        pytest.param(8, 1, (6, 2, 2, False), 2, id="pins, enough"),
        pytest.param(8, 0, (6, 2, 2, False), 2, id="references, enough"),
    ],
)
def test_held_pages_need_a_target_for_a_while(
    machine: Machine,
    task: Task,
    room: int,
    pins: int,
    expected: tuple[int, int, int, bool],
    left: int,
) -> None:
    addr = touched(machine, task, "32KiB")
    fill(machine, task, room)
    hold(machine, task, addr, 2, pins=pins)
    free = machine.nodes[1].nr_free
    assert engine(machine, task) == expected
    assert free - machine.nodes[1].nr_free == expected[0]
    assert room - expected[0] == left


def test_held_pages_find_no_target_on_a_full_node(machine: Machine, task: Task) -> None:
    hold(machine, task, touched(machine, task, "32KiB"))
    fill(machine, task, 0)
    assert engine(machine, task) == (0, 1, 0, True)


@pytest.mark.parametrize("is_file", [True, False], ids=["a file's", "not exclusive"])
def test_some_pinned_pages_keep_their_target_as_a_reference_does(
    machine: Machine, task: Task, is_file: bool
) -> None:
    addr = touched(machine, task, "32KiB", is_shared=is_file)
    if not is_file:
        fork(machine, task, "b")
    fill(machine, task, 3)
    hold(machine, task, addr, 2)
    assert engine(machine, task) == (1, 3, 0, True)


def test_targets_of_a_batch_that_ended_are_free_for_the_next(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "2400KiB")
    fill(machine, task, 600)
    hold(machine, task, addr, 2, pins=0)
    hold(machine, task, addr + 550 * PAGE, 2, pins=0)
    assert engine(machine, task) == (596, 4, 4, False)


def test_a_second_batch_without_memory_counts_its_failures(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "2400KiB")
    fill(machine, task, 540)
    hold(machine, task, addr, 3, pins=0)
    hold(machine, task, addr + 515 * PAGE, 2, pins=0)
    # 512 - 3 in the first batch; then room for 31, of which the two held ones take 2.
    assert engine(machine, task) == (509 + 29, 3 + 3, 0, True)
    assert nodes_of(machine, task, addr, "12KiB") == [[3, 0]]


def test_a_held_page_behind_full_batches_does_not_slow_those(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "3000KiB")
    hold(machine, task, addr + 700 * PAGE)
    assert engine(machine, task) == (749, 1, 1, False)


@pytest.mark.parametrize("is_dirty", [True, False])
def test_an_entrys_dirt_becomes_the_folios(machine: Machine, task: Task, is_dirty: bool) -> None:
    addr = touched(machine, task, "4KiB")
    if not is_dirty:
        madvise(machine, task, addr, PAGE, Madv.FREE)
    assert not frame_of(machine, 0).flags & FrameFlag.DIRTY
    engine(machine, task)
    assert bool(frame_of(machine, 1 << 32).flags & FrameFlag.DIRTY) == is_dirty


def test_one_dirty_entry_of_another_process_is_enough(machine: Machine, task: Task) -> None:
    file, addr = file_of(machine, task, "16KiB")
    other = new_task(machine, "b")
    theirs = mapped(machine, other, "16KiB", space=file, is_shared=True)
    touch(machine, task, addr, 4 * PAGE, write=False)
    touch(machine, other, theirs, 4 * PAGE, write=False)
    touch(machine, other, theirs, PAGE)
    engine(machine, task)
    line = "default file=/data dirty=1 mapped=4 mapmax=2 active=0 N1=4 kernelpagesize_kB=4"
    assert maps(machine, task) == [line]


def test_scattered_pages_keep_their_order(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "32KiB")
    for page in (5, 2, 7, 0, 3):
        touch(machine, task, addr + page * PAGE, PAGE)
    assert engine(machine, task)[0] == 5
    pfns = [run.pfns() for run in task.mm.page_table.runs]
    assert [pfn - (1 << 32) for part in pfns for pfn in part] == [0, 1, 2, 3, 4]


def test_an_interleaved_range_loses_one_lane() -> None:
    machine, task = with_task(four_nodes())
    addr = mapped(machine, task, "2MiB")
    set_mempolicy(machine, task, 3, Nodemask.parse("0-2"))
    touch(machine, task, addr, 2 << 20)
    assert engine(machine, task, ThisNode(3))[0] == 171
    assert nodes_of(machine, task, addr, "24KiB") == [[1, 3], [1, 1], [1, 2]] * 2


def test_frames_that_differ_keep_their_own_state(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "1MiB")
    for nid in (0, 1):
        with placed_on(task, nid):
            touch(machine, task, addr, 1 << 20, stride=(2 - nid) * PAGE)
    update_frames(machine, [(40, 10)], lambda f: f.with_flags(FrameFlag.WRITEBACK))
    assert engine(machine, task)[0] == 128
    runs = machine.nodes[1].memmap.runs
    assert [run.nr for run in runs if run.frame.flags & FrameFlag.WRITEBACK] == [10]


def test_a_target_that_takes_turns_counts_from_the_base() -> None:
    machine, task = with_task(four_nodes())
    start = touched(machine, task, "4KiB") >> 12
    [run] = task.mm.page_table.runs
    queue = [Slice.whole(run, frame_of(machine, run.lanes[0]), 0)]
    result = migrate_pages(machine, task, queue, from_index(Cycle((2, 3)), 1))
    assert result.succeeded == 1
    assert nodes_of(machine, task, start << 12, "4KiB") == [[1, 3]]


def test_a_slice_counts_and_cuts_what_is_picked() -> None:
    frame = Frame(1, FrameFlag.ANON, 1)
    run = PteRun(40, 10, (0, 50, 90), 0, Pte.PRESENT)
    part = Slice(run, (0, 2), States.same(frame, 2), 100)
    assert (part.nr, part.is_whole) == (7, False)
    head, tail = part.split_picked(3)
    assert (head.run.nr, head.nr, head.first) == (4, 3, 100)
    assert (tail.run.nr, tail.nr, tail.first) == (6, 4, 104)
    assert [page.run.start for page in part.folios()] == [40, 42, 43, 45, 46, 48, 49]
    assert [page.run.start for page in tail.folios()] == [45, 46, 48, 49]


@pytest.mark.parametrize("pages", [511, 512, 513, 1024])
def test_batches_that_are_just_full(pages: int) -> None:
    machine, task = with_task(two_nodes("16MiB"))
    addr = touched(machine, task, str(pages * PAGE))
    hold(machine, task, addr + 5 * PAGE)
    assert engine(machine, task) == (pages - 1, 1, 1, False)


def test_zero_pages_of_others_stay(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    child = fork(machine, task, "b")
    madvise(machine, child, addr + PAGE, PAGE, Madv.DONTNEED)
    touch(machine, child, addr + PAGE, PAGE, write=False)
    assert engine(machine, task)[0] == 4
    assert nodes_of(machine, child, addr, "16KiB") == [[1, 1], [1, -1], [2, 1]]
