"""Looking things up in a machine."""

import pytest

from pymigrate.mm.state.machine import (
    Machine,
    find_file,
    is_mapped,
    owners_of,
    region_of,
    regions_of,
)
from pymigrate.mm.state.task import Cap, Region
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls.mmap import munmap
from tests.conftest import errno_of, mapped, new_file, new_task, nodes_with, two_nodes


def test_memory_nodes_are_those_with_memory() -> None:
    assert nodes_with("4MiB", "0", "4MiB").memory_nodes == Nodemask.of(0, 2)


def test_cpus_are_those_of_all_nodes() -> None:
    assert nodes_with("4MiB", "4MiB", cpus=("0-3", "8")).cpus == Cpumask.parse("0-3,8")


def test_a_task_runs_on_its_lowest_cpu_and_allocates_on_that_ones_node() -> None:
    machine = nodes_with("4MiB", "0", cpus=("0-1", "2-3"))
    task = new_task(machine, cpu=3)
    assert (task.cpu, machine.local_node(task)) == (3, 1)
    task.cpus = Cpumask.of(1, 3)
    assert (task.cpu, machine.local_node(task)) == (1, 0)


def test_the_shell_is_root_on_the_first_cpu() -> None:
    shell = nodes_with("4MiB", "4MiB", cpus=("", "2-3")).shell_of(0)
    assert (shell.uid, shell.cpu, shell.has(Cap.SYS_NICE)) == (0, 2, True)
    assert shell.mems_allowed == Nodemask.of(0, 1)


def test_a_task_is_found_by_pid_and_by_name(machine: Machine) -> None:
    task = new_task(machine, "a")
    assert machine.task(task.pid) is task
    assert machine.task("a") is task


@pytest.mark.parametrize("who", [7, "b"])
def test_a_task_that_is_not_there_is_esrch(who: int | str) -> None:
    assert errno_of(two_nodes().task, who) == "ESRCH"


def test_sizes_of_a_node() -> None:
    node = two_nodes("32MiB").nodes[0]
    assert (node.nr_pages, node.nr_free) == (8192, 8192)


def test_ids_are_never_used_twice(machine: Machine) -> None:
    assert machine.new_id() < machine.new_id()


def test_a_file_is_found_by_its_name(machine: Machine) -> None:
    file = new_file(machine, "4KiB")
    assert find_file(machine, "data") is file
    assert find_file(machine, "other") is None
    assert find_file(machine, "") is None


def test_region_is_the_tasks_own_or_its_nearest_parents(machine: Machine) -> None:
    tasks = [new_task(machine, name) for name in "abc"]
    tasks[1].parent, tasks[2].parent = "a", "b"
    tasks[1].mm.ancestors, tasks[2].mm.ancestors = (1,), (1, 2)
    far, near, own = (Region(who, "x", page, 1) for page, who in enumerate("abc"))
    other = Region("a", "y", 9, 1)
    machine.regions["a", "x"], machine.regions["a", "y"] = far, other
    assert region_of(machine, tasks[2], "x") == far
    machine.regions["b", "x"] = near
    assert region_of(machine, tasks[2], "x") == near
    machine.regions["c", "x"] = own
    assert region_of(machine, tasks[2], "x") == own
    assert regions_of(machine, tasks[2]) == {"x": own, "y": other}
    assert regions_of(machine, tasks[0]) == {"x": far, "y": other}


def test_strangers_and_children_name_nothing_of_a_task(machine: Machine) -> None:
    parent, child, stranger = (new_task(machine, name) for name in "abc")
    child.parent = parent.name
    machine.regions["b", "x"] = Region("b", "x", 1, 1)
    assert region_of(machine, parent, "x") is None
    assert region_of(machine, stranger, "x") is None


def test_parent_that_has_exited_is_still_an_owner(machine: Machine) -> None:
    child = new_task(machine, "b")
    child.parent, child.mm.ancestors = "a", (1,)
    assert owners_of(machine, child) == ["b", "a"]


def test_a_name_is_of_what_is_still_mapped() -> None:
    machine = two_nodes()
    task = new_task(machine)
    addr = mapped(machine, task, "8KiB")
    machine.regions["a", "heap"] = Region("a", "heap", addr >> 12, 2)
    munmap(machine, task, addr, 4096)
    found = [is_mapped(machine, task, "heap"), is_mapped(machine, task, "stack")]
    munmap(machine, task, addr + 4096, 4096)
    assert [*found, is_mapped(machine, task, "heap")] == [True, False, False]
