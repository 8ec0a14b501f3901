"""Secret memory and the swap cache: what of them moves, and how."""

from collections.abc import Callable

import pytest

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.state.events import Step
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.gup import add_to_swap_cache, pin
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.mmap import memfd_secret, mmap, munmap
from pymigrate.syscalls.process import touch
from tests.conftest import PAGE, errno_of, mapped, maps, touched, two_nodes

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


def test_secret_memory_is_mapped_shared_only(machine: Machine, task: Task) -> None:
    space = memfd_secret(machine, PAGE)
    assert errno_of(mmap, machine, task, 1 << 30, PAGE, "rw", space=space) == "EINVAL"
    assert not machine.spaces


@pytest.mark.parametrize(
    "call",
    [
        lambda machine, task, addr: pin(machine, task, addr, PAGE, True),
        lambda machine, task, addr: pin(machine, task, addr, PAGE, False),
        lambda machine, task, addr: madvise(machine, task, addr, PAGE, Madv.POPULATE_WRITE),
    ],
    ids=["a long pin", "a short pin", "populate"],
)
def test_the_kernel_has_no_access_to_secret_memory(
    machine: Machine, task: Task, call: Callable[[Machine, Task, int], object]
) -> None:
    assert errno_of(call, machine, task, secret(machine, task)) == "EFAULT"


def test_secret_memory_goes_with_its_last_mapping(machine: Machine, task: Task) -> None:
    addr = secret(machine, task)
    free = machine.nodes[0].nr_free
    munmap(machine, task, addr, 4 * PAGE)
    assert machine.nodes[0].nr_free == free + 4


def test_pages_in_the_swap_cache_move_with_their_places(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    add_to_swap_cache(machine, task, addr, 2 << 12)
    assert maps(machine, task) == ["default anon=4 dirty=4 swapcache=2 N0=4 kernelpagesize_kB=4"]
    machine.watch = Watch([], steps=True)
    assert migrate_pages(machine, task, task, ZERO, ONE) == 0
    numbers = [
        s.number for s in machine.watch.events if isinstance(s, Step) and s.folio.page == addr >> 12
    ]
    assert "9" in numbers  # the index is the swap cache's
    assert maps(machine, task)[0].split()[3:5] == ["swapcache=2", "active=0"]
