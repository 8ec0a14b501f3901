"""MADV_COLLAPSE: which ranges become huge pages, and where those come from."""

import pytest

from pymigrate.errors import KernelError
from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.migrate import move_pages
from pymigrate.syscalls.mmap import mprotect
from pymigrate.syscalls.process import fork, touch
from tests.conftest import (
    HUGE,
    PAGE,
    errno_of,
    hold,
    mapped,
    nodes_of,
    pfn_at,
    placed_on,
    touched,
    two_nodes,
)
from tests.property.invariants import check
from tests.unit.mm.conftest import with_task


@pytest.fixture
def machine() -> Machine:
    return two_nodes("16MiB")


def collapse(machine: Machine, task: Task, addr: int, length: int = HUGE) -> None:
    madvise(machine, task, addr, length, Madv.COLLAPSE)
    check(machine)


def orders(task: Task) -> list[tuple[int, int]]:
    return [(run.order, run.nr) for run in task.mm.page_table.runs]


def test_pages_become_one_huge_page_on_the_node_of_most(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "2MiB")
    touch(machine, task, addr, 100 * PAGE)
    with placed_on(task, 1):
        touch(machine, task, addr + 100 * PAGE, 101 * PAGE)
    collapse(machine, task, addr)
    assert orders(task) == [(9, 512)]
    assert nodes_of(machine, task, addr, "2MiB") == [[512, 1]]
    assert machine.counters["thp_collapse_alloc"] == 1


def test_a_tie_goes_to_the_lowest_node(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "2MiB", node=1)
    pages = [addr + i * PAGE for i in range(256)]
    move_pages(machine, machine.shell_of(0), task, pages, [0] * 256, 2)
    collapse(machine, task, addr)
    assert nodes_of(machine, task, addr, "2MiB") == [[512, 0]]


def test_what_was_absent_is_zero_when_the_huge_page_is_split(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "2MiB")
    touch(machine, task, addr, 3 * PAGE)
    collapse(machine, task, addr)
    madvise(machine, task, addr, PAGE, Madv.COLD)
    assert nodes_of(machine, task, addr, "2MiB") == [[3, 0], [509, -1]]


def test_what_is_huge_already_is_done(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "2MiB")
    collapse(machine, task, addr)
    collapse(machine, task, addr)
    assert machine.counters["thp_collapse_alloc"] == 1


def test_pages_that_others_map_too_are_copied(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "2MiB")
    child = fork(machine, task, "b")
    touch(machine, task, addr, PAGE)
    collapse(machine, task, addr)
    assert (orders(task), orders(child)) == ([(9, 512)], [(0, 512)])


def test_a_block_that_cannot_be_written_does_not_collapse(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "2MiB")
    mprotect(machine, task, addr, HUGE, "r")
    assert errno_of(collapse, machine, task, addr) == "EINVAL"


def test_a_held_page_is_eagain_and_the_next_block_is_done(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4MiB")
    hold(machine, task, addr)
    assert errno_of(collapse, machine, task, addr, 2 * HUGE) == "EAGAIN"
    assert orders(task)[-1] == (9, 512)


def test_a_node_without_a_huge_page_is_enomem(machine: Machine, task: Task) -> None:
    machine, task = with_task(two_nodes("4MiB"))
    addr = touched(machine, task, "2MiB")
    assert errno_of(collapse, machine, task, addr) == "ENOMEM"
    assert machine.counters["thp_collapse_alloc_failed"] == 1


def test_what_nobody_stored_into_is_zero_in_the_huge_page(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "2MiB")
    madvise(machine, task, addr, HUGE, Madv.POPULATE_WRITE)
    touch(machine, task, addr, 2 * PAGE)
    collapse(machine, task, addr)
    frames = [frame_of(machine, pfn_at(task, addr) + i) for i in range(4)]
    assert [bool(frame.flags & FrameFlag.ZEROED) for frame in frames] == [False, False, True, True]


def test_a_block_in_which_nothing_is_mapped_does_not_collapse(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "4MiB")
    touch(machine, task, addr, PAGE)
    with pytest.raises(KernelError, check=lambda error: error.why.startswith("nothing is mapped")):
        collapse(machine, task, addr, 2 * HUGE)
    assert orders(task) == [(9, 512)]
