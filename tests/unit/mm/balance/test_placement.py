"""What hint faults teach: preferred nodes, scan periods, groups."""

import pytest

from pymigrate.mm.balance.placement import (
    NO_CPUPID,
    HintFault,
    cpupid_of,
    task_numa_fault,
    task_numa_group,
    task_numa_placement,
)
from pymigrate.mm.balance.scan import task_numa_work
from pymigrate.mm.spaces.exit import leave_group
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.numa import Faults, NumaGroup
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.mempolicy import mbind
from pymigrate.syscalls.process import exit_task, touch
from pymigrate.uapi import BALANCING, MPOL
from tests.conftest import PAGE, mapped, new_file, new_task, nodes_of, nodes_with, touched
from tests.unit.mm.conftest import with_task


def fault(nid: int, pages: int = 1, **how: int | bool) -> HintFault:
    """A task's own pages on a node, seen for the first time."""
    return HintFault(NO_CPUPID, nid, pages, False, False, True)._replace(**how)


def begin_round(task: Task) -> None:
    task.mm.numa = task.mm.numa._replace(seq=task.mm.numa.seq + 1)


def judged(machine: Machine, task: Task, *faults: HintFault) -> None:
    """Let those faults be a round, and look at it."""
    for each in faults:
        task_numa_fault(machine, task, each)
    begin_round(task)
    task_numa_placement(machine, task)


def test_round_is_judged_before_a_fault_of_the_next_counts(machine: Machine, task: Task) -> None:
    task_numa_fault(machine, task, fault(1, 8))
    begin_round(task)
    task_numa_fault(machine, task, fault(0, 5, is_local=True))
    assert task.numa_faults == {
        (1, 1): Faults(mem=8),
        (0, 1): Faults(mem_buffer=5, cpu=65536 * 8 // 9, cpu_buffer=5),
    }
    assert (task.numa.local, task.numa.remote, task.numa.preferred) == (5, 8, 1)


def test_faults_decay_by_half_from_round_to_round(machine: Machine, task: Task) -> None:
    judged(machine, task, fault(1, 100))
    judged(machine, task, fault(1, 10))
    assert task.numa_faults[1, 1].mem == 60
    judged(machine, task)
    assert task.numa_faults[1, 1].mem == 30


def test_preferred_node_is_that_of_most_faults_and_stays(machine: Machine, task: Task) -> None:
    judged(machine, task, fault(0, 10), fault(1, 20))
    assert task.numa.preferred == 1
    judged(machine, task)
    assert task.numa.preferred == 1
    task.numa_faults.clear()
    judged(machine, task)
    assert task.numa.preferred == 1


def test_preferred_node_has_cpus() -> None:
    machine, task = with_task(nodes_with("64MiB", "64MiB", "64MiB", cpus=("0", "", "1")))
    judged(machine, task, fault(1, 20))
    assert task.numa.preferred == 0


@pytest.mark.parametrize(
    ("faults", "period"),
    [
        ([], 4000),
        ([fault(1, 10)], 4000),
        ([fault(0, 10, is_local=True)], 2600),
        ([fault(0, 10, is_local=True, has_failed=True)], 4000),
        ([fault(0, 8, is_local=True), fault(1, 8, last=99 << 16)], 2000 - 2 * 200),
        ([fault(0, 8, is_local=True, last=99 << 16), fault(1, 2)], 2200),
        ([fault(1, 10, last=99 << 16)], 1000),
        ([fault(0, 7, is_local=True), fault(1, 3, last=99 << 16)], 2200),
    ],
    ids=[
        "no faults",
        "remote and private",
        "local and private",
        "a failure",
        "half and half",
        "local and shared",
        "remote and shared: down to the least",
        "seven tenths private",
    ],
)
def test_scan_period_follows_from_the_shares_of_a_round(
    machine: Machine, task: Task, faults: list[HintFault], period: int
) -> None:
    task.numa = task.numa._replace(period=2000)
    judged(machine, task, *[each._replace(may_group=False) for each in faults])
    assert task.numa.period == period


def test_period_that_doubles_puts_off_the_next_scan(machine: Machine, task: Task) -> None:
    machine.now, task.numa = 5000, task.numa._replace(period=3000)
    judged(machine, task, fault(1, 10))
    assert task.mm.numa.next_scan == 11000
    assert task.numa.remote == 10


def test_period_grows_to_the_longest_one(machine: Machine, task: Task) -> None:
    for _ in range(8):
        judged(machine, task)
    assert task.numa.period == 60000


def test_fault_in_slow_memory_teaches_nothing_unless_the_page_was_seen_before() -> None:
    machine = nodes_with("64MiB", "64MiB", cpus=("0", ""))
    machine.nodes[1].adistance = 3456
    task = new_task(machine)
    task_numa_fault(machine, task, fault(1))
    assert task.numa_faults == {}
    task_numa_fault(machine, task, fault(1, last=cpupid_of(task)))
    assert task.numa.remote == 1
    machine.numa_balancing = 2
    task_numa_fault(machine, task, fault(1, last=cpupid_of(task)))
    assert task.numa.remote == 1


def shared_memory(machine: Machine, *tasks: Task) -> list[int]:
    """A shared object on node 1 that each of *tasks* maps, and that may follow them."""
    space = new_file(machine, "16KiB")
    nodes = Nodemask.of(0, 1)
    addrs = []
    for number, task in enumerate(tasks):
        map_ = mapped if number else touched
        how = {} if number else {"node": 1}
        addr = map_(machine, task, "16KiB", is_shared=True, space=space, **how)
        mbind(machine, task, addr, 4 * PAGE, MPOL.BIND | BALANCING, nodes, 0)
        touch(machine, task, addr, 4 * PAGE)
        addrs.append(addr)
    return addrs


def use(machine: Machine, task: Task, addr: int) -> None:
    """Scan, then use the memory."""
    machine.now += 5000
    task_numa_work(machine, task)
    touch(machine, task, addr, 4 * PAGE)


def test_tasks_that_share_pages_become_a_group(machine: Machine, task: Task) -> None:
    other = new_task(machine, "b", cpu=1)
    [ours, theirs] = shared_memory(machine, task, other)
    for _ in range(3):
        use(machine, task, ours)
        use(machine, other, theirs)
    [group] = machine.numa_groups.values()
    assert group.nr_tasks == 2
    assert task.numa.group == other.numa.group == group.gid
    exit_task(machine, other)
    assert group.nr_tasks == 1
    exit_task(machine, task)
    assert machine.numa_groups == {}


def test_group_has_the_faults_of_its_tasks(machine: Machine, task: Task) -> None:
    task.numa_faults = {(0, 1): Faults(5, 6), (1, 0): Faults(1, 2)}
    machine.numa_groups[9] = NumaGroup(9, 2, faults={(0, 1): Faults(15, 16)})
    task.numa = task.numa._replace(group=9)
    leave_group(machine, task)
    assert machine.numa_groups[9].faults == {(0, 1): Faults(10, 10), (1, 0): Faults(-1, -2)}
    assert (machine.numa_groups[9].nr_tasks, task.numa.group) == (1, 0)


def test_page_of_two_nodes_moves_after_two_faults_from_one(machine: Machine, task: Task) -> None:
    other = new_task(machine, "b", cpu=1)
    task.numa = other.numa = task.numa._replace(preferred=0, seq=5)
    [ours, theirs] = shared_memory(machine, task, other)
    use(machine, task, ours)  # nobody was seen before
    assert nodes_of(machine, task, ours, "16KiB") == [[4, 0]]
    use(machine, other, theirs)  # last seen on node 0
    assert nodes_of(machine, task, ours, "16KiB") == [[4, 0]]
    use(machine, other, theirs)  # twice in a row from node 1
    assert nodes_of(machine, task, ours, "16KiB") == [[4, 1]]


@pytest.mark.parametrize(
    ("is_shared", "is_private", "nr_tasks"), [(False, True, 1), (True, False, 2)]
)
def test_only_shared_pages_make_a_group(
    machine: Machine, task: Task, is_shared: bool, is_private: bool, nr_tasks: int
) -> None:
    other = new_task(machine, "b", cpu=1)
    for each in (task, other):
        assert not task_numa_group(machine, each, fault(0))
    seen = fault(0, last=cpupid_of(other), is_shared=is_shared)
    assert task_numa_group(machine, task, seen) is is_private
    assert machine.numa_groups[other.numa.group].nr_tasks == nr_tasks
