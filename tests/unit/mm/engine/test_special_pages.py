"""Secret memory, the swap cache, mlocked and zero pages: what of them moves, and how."""

import pytest

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.state.events import Step
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.gup import add_to_swap_cache, pin
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.migrate import migrate_pages, move_pages
from pymigrate.syscalls.mmap import memfd_secret, mlock, mmap, munmap
from pymigrate.syscalls.process import fork, touch
from tests.conftest import PAGE, errno_of, mapped, maps, nodes_of, touched, two_nodes
from tests.property.invariants import check

ZERO, ONE = Nodemask.of(0), Nodemask.of(1)


@pytest.fixture
def machine() -> Machine:
    return two_nodes("16MiB")


def secret(machine: Machine, task: Task) -> int:
    space = memfd_secret(machine, 4 * PAGE)
    addr = mapped(machine, task, "16KiB", space=space, is_shared=True)
    touch(machine, task, addr, 4 * PAGE)
    return addr


def test_secret_memory_is_locked_and_has_a_name(machine: Machine, task: Task) -> None:
    secret(machine, task)
    [line] = maps(machine, task)
    assert line.startswith("default file=/secretmem\\040(deleted) dirty=4")
    assert "active" not in line  # unevictable pages count as active
    check(machine)


def test_secret_memory_stays_where_it_is(machine: Machine, task: Task) -> None:
    addr = secret(machine, task)
    assert migrate_pages(machine, task, task, ZERO, ONE) == 4
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 0]]
    assert machine.counters["pgmigrate_fail"] == 4


def test_secret_memory_is_mapped_shared_only(machine: Machine, task: Task) -> None:
    space = memfd_secret(machine, PAGE)
    assert errno_of(mmap, machine, task, 1 << 30, PAGE, "rw", space=space) == "EINVAL"
    assert not machine.spaces


@pytest.mark.parametrize("is_long", [False, True])
def test_secret_memory_cannot_be_pinned(machine: Machine, task: Task, is_long: bool) -> None:
    addr = secret(machine, task)
    assert errno_of(pin, machine, task, addr, PAGE, is_long) == "EFAULT"


def test_the_kernel_does_not_populate_secret_memory(machine: Machine, task: Task) -> None:
    addr = secret(machine, task)
    assert errno_of(madvise, machine, task, addr, PAGE, Madv.POPULATE_WRITE) == "EFAULT"


def test_secret_memory_goes_with_its_last_mapping(machine: Machine, task: Task) -> None:
    addr = secret(machine, task)
    free = machine.nodes[0].nr_free
    munmap(machine, task, addr, 4 * PAGE)
    assert machine.nodes[0].nr_free == free + 4
    check(machine)


def test_pages_in_the_swap_cache_move_with_their_places(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    add_to_swap_cache(machine, task, addr, 2 << 12)
    assert maps(machine, task) == ["default anon=4 dirty=4 swapcache=2 N0=4 kernelpagesize_kB=4"]
    machine.watch = Watch([], steps=True)
    assert migrate_pages(machine, task, task, ZERO, ONE) == 0
    numbers = [
        s.number for s in machine.watch.events if isinstance(s, Step) and s.page == addr >> 12
    ]
    assert "9" in numbers  # the index is the swap cache's
    assert maps(machine, task)[0].split()[3:5] == ["swapcache=2", "active=0"]
    check(machine)


def test_a_store_into_what_was_shared_gives_the_place_in_swap_up(
    machine: Machine, task: Task
) -> None:
    addr = touched(machine, task, "4KiB")
    child = fork(machine, task, "b")
    munmap(machine, child, addr, PAGE)
    add_to_swap_cache(machine, task, addr, 1 << 12)
    run = task.mm.page_table.at(addr >> 12)
    assert run is not None
    touch(machine, task, addr, PAGE)
    assert task.mm.page_table.at(addr >> 12).lanes == run.lanes
    assert not frame_of(machine, run.lanes[0]).flags & FrameFlag.SWAPCACHE


def test_mlocked_pages_move_and_stay_mlocked(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    mlock(machine, task, addr, 4 * PAGE)
    assert migrate_pages(machine, task, task, ZERO, ONE) == 0
    run = task.mm.page_table.at(addr >> 12)
    assert run is not None
    assert frame_of(machine, run.lanes[0]).flags & FrameFlag.MLOCKED


def test_the_zero_page_never_moves(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "8KiB")
    touch(machine, task, addr, 2 * PAGE, write=False)
    assert move_pages(machine, task, task, [addr], [1], 2).status == [-14]
    assert migrate_pages(machine, task, task, ZERO, ONE) == 0
    assert machine.counters["pgmigrate_success"] == 0
