"""What can be wrong with a machine is found, and nothing that is right."""

from collections.abc import Callable

import pytest

from pymigrate.mm.base.runs import Extent
from pymigrate.mm.check import problems
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.units import PAGE_SHIFT
from tests.conftest import BASE, new_file, new_task, touched, two_nodes

PAGE = BASE >> PAGE_SHIFT


@pytest.fixture
def machine() -> Machine:
    machine = two_nodes()
    task = new_task(machine)
    touched(machine, task, "16KiB")
    touched(machine, task, "16KiB", node=1, is_shared=True)
    touched(machine, task, "16KiB", is_shared=True, space=new_file(machine, "16KiB"))
    return machine


def task_of(machine: Machine) -> Task:
    return next(iter(machine.tasks.values()))


def test_a_sound_machine_has_no_problem(machine: Machine) -> None:
    assert list(problems(machine)) == []


def unmap(machine: Machine) -> None:
    task_of(machine).mm.page_table.edit([(PAGE, PAGE + 1, ())])


def free_used(machine: Machine) -> None:
    run = machine.nodes[0].memmap.runs[0]
    machine.nodes[0].memmap.edit([(run.start, run.start + 1, ())])


def lose_free(machine: Machine) -> None:
    zone = machine.nodes[1].zones[0]
    extent = zone.free.runs[0]
    zone.free.edit([(extent.start, extent.start + 2, ())])


def own_twice(machine: Machine) -> None:
    run = machine.nodes[0].memmap.runs[0]
    zone = machine.nodes[0].zone_of(run.start)
    zone.free.put(run.start, run.start + 1, Extent(run.start, 1))


def miscount_pool(machine: Machine) -> None:
    machine.nodes[1].hugetlb.nr = 3


def lose_vma(machine: Machine) -> None:
    mm = task_of(machine).mm
    del mm.vmas[0]


def lose_file(machine: Machine) -> None:
    machine.spaces.clear()


def lose_cpuset(machine: Machine) -> None:
    task_of(machine).cpuset = "gone"


def lose_task(machine: Machine) -> None:
    machine.tasks.clear()


def lose_node(machine: Machine) -> None:
    del machine.nodes[1]


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        pytest.param(unmap, "is mapped 0 times, and 1 are counted", id="entry gone"),
        pytest.param(free_used, "is mapped, and free", id="used frame freed"),
        pytest.param(lose_free, "2 frames from 0x", id="free frames gone"),
        pytest.param(own_twice, "is owned twice", id="frame owned twice"),
        pytest.param(miscount_pool, "pool has 0 pages, and 3 are counted", id="pool"),
        pytest.param(lose_vma, "lies in no mapping", id="mapping gone"),
        pytest.param(lose_file, "maps a file that is gone", id="file gone"),
        pytest.param(lose_cpuset, "its cpuset gone is gone", id="cpuset gone"),
        pytest.param(lose_task, "belongs to no process", id="process gone"),
        pytest.param(lose_node, "cannot be read: ", id="node gone"),
    ],
)
def test_what_is_wrong_is_told(
    machine: Machine, spoil: Callable[[Machine], None], line: str
) -> None:
    spoil(machine)
    assert [found for found in problems(machine) if line in found]
