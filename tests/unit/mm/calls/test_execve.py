"""start: what a process that executes a program has of the one that starts it."""

import pytest

from pymigrate.mm.check import problems
from pymigrate.mm.state.machine import Machine, region_of
from pymigrate.mm.state.numa import Faults
from pymigrate.mm.state.task import CAP_FULL, AccessPattern, Cap, Cred, Task
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls import cpuset, cred
from pymigrate.syscalls.mempolicy import get_mempolicy, set_mempolicy
from pymigrate.syscalls.process import clone, exit_task, fork, sched_setaffinity, start
from pymigrate.uapi import MODES
from tests.conftest import mapped, nodes_of, touched


def test_what_the_shell_starts_may_run_anywhere(machine: Machine) -> None:
    made = start(machine, machine.shell_of(26), "worker")
    assert (made.pid, made.name, made.comm, made.uid) == (1000, "worker", "worker", 26)
    assert (made.cpus, made.mems_allowed) == (Cpumask.of(0, 1), Nodemask.of(0, 1))
    assert (made.policy, made.cpuset, made.parent, made.mm.vmas) == (None, "", "", [])
    assert machine.tasks[1000] is made
    assert [*problems(machine)] == []


def test_it_can_map_and_touch(machine: Machine) -> None:
    free = machine.nodes[0].nr_free
    made = start(machine, machine.shell_of(0), "worker")
    addr = touched(machine, made, "16KiB")
    assert nodes_of(machine, made, addr, "16KiB") == [[4, 0]]
    exit_task(machine, made)
    assert machine.nodes[0].nr_free == free
    assert not machine.tasks


def test_policy_cpus_and_cpuset_are_the_callers(machine: Machine, task: Task) -> None:
    cpuset.create(machine, machine.shell_of(0), "c", Cpumask.of(1), Nodemask.of(1), False)
    cpuset.attach_task(machine, machine.shell_of(0), task, "c")
    set_mempolicy(machine, task, MODES["bind"], Nodemask.of(1))
    made = start(machine, task, "b")
    assert get_mempolicy(machine, made, 0, 0).mode == MODES["bind"]
    assert (made.cpuset, made.cpus, made.parent) == ("c", Cpumask.of(1), task.name)
    sched_setaffinity(machine, task, Cpumask.of(1))
    set_mempolicy(machine, task, MODES["default"], Nodemask())
    assert get_mempolicy(machine, made, 0, 0).mode == MODES["bind"]


def test_memory_its_names_and_its_accesses_stay_behind(machine: Machine, task: Task) -> None:
    mapped(machine, task, "16KiB")
    task.accesses.append(AccessPattern("heap", 1.0))
    task.numa_faults[0, 0] = Faults(1)
    made = start(machine, task, "b")
    assert (made.mm.vmas, made.accesses, made.numa_faults) == ([], [], {})
    assert made.mm.family != task.mm.family
    names = [name for who, name in machine.regions if who == task.name]
    assert all(region_of(machine, made, name) is None for name in names)
    child = fork(machine, task, "c")
    assert all(region_of(machine, child, name) for name in names)


def test_what_a_thread_starts_is_a_process(machine: Machine, task: Task) -> None:
    made = start(machine, clone(machine, task, "thread"), "b")
    assert (made.tgid, made.parent) == (made.pid, task.name)
    assert machine.processes == [task, made]


@pytest.mark.parametrize(
    ("before", "after", "may_nice"),
    [
        (Cred(0, caps=0, permitted=0), Cred(0, 0, 0), True),  # root has all again
        (Cred(26, caps=CAP_FULL, permitted=CAP_FULL), Cred(26, 26, 26), False),
        (Cred(0, 26, 0, caps=0), Cred(0, 26, 26, -1, None, CAP_FULL), False),
        (Cred(26, 0, 0), Cred(26, 0, 0), True),
    ],
)
def test_capabilities_are_those_of_the_user(
    machine: Machine, task: Task, before: Cred, after: Cred, may_nice: bool
) -> None:
    task.cred = before
    made = start(machine, task, "b")
    assert made.cred == after
    assert made.has(Cap.SYS_NICE) is may_nice
    assert made.is_dumpable is (after.uid == after.euid)


def test_others_of_its_user_may_inspect_it_again(machine: Machine, task: Task) -> None:
    cred.set_dumpable(machine, task, False)
    assert start(machine, task, "b").is_dumpable


@pytest.mark.parametrize(
    ("comm", "kept"), [("x" * 20, "x" * 15), ("é" * 9, "é" * 7), ("", ""), ("a b", "a b")]
)
def test_comm_has_15_bytes(machine: Machine, comm: str, kept: str) -> None:
    assert start(machine, machine.shell_of(0), "b", comm).comm == kept
