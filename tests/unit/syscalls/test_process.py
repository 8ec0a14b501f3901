"""Affinity, and accesses at a stride."""

import pytest

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls.mempolicy import set_mempolicy
from pymigrate.syscalls.process import exit_task, fork, sched_setaffinity, touch
from tests.conftest import PAGE, errno_of, mapped, new_file, new_task, nodes_of, nodes_with
from tests.property.invariants import check, entries, sharing


def test_affinity_is_cut_to_the_cpus_that_exist() -> None:
    machine = nodes_with("4MiB", "4MiB", cpus=("0-1", "2"))
    task = new_task(machine)
    sched_setaffinity(machine, task, Cpumask.of(2, 9))
    assert (task.cpus, machine.local_node(task)) == (Cpumask.of(2), 1)
    assert errno_of(sched_setaffinity, machine, task, Cpumask.of(9)) == "EINVAL"
    assert errno_of(sched_setaffinity, machine, task, Cpumask()) == "EINVAL"


def test_pages_stay_when_the_task_moves(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "8KiB")
    touch(machine, task, addr, PAGE)
    sched_setaffinity(machine, task, Cpumask.of(1))
    touch(machine, task, addr, 2 * PAGE)
    assert nodes_of(machine, task, addr, "8KiB") == [[1, 0], [1, 1]]


def test_a_task_forks_and_exits(machine: Machine, task: Task) -> None:
    child = fork(machine, task, "b")
    exit_task(machine, task)
    assert list(machine.tasks.values()) == [child]


@pytest.mark.parametrize(
    ("length", "stride", "expected"),
    [
        pytest.param(0, PAGE, [[8, -1]], id="nothing"),
        pytest.param(1, PAGE, [[1, 0], [7, -1]], id="a byte"),
        pytest.param(4097, PAGE, [[2, 0], [6, -1]], id="a byte more than a page"),
        pytest.param(8 * PAGE, 100, [[8, 0]], id="several in a page"),
        pytest.param(8 * PAGE, 3 * PAGE, [[1, 0], [2, -1]] * 2 + [[1, 0], [1, -1]], id="every 3rd"),
        pytest.param(8 * PAGE, 5000, [[5, 0], [1, -1], [2, 0]], id="an odd stride"),
    ],
)
def test_one_access_at_each_stride(
    machine: Machine, task: Task, length: int, stride: int, expected: list[list[int]]
) -> None:
    addr = mapped(machine, task, "32KiB")
    assert touch(machine, task, addr, length, stride=stride) is None
    assert nodes_of(machine, task, addr, "32KiB") == expected


def test_the_first_access_that_faults_ends_it(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB", space=new_file(machine, "8KiB"), is_shared=True)
    assert touch(machine, task, addr, 4 * PAGE, stride=2 * PAGE) == "SIGBUS"
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 0], [3, -1]]


@pytest.mark.parametrize("mode", [0, 2, 3, 6], ids=["default", "bind", "interleave", "weighted"])
@pytest.mark.parametrize("step", [2, 3, 4])
@pytest.mark.parametrize("is_full", [False, True], ids=["room", "full"])
@pytest.mark.parametrize("prepared", ["empty", "partly there", "locked"])
def test_many_strided_stores_are_as_many_single_ones(
    mode: int, step: int, is_full: bool, prepared: str
) -> None:
    ends = []
    for is_one_by_one in (False, True):
        machine = nodes_with("4MiB", "4MiB", "4MiB")
        machine.weights = {1: 2}
        task = new_task(machine)
        if is_full:
            touch(machine, task, mapped(machine, task, "3800KiB"), 3800 << 10)
        nodes = Nodemask.of(0, 1) if mode else Nodemask()
        set_mempolicy(machine, task, mode, nodes)
        addr = mapped(machine, task, "512KiB")
        if prepared == "partly there":
            touch(machine, task, addr + 9 * PAGE, 30 * PAGE, write=False)
            touch(machine, task, addr + 20 * PAGE, 3 * PAGE)
        elif prepared == "locked":
            task.mm.vmas[-1].flags |= 0x2000
        if is_one_by_one:
            for page in range(1, 128, step):
                touch(machine, task, addr + page * PAGE, PAGE)
        else:
            touch(machine, task, addr + PAGE, 127 * PAGE, stride=step * PAGE)
        check(machine)
        pages = {entry.lanes[0]: entry.start for entry in entries(task.mm)}
        waiting = [(b.waiting, b.mlocked) for b in machine.lru_batches.values()]
        ends.append(
            (
                nodes_of(machine, task, addr, "512KiB"),
                sharing(machine),
                machine.counters,
                [(node.nr_free, node.numa) for node in machine.nodes.values()],
                [[pages[pfn] for pfn in queue] for queues in waiting for queue in queues],
            )
        )
    assert ends[0] == ends[1]
