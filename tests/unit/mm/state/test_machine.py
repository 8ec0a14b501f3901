"""Looking things up in a machine."""

import pytest

from pymigrate.mm.base.cred import Cap
from pymigrate.mm.state.machine import find_file
from pymigrate.mm.state.task import Region
from pymigrate.nodemask import Cpumask, Nodemask
from tests.conftest import errno_of, new_file, new_task, nodes_with, two_nodes


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


def test_a_task_is_found_by_pid_and_by_name() -> None:
    machine = two_nodes()
    task = new_task(machine, "a")
    assert machine.task(task.pid) is task
    assert machine.task("a") is task


@pytest.mark.parametrize("who", [7, "b"])
def test_a_task_that_is_not_there_is_esrch(who: int | str) -> None:
    assert errno_of(two_nodes().task, who) == "ESRCH"


def test_a_region_is_the_tasks_own_or_its_parents_or_anybodys() -> None:
    machine = two_nodes()
    parent, child = new_task(machine, "a"), new_task(machine, "b")
    child.parent = parent.name
    ours, theirs = Region("a", "x", 1, 1), Region("b", "x", 2, 1)
    machine.regions["a", "x"] = ours
    assert machine.region("b", "x") == ours
    assert machine.region("stranger", "x") == ours
    machine.regions["b", "x"] = theirs
    assert machine.region("b", "x") == theirs
    assert errno_of(machine.region, "b", "y") == "EFAULT"


def test_sizes_of_a_node() -> None:
    node = two_nodes("32MiB").nodes[0]
    assert (node.nr_pages, node.nr_free) == (8192, 8192)


def test_ids_are_never_used_twice() -> None:
    machine = two_nodes()
    assert machine.new_id() < machine.new_id()


def test_a_file_is_found_by_its_name() -> None:
    machine = two_nodes()
    file = new_file(machine, "4KiB")
    assert find_file(machine, "data") is file
    assert find_file(machine, "other") is None
    assert find_file(machine, "") is None
