"""Cpusets: who may write their files, what is refused, and what follows from their masks."""

import pytest

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls.cpuset import attach_task, change, create
from pymigrate.syscalls.mempolicy import mbind, set_mempolicy
from pymigrate.syscalls.process import fork, sched_setaffinity
from tests.conftest import errno_of, four_nodes, hold, mapped, maps, new_task, nodes_of, touched
from tests.property.invariants import check
from tests.unit.syscalls.conftest import outcome

BIND, INTERLEAVE = 2, 3
C, N = Cpumask.parse, Nodemask.parse


@pytest.fixture
def machine() -> Machine:
    return four_nodes("4MiB")


def make(machine: Machine, name: str, mems: str, cpus: str = "0-3", follows: bool = True) -> None:
    create(machine, machine.shell_of(0), name, C(cpus), N(mems), follows)


def write(machine: Machine, name: str, mems: str) -> None:
    change(machine, machine.shell_of(0), name, mems=N(mems))


def attach(machine: Machine, task: Task, name: str) -> None:
    attach_task(machine, machine.shell_of(0), task, name)


# Making and writing


def test_only_root_writes(machine: Machine) -> None:
    alice = new_task(machine, "b", uid=1000)
    assert errno_of(create, machine, alice, "x", C("0"), N("0"), False) == "EACCES"
    assert errno_of(change, machine, alice, "x") == "EACCES"


def test_names_are_taken_once(machine: Machine) -> None:
    make(machine, "x", "0")
    assert errno_of(make, machine, "x", "0") == "EEXIST"


def test_the_first_cpuset_cannot_be_changed(machine: Machine) -> None:
    assert errno_of(change, machine, machine.shell_of(0), "", mems=N("0")) == "EACCES"


def test_one_that_does_not_exist_is_enoent(machine: Machine, task: Task) -> None:
    assert errno_of(write, machine, "x", "0") == "ENOENT"
    assert errno_of(attach, machine, task, "x") == "ENOENT"


@pytest.mark.parametrize(("cpus", "mems"), [("0", "7"), ("9", "0")])
def test_what_does_not_exist_is_einval(machine: Machine, cpus: str, mems: str) -> None:
    assert errno_of(make, machine, "x", mems, cpus) == "EINVAL"


@pytest.mark.parametrize("what", [{"cpus": Cpumask()}, {"mems": Nodemask()}])
def test_a_v1_cpuset_with_tasks_cannot_be_emptied(what: dict[str, Nodemask]) -> None:
    machine = four_nodes(kernel="6.1")
    task = new_task(machine)
    make(machine, "x", "1")
    attach(machine, task, "x")
    assert errno_of(change, machine, machine.shell_of(0), "x", **what) == "ENOSPC"


def test_a_v1_cpuset_without_nodes_takes_no_task() -> None:
    machine = four_nodes(kernel="6.1")
    make(machine, "x", "")
    assert errno_of(attach, machine, new_task(machine), "x") == "ENOSPC"


def test_a_v2_cpuset_without_nodes_and_cpus_has_its_parents(machine: Machine, task: Task) -> None:
    make(machine, "x", "", cpus="")
    attach(machine, task, "x")
    assert (task.mems_allowed, task.cpus) == (N("0-3"), C("0"))


# Attaching


@pytest.mark.parametrize(
    ("uid", "answer", "cpuset"), [(0, None, "x"), (1000, None, "x"), (1001, "EACCES", "")]
)
def test_who_may_move_a_task(machine: Machine, uid: int, answer: str | None, cpuset: str) -> None:
    make(machine, "x", "1")
    caller, task = new_task(machine, "b", uid=uid), new_task(machine, "c", uid=1000)
    assert outcome(attach_task, machine, caller, task, "x") == answer
    assert task.cpuset == cpuset


def test_memory_follows_pair_by_pair(machine: Machine, task: Task) -> None:
    make(machine, "x", "0-1")
    make(machine, "y", "2-3")
    attach(machine, task, "x")
    set_mempolicy(machine, task, INTERLEAVE, N("0-1"))
    addr = touched(machine, task, "8KiB", node=1)
    attach(machine, task, "y")
    assert nodes_of(machine, task, addr, "8KiB") == [[2, 3]]
    assert str(task.policy) == "interleave:2-3"
    check(machine)


def test_all_old_nodes_go_to_the_one_that_is_left(machine: Machine, task: Task) -> None:
    addrs = [touched(machine, task, "8KiB", node=node) for node in (0, 2, 3)]
    make(machine, "x", "1")
    attach(machine, task, "x")
    assert [nodes_of(machine, task, addr, "8KiB") for addr in addrs] == [[[2, 1]]] * 3


def test_shared_memory_follows_too_and_held_pages_stay_silently(
    machine: Machine, task: Task
) -> None:
    addr = touched(machine, task, "16KiB")
    fork(machine, task, "b")
    hold(machine, task, addr, pins=0)
    make(machine, "x", "1")
    attach(machine, task, "x")
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 0], [3, 1]]


def test_without_memory_migrate_pages_stay() -> None:
    machine = four_nodes(kernel="6.1")
    task = new_task(machine)
    addr = touched(machine, task, "8KiB")
    make(machine, "x", "1", follows=False)
    attach(machine, task, "x")
    assert nodes_of(machine, task, addr, "8KiB") == [[2, 0]]
    change(machine, machine.shell_of(0), "x", memory_migrate=True)
    assert nodes_of(machine, task, addr, "8KiB") == [[2, 0]]
    assert nodes_of(machine, task, touched(machine, task, "8KiB"), "8KiB") == [[2, 1]]


def test_v2_always_migrates(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    make(machine, "x", "1", follows=False)
    attach(machine, task, "x")
    assert nodes_of(machine, task, addr, "8KiB") == [[2, 1]]


def test_attaching_to_the_same_cpuset_does_nothing(machine: Machine, task: Task) -> None:
    touched(machine, task, "8KiB")
    attach(machine, task, "")
    assert machine.lru_batches


def test_attaching_to_an_equal_cpuset_leaves_policies_alone(machine: Machine, task: Task) -> None:
    make(machine, "x", "0-3")
    set_mempolicy(machine, task, BIND | 0x2000, N("1"))
    before = task.policy
    attach(machine, task, "x")
    assert task.policy == before


def test_vma_policies_are_rebound(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "8KiB")
    mbind(machine, task, addr, 8192, BIND, N("1"), 0)
    make(machine, "x", "2-3")
    attach(machine, task, "x")
    assert maps(machine, task) == ["bind:3"]


def test_affinity_becomes_the_cpusets_narrowed_by_what_was_asked_for(
    machine: Machine, task: Task
) -> None:
    make(machine, "x", "0-3", cpus="1-2")
    make(machine, "y", "0-3", cpus="3")
    sched_setaffinity(machine, task, C("2-3"))
    attach(machine, task, "x")
    assert task.cpus == C("2")
    attach(machine, task, "y")
    assert task.cpus == C("3")
    change(machine, machine.shell_of(0), "y", cpus=C("0-1"))
    assert task.cpus == C("0-1")
    assert errno_of(sched_setaffinity, machine, task, C("2")) == "EINVAL"


# Changing mems


def test_memory_follows_new_mems(machine: Machine, task: Task) -> None:
    make(machine, "x", "0-1")
    attach(machine, task, "x")
    addr = touched(machine, task, "8KiB", node=1)
    write(machine, "x", "2-3")
    assert nodes_of(machine, task, addr, "8KiB") == [[2, 3]]
    assert task.mems_allowed == N("2-3")


def test_the_same_mems_again_change_nothing(machine: Machine, task: Task) -> None:
    make(machine, "x", "0-1")
    attach(machine, task, "x")
    touched(machine, task, "8KiB")
    write(machine, "x", "0-1")
    assert machine.lru_batches


def test_children_are_in_the_cpuset_of_their_parent(machine: Machine, task: Task) -> None:
    make(machine, "x", "1")
    attach(machine, task, "x")
    child = fork(machine, task, "b")
    write(machine, "x", "2")
    assert (child.cpuset, child.mems_allowed) == ("x", N("2"))


def test_a_full_target_leaves_what_does_not_fit(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "1MiB")
    touched(machine, new_task(machine, "b"), "3600KiB", node=1)
    make(machine, "x", "1")
    attach(machine, task, "x")
    (moved, _), (stayed, node) = nodes_of(machine, task, addr, "1MiB")
    assert (moved + stayed, node) == (256, 0)
    check(machine)


def test_new_mems_of_a_v1_cpuset_leave_pages_where_they_are() -> None:
    machine = four_nodes(kernel="6.1")
    task = new_task(machine)
    make(machine, "x", "0-1", follows=False)
    make(machine, "y", "0-1", follows=False)
    attach(machine, task, "x")
    attach(machine, task, "y")
    addr = touched(machine, task, "8KiB")
    write(machine, "y", "2-3")
    assert nodes_of(machine, task, addr, "8KiB") == [[2, 0]]
    assert task.mems_allowed == N("2-3")
