"""Cpusets in others: what they have of their parents, and what is refused."""

import pytest

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls.cpuset import attach_task, change, create, make, remove, subtree_control
from pymigrate.syscalls.process import clone, sched_setaffinity
from pymigrate.syscalls.reclaim import cpuset_tasks
from tests.conftest import errno_of, four_nodes, new_task, nodes_of, touched
from tests.property.invariants import check

C, N = Cpumask.parse, Nodemask.parse


@pytest.fixture
def machine() -> Machine:
    return four_nodes("4MiB")


def group(machine: Machine, name: str, mems: str = "", cpus: str = "") -> None:
    create(machine, machine.shell_of(0), name, C(cpus), N(mems), True)


def write(machine: Machine, name: str, mems: str) -> None:
    change(machine, machine.shell_of(0), name, mems=N(mems))


def attach(machine: Machine, task: Task, name: str) -> None:
    attach_task(machine, machine.shell_of(0), task, name)


def control(machine: Machine, name: str, text: str) -> None:
    subtree_control(machine, machine.shell_of(0), name, text)


def rmdir(machine: Machine, name: str) -> None:
    remove(machine, machine.shell_of(0), name)


# What they have


def test_one_without_masks_has_its_parents(machine: Machine, task: Task) -> None:
    group(machine, "p", "1-2", "2-3")
    group(machine, "p/c")
    group(machine, "p/c/e", "0,3")
    attach(machine, task, "p/c/e")
    assert (task.mems_allowed, task.cpus) == (N("1-2"), C("2-3"))


def test_memory_follows_the_parents_nodes(machine: Machine, task: Task) -> None:
    group(machine, "p", "0-1")
    group(machine, "p/c")
    attach(machine, task, "p/c")
    addr = touched(machine, task, "8KiB", node=1)
    write(machine, "p", "2-3")
    assert nodes_of(machine, task, addr, "8KiB") == [[2, 3]]
    assert task.mems_allowed == N("2-3")
    check(machine)


def test_nodes_of_its_own_outlast_the_parents_change(machine: Machine, task: Task) -> None:
    group(machine, "p", "0-3")
    group(machine, "p/c", "2-3")
    attach(machine, task, "p/c")
    write(machine, "p", "0-1")
    assert task.mems_allowed == N("0-1")
    write(machine, "p", "1-2")
    assert task.mems_allowed == N("2")


def test_a_brother_keeps_its_memory(machine: Machine, task: Task) -> None:
    group(machine, "p", "0-3")
    group(machine, "p/c", "1")
    group(machine, "p/d", "0-2")
    attach(machine, task, "p/c")
    addr = touched(machine, task, "8KiB", node=1)
    write(machine, "p/d", "3")
    write(machine, "p", "1-2")
    assert nodes_of(machine, task, addr, "8KiB") == [[2, 1]]


def test_cpus_follow_the_parents(machine: Machine, task: Task) -> None:
    sched_setaffinity(machine, task, C("1-2"))
    group(machine, "p", "", "0-3")
    group(machine, "p/c", "", "2-3")
    attach(machine, task, "p/c")
    assert task.cpus == C("2")
    change(machine, machine.shell_of(0), "p", cpus=C("0-1"))
    assert task.cpus == C("1")
    assert errno_of(sched_setaffinity, machine, task, C("2")) == "EINVAL"


def test_threads_go_with_their_process(machine: Machine, task: Task) -> None:
    thread = clone(machine, task, "t")
    group(machine, "p", "1")
    group(machine, "p/c")
    attach(machine, task, "p/c")
    assert (thread.cpuset, thread.mems_allowed) == ("p/c", N("1"))


def test_reclaim_of_one_takes_from_those_in_it(machine: Machine, task: Task) -> None:
    group(machine, "p")
    group(machine, "p/c")
    attach(machine, task, "p/c")
    assert cpuset_tasks(machine, "p") == [task]
    assert errno_of(cpuset_tasks, machine, "p/c") == "ENOENT"  # it has no controller of memory


# Making and removing


def test_a_parent_must_be_there(machine: Machine) -> None:
    assert errno_of(group, machine, "p/c") == "ENOENT"
    assert errno_of(make, machine, machine.shell_of(0), "p/c") == "ENOENT"


@pytest.mark.parametrize("name", ["p", "p/.", "p/..", "p/", ".", "..", ""])
def test_names_that_are_taken(machine: Machine, name: str) -> None:
    group(machine, "p")
    assert errno_of(make, machine, machine.shell_of(0), name) == "EEXIST"


def test_one_with_others_in_it_or_tasks_cannot_be_removed(machine: Machine, task: Task) -> None:
    group(machine, "p")
    group(machine, "p/c")
    assert errno_of(rmdir, machine, "p") == "EBUSY"
    attach(machine, task, "p/c")
    assert errno_of(rmdir, machine, "p/c") == "EBUSY"
    attach(machine, task, "")
    rmdir(machine, "p/c")
    rmdir(machine, "p")
    assert list(machine.cpusets) == [""]
    assert errno_of(rmdir, machine, "p") == "ENOENT"
    assert errno_of(rmdir, machine, "") == "EBUSY"
    assert errno_of(remove, machine, machine.shell_of(7), "p") == "EACCES"


def test_one_with_tasks_below_cannot_be_emptied(machine: Machine, task: Task) -> None:
    group(machine, "p", "0-1", "0-3")
    group(machine, "p/c")
    attach(machine, task, "p/c")
    assert errno_of(write, machine, "p", "") == "ENOSPC"
    assert errno_of(change, machine, machine.shell_of(0), "p", cpus=C("")) == "ENOSPC"


# Controllers


def test_what_no_parent_has_made_a_cpuset_has_no_files(machine: Machine, task: Task) -> None:
    shell = machine.shell_of(0)
    group(machine, "p", "1")
    make(machine, shell, "p/c")
    assert errno_of(write, machine, "p/c", "0") == "ENOENT"
    attach(machine, task, "p/c")
    assert task.mems_allowed == N("1")
    control(machine, "p", "+cpuset")
    write(machine, "p/c", "0-1")
    assert task.mems_allowed == N("1")


def test_memory_goes_back_to_the_parents_nodes_with_the_controller(
    machine: Machine, task: Task
) -> None:
    group(machine, "p", "0-1")
    group(machine, "p/c", "1")
    attach(machine, task, "p/c")
    addr = touched(machine, task, "8KiB", node=1)
    control(machine, "p", "-cpuset")
    assert task.mems_allowed == N("0-1")
    assert nodes_of(machine, task, addr, "8KiB") == [[2, 1]]
    control(machine, "p", "+cpuset")
    assert (machine.cpusets["p/c"].mems, task.mems_allowed) == (N(""), N("0-1"))


@pytest.mark.parametrize(
    ("text", "now", "answer"),
    [
        ("+cpuset", "cpuset", None),
        ("  +memory +cpuset ", "cpuset memory", None),
        ("+memory -memory", "", None),
        ("-cpuset", "", None),
        ("", "", None),
        ("cpuset", "", "EINVAL"),
        ("+cpu", "", "EINVAL"),
        ("+", "", "EINVAL"),
    ],
)
def test_words_of_subtree_control(
    machine: Machine, text: str, now: str, answer: str | None
) -> None:
    group(machine, "p")
    if answer:
        assert errno_of(control, machine, "p", text) == answer
    else:
        control(machine, "p", text)
    assert machine.cpusets["p"].subtree_control == now


def test_only_what_a_parent_has_can_be_had(machine: Machine) -> None:
    group(machine, "p")
    group(machine, "p/c")
    assert errno_of(control, machine, "p/c", "+memory") == "ENOENT"
    control(machine, "p/c", "+cpuset")
    assert errno_of(control, machine, "p", "-cpuset") == "EBUSY"
    assert errno_of(subtree_control, machine, machine.shell_of(5), "p", "+memory") == "EACCES"


def test_memory_is_not_for_those_in_one_that_has_tasks(machine: Machine, task: Task) -> None:
    group(machine, "p")
    attach(machine, task, "p")
    assert errno_of(control, machine, "p", "+memory") == "EBUSY"
    attach(machine, task, "")
    control(machine, "p", "+memory")
    assert errno_of(attach, machine, task, "p") == "EBUSY"


def test_tasks_beside_tasks_of_a_child(machine: Machine, task: Task) -> None:
    group(machine, "p")
    group(machine, "p/c")
    other = new_task(machine, "b")
    attach(machine, task, "p/c")
    assert errno_of(attach, machine, other, "p") == "EBUSY"
    attach(machine, task, "")
    attach(machine, task, "p")
    assert errno_of(attach, machine, other, "p/c") == "EOPNOTSUPP"
    assert errno_of(control, machine, "p/c", "+cpuset") == "EOPNOTSUPP"
    assert errno_of(control, machine, "p", "+memory") == "EOPNOTSUPP"


def test_a_cpuset_that_gives_controllers_away_takes_no_tasks_beside_others(
    machine: Machine, task: Task
) -> None:
    group(machine, "p")
    make(machine, machine.shell_of(0), "p/c")
    attach(machine, task, "p/c")
    attach(machine, new_task(machine, "b"), "p")
    assert errno_of(control, machine, "p", "+cpuset") == "EBUSY"


# Version 1


def test_v1_masks_lie_within_the_parents() -> None:
    machine = four_nodes(kernel="6.1")
    group(machine, "p", "0-1", "0-1")
    group(machine, "p/c", "1", "1")
    assert errno_of(write, machine, "p/c", "2") == "EACCES"
    assert errno_of(change, machine, machine.shell_of(0), "p/c", cpus=C("2")) == "EACCES"
    assert errno_of(write, machine, "p", "0") == "EBUSY"
    assert errno_of(change, machine, machine.shell_of(0), "p", cpus=C("0")) == "EBUSY"
    write(machine, "p", "1-2")


def test_v1_tasks_without_nodes_go_to_an_ancestor_that_has_some() -> None:
    from pymigrate.syscalls import memory_blocks

    machine = four_nodes("128MiB", kernel="6.1")
    task = new_task(machine)
    group(machine, "p", "1-2", "0-3")
    group(machine, "p/c", "2", "0-3")
    group(machine, "p/c/e", "2", "0-3")
    attach(machine, task, "p/c/e")
    memory_blocks.offline(machine, machine.shell_of(0), 2)
    assert (task.cpuset, task.mems_allowed) == ("p", N("1"))
