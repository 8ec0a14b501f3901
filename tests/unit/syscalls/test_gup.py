"""Pins: section 14 of the system calls' specification."""

import pytest

from pymigrate.mm.frames import frame_of
from pymigrate.mm.machine import Machine, Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.gup import pin, unpin
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.mmap import munmap
from pymigrate.syscalls.process import exit_task, fork, touch
from tests.conftest import (
    errno_of,
    mapped,
    maps,
    new_file,
    new_task,
    nodes_of,
    touched,
    two_nodes,
)
from tests.property.invariants import check, check_pins, used_frames

PAGE = 4096
LONG, SHORT = True, False


@pytest.fixture
def machine() -> Machine:
    return two_nodes("4MiB")


@pytest.fixture
def task(machine: Machine) -> Task:
    return new_task(machine)


def is_sound(machine: Machine) -> bool:
    check(machine)
    check_pins(machine, used_frames(machine))
    return True


@pytest.mark.parametrize("kind", [LONG, SHORT], ids=["long", "short"])
def test_pinned_pages_do_not_migrate(machine: Machine, task: Task, kind: bool) -> None:
    addr = touched(machine, task, "16KiB")
    pin(machine, task, addr + PAGE, 2 * PAGE, kind)
    assert migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1)) == 2
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 1], [2, 0], [1, 1]]
    assert is_sound(machine)


@pytest.mark.parametrize("kind", [LONG, SHORT], ids=["long", "short"])
def test_unpinned_pages_do(machine: Machine, task: Task, kind: bool) -> None:
    addr = touched(machine, task, "16KiB")
    pin(machine, task, addr, 4 * PAGE, kind)
    unpin(machine, task, addr, 4 * PAGE, kind)
    assert migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1)) == 0


def test_only_what_was_pinned_can_be_unpinned(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    pin(machine, task, addr, 2 * PAGE, LONG)
    for call in ((addr, PAGE, LONG), (addr + PAGE, 2 * PAGE, LONG), (addr, 2 * PAGE, SHORT)):
        assert errno_of(unpin, machine, task, *call) == "EINVAL"


def test_a_page_may_be_pinned_twice(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    pin(machine, task, addr, PAGE, LONG)
    pin(machine, task, addr, PAGE, LONG)
    unpin(machine, task, addr, PAGE, LONG)
    assert frame_of(machine, 0).pins == 1
    assert machine.nodes[0].numa["nr_foll_pin_acquired"] == 2
    assert machine.nodes[0].numa["nr_foll_pin_released"] == 1


def test_a_long_pin_faults_in_for_writing_and_breaks_sharing(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    child = fork(machine, task, "b")
    pin(machine, child, addr, PAGE, LONG)
    assert [frame_of(machine, pfn).mapcount for pfn in (0, 1, 2)] == [1, 2, 1]
    absent = mapped(machine, task, "4KiB")
    pin(machine, task, absent, PAGE, LONG)
    assert nodes_of(machine, task, absent, "4KiB") == [[1, 0]]
    assert is_sound(machine)


def test_a_short_one_faults_in_for_reading(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    child = fork(machine, task, "b")
    pin(machine, child, addr, PAGE, SHORT)
    assert (frame_of(machine, 0).mapcount, frame_of(machine, 0).extra_refs) == (2, 1)
    absent = mapped(machine, task, "4KiB")
    pin(machine, task, absent, PAGE, SHORT)
    assert nodes_of(machine, task, absent, "4KiB") == [[1, -1]]


def test_a_page_populated_by_a_read_stays_clean(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "4KiB", is_shared=True)
    touch(machine, task, addr, PAGE, write=False)
    pin(machine, task, addr, PAGE, LONG)
    assert "dirty" not in maps(machine, task)[0]


@pytest.mark.parametrize(
    ("prot", "kind", "held"),
    [
        pytest.param("r", LONG, "EFAULT", id="long, read-only"),
        pytest.param("none", SHORT, "EFAULT", id="short, inaccessible"),
        pytest.param("r", SHORT, 2, id="short, read-only"),
    ],
)
def test_the_protection_must_allow_it(
    machine: Machine, task: Task, prot: str, kind: bool, held: int | str
) -> None:
    addr = mapped(machine, task, "8KiB", prot, space=new_file(machine, "8KiB"))
    if held == "EFAULT":
        assert errno_of(pin, machine, task, addr, 2 * PAGE, kind) == "EFAULT"
    else:
        pin(machine, task, addr, 2 * PAGE, kind)
        assert len(machine.pins[0].pfns) == held


@pytest.mark.parametrize(("kind", "held"), [(LONG, None), (SHORT, 2)])
def test_a_long_pin_needs_all_pages_a_short_one_takes_what_it_can(
    machine: Machine, task: Task, kind: bool, held: int | None
) -> None:
    addr = mapped(machine, task, "16KiB", space=new_file(machine, "8KiB"), is_shared=True)
    if held is None:
        assert errno_of(pin, machine, task, addr, 4 * PAGE, kind) == "EFAULT"
        assert machine.pins == []
    else:
        pin(machine, task, addr, 4 * PAGE, kind)
        assert len(machine.pins[0].pfns) == held


def test_a_hole_ends_a_short_pin(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    munmap(machine, task, addr + PAGE, PAGE)
    pin(machine, task, addr, 4 * PAGE, SHORT)
    assert len(machine.pins[0].pfns) == 1
    assert errno_of(pin, machine, task, addr + PAGE, PAGE, SHORT) == "EFAULT"


def test_pinned_memory_outlives_its_mapping_until_it_is_unpinned(
    machine: Machine, task: Task
) -> None:
    addr = touched(machine, task, "16KiB")
    pin(machine, task, addr, 2 * PAGE, LONG)
    munmap(machine, task, addr, 4 * PAGE)
    assert machine.nodes[0].nr_free == 1022
    unpin(machine, task, addr, 2 * PAGE, LONG)
    assert machine.nodes[0].nr_free == 1024


def test_a_files_page_stays_cached_when_it_is_unpinned(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB", space=new_file(machine, "4KiB"), is_shared=True)
    pin(machine, task, addr, PAGE, LONG)
    munmap(machine, task, addr, PAGE)
    unpin(machine, task, addr, PAGE, LONG)
    assert machine.nodes[0].nr_free == 1023
    assert is_sound(machine)


def test_shared_memory_that_is_gone_is_freed_when_it_is_unpinned(
    machine: Machine, task: Task
) -> None:
    addr = touched(machine, task, "8KiB", is_shared=True)
    pin(machine, task, addr, PAGE, LONG)
    munmap(machine, task, addr, 2 * PAGE)
    assert machine.nodes[0].nr_free == 1023
    unpin(machine, task, addr, PAGE, LONG)
    assert machine.nodes[0].nr_free == 1024


def test_exit_unpins(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    child = fork(machine, task, "b")
    pin(machine, child, addr, 4 * PAGE, LONG)
    pin(machine, task, addr, PAGE, SHORT)
    exit_task(machine, child)
    assert [p.pid for p in machine.pins] == [task.pid]
    assert is_sound(machine)


def test_a_range_need_not_be_aligned(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    pin(machine, task, addr + 100, PAGE, LONG)
    assert machine.pins[0].pfns == (0, 1)


def test_a_pinned_page_is_copied_by_fork(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    pin(machine, task, addr, PAGE, LONG)
    fork(machine, task, "b")
    assert [frame_of(machine, pfn).mapcount for pfn in (0, 1, 2)] == [1, 2, 1]
    assert is_sound(machine)
