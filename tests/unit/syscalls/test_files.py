"""ftruncate, holes and unlink: pages go wherever they are mapped."""

import pytest

from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.state.machine import Machine, find_file
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.files import fallocate_punch_hole, ftruncate, unlink
from pymigrate.syscalls.mmap import munmap
from pymigrate.syscalls.process import fork, touch
from tests.conftest import (
    HUGE,
    PAGE,
    check,
    errno_of,
    hold,
    mapped,
    maps,
    new_file,
    new_task,
    nodes_of,
    pfn_at,
    touched,
    two_nodes,
)


@pytest.fixture
def machine() -> Machine:
    return two_nodes()


def test_shorter_file_loses_its_pages_and_copies_of_them(machine: Machine, task: Task) -> None:
    space = new_file(machine, "64KiB")
    shared = touched(machine, task, "64KiB", space=space, is_shared=True)
    private = touched(machine, new := new_task(machine, "b"), "64KiB", space=space)
    ftruncate(machine, task, space, 4 * PAGE)
    assert nodes_of(machine, task, shared, "64KiB") == [[4, 0], [12, -1]]
    assert nodes_of(machine, new, private, "64KiB") == [[4, 0], [12, -1]]
    assert touch(machine, task, shared, 65536) == "SIGBUS"
    check(machine)


def test_longer_file_has_no_more_pages(machine: Machine, task: Task) -> None:
    space = new_file(machine, "64KiB")
    addr = mapped(machine, task, "128KiB", space=space, is_shared=True)
    assert touch(machine, task, addr, 131072) == "SIGBUS"
    ftruncate(machine, task, space, 131072)
    assert nodes_of(machine, task, addr, "128KiB") == [[16, 0], [16, -1]]
    assert touch(machine, task, addr, 131072) is None


def test_rest_of_the_last_page_is_cleared(machine: Machine, task: Task) -> None:
    space = new_file(machine, "64KiB")
    addr = mapped(machine, task, "64KiB", space=space, is_shared=True)
    touch(machine, task, addr, 65536, write=False)
    ftruncate(machine, task, space, PAGE + 1)
    dirty = [
        frame_of(machine, pfn_at(task, a)).flags & FrameFlag.DIRTY for a in (addr, addr + PAGE)
    ]
    assert list(map(bool, dirty)) == [False, True]


def test_copies_stay_over_a_hole(machine: Machine, task: Task) -> None:
    space = new_file(machine, "64KiB")
    shared = touched(machine, task, "64KiB", space=space, is_shared=True)
    private = touched(machine, new := new_task(machine, "b"), "32KiB", space=space)
    fallocate_punch_hole(machine, task, space, 100, 65536 - 100)
    assert nodes_of(machine, task, shared, "64KiB") == [[1, 0], [15, -1]]
    assert nodes_of(machine, new, private, "32KiB") == [[8, 0]]
    check(machine)


def test_pages_that_are_held_belong_to_no_file_afterwards(machine: Machine, task: Task) -> None:
    space = new_file(machine, "64KiB")
    addr = touched(machine, task, "64KiB", space=space, is_shared=True)
    pfn = pfn_at(task, addr)
    hold(machine, task, addr)
    ftruncate(machine, task, space, 0)
    assert frame_of(machine, pfn).owner == 0
    assert not space.pages.runs


def test_what_is_refused(machine: Machine, task: Task) -> None:
    space, huge = new_file(machine, "64KiB"), new_file(machine, "4MiB", fs="hugetlbfs")
    assert errno_of(ftruncate, machine, task, space, 1 << 63) == "EINVAL"
    assert errno_of(ftruncate, machine, task, huge, HUGE + PAGE) == "EINVAL"
    assert errno_of(fallocate_punch_hole, machine, task, space, 0, 0) == "EINVAL"
    assert errno_of(fallocate_punch_hole, machine, task, space, 1, (1 << 63) - 1) == "EFBIG"


def test_deleted_file_goes_with_its_last_mapping(machine: Machine, task: Task) -> None:
    space = new_file(machine, "64KiB")
    addr = touched(machine, task, "64KiB", space=space, is_shared=True)
    child = fork(machine, task, "child")
    unlink(machine, space)
    assert find_file(machine, "data") is None
    assert "file=/data\\040(deleted)" in maps(machine, task)[0]
    munmap(machine, task, addr, 65536)
    assert touch(machine, child, addr, 65536) is None
    munmap(machine, child, addr, 65536)
    assert space.space_id not in machine.spaces
    assert machine.nodes[0].memmap.runs == []


def test_file_that_nobody_maps_goes_at_once(machine: Machine) -> None:
    space = new_file(machine, "64KiB")
    unlink(machine, space)
    assert space.space_id not in machine.spaces
