"""clone: what threads share, and what each has of its own."""

import pytest

from pymigrate.errors import KernelError
from pymigrate.mm.balance.scan import change_prot_numa
from pymigrate.mm.check import problems
from pymigrate.mm.spaces.exit import out_of_memory
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.numa import NumaVma
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls import cpuset
from pymigrate.syscalls.checks import check_access
from pymigrate.syscalls.gup import pin, unpin
from pymigrate.syscalls.mempolicy import set_mempolicy
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.process import clone, exit_task, fork, sched_setaffinity, touch
from pymigrate.uapi import MODES
from tests.conftest import PAGE, mapped, new_task, nodes_of, touched


def test_a_thread_begins_with_its_makers_policy_and_cpus(machine: Machine, task: Task) -> None:
    set_mempolicy(machine, task, MODES["bind"], Nodemask.of(1))
    sched_setaffinity(machine, task, Cpumask.of(1))
    thread = clone(machine, task, "b")
    assert (thread.policy, thread.cpus) == (task.policy, task.cpus)
    set_mempolicy(machine, thread, MODES["default"], None)
    sched_setaffinity(machine, thread, Cpumask.of(0))
    assert str(task.policy) == "bind:1"
    assert task.cpu == 1


def test_memory_is_one_and_each_page_lies_where_its_toucher_wants(
    machine: Machine, task: Task
) -> None:
    addr = mapped(machine, task, "16KiB")
    thread = clone(machine, task, "b")
    set_mempolicy(machine, thread, MODES["bind"], Nodemask.of(1))
    touch(machine, task, addr, 2 * PAGE)
    touch(machine, thread, addr + 2 * PAGE, 2 * PAGE)
    assert nodes_of(machine, task, addr, "16KiB") == [[2, 0], [2, 1]]
    assert nodes_of(machine, thread, addr, "16KiB") == [[2, 0], [2, 1]]
    assert migrate_pages(machine, task, thread, Nodemask.of(0), Nodemask.of(1)) == 0
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 1]]


def test_memory_goes_with_the_process_and_not_with_a_thread(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    thread = clone(machine, clone(machine, task, "b"), "c")
    assert thread.tgid == task.pid
    free = machine.nodes[0].nr_free
    exit_task(machine, thread)
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 0]]
    assert [*machine.threads_of(task)] == [task, machine.task("b")]
    exit_task(machine, task)
    assert not machine.tasks
    assert machine.nodes[0].nr_free == free + 4
    assert [*problems(machine)] == []


def test_a_child_of_a_thread_is_a_process(machine: Machine, task: Task) -> None:
    child = fork(machine, clone(machine, task, "b"), "c")
    assert child.tgid == child.pid
    assert child.parent == task.name
    assert child.mm is not task.mm
    assert machine.processes == [task, child]


def test_pins_are_the_processs(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    thread = clone(machine, task, "b")
    pin(machine, thread, addr, PAGE, True)
    exit_task(machine, thread)
    assert len(machine.pins) == 1
    unpin(machine, task, addr, PAGE, True)
    assert not machine.pins


def test_the_oom_killer_ends_all_threads(machine: Machine, task: Task) -> None:
    thread = clone(machine, task, "b")
    touched(machine, thread, "16KiB")
    assert out_of_memory(machine) is task
    assert not machine.tasks


def test_a_process_moves_to_a_cpuset_with_all_its_threads(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    thread = clone(machine, task, "b")
    set_mempolicy(machine, task, MODES["interleave"], Nodemask.of(0, 1))
    root = machine.shell_of(0)
    cpuset.create(machine, root, "g", Cpumask.of(0, 1), Nodemask.of(1), memory_migrate=True)
    cpuset.attach_task(machine, root, thread, "g")
    assert (task.cpuset, thread.cpuset) == ("g", "g")
    assert task.mems_allowed == thread.mems_allowed == Nodemask.of(1)
    assert str(task.policy) == "interleave:1"
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 1]]


def test_threads_may_inspect_each_other(machine: Machine) -> None:
    task = new_task(machine, "p", uid=1000)
    thread = clone(machine, task, "q")
    task.is_dumpable = thread.is_dumpable = False
    check_access(thread, task)
    with pytest.raises(KernelError, match="not dumpable"):
        check_access(new_task(machine, "r", uid=1000), task)


def test_scans_of_a_process_with_threads_look_at_local_memory_too(
    machine: Machine, task: Task
) -> None:
    machine.numa_balancing = 1
    addr = touched(machine, task, "16KiB")
    vma = task.mm.find_vma(addr // PAGE)
    assert vma is not None
    assert change_prot_numa(machine, task, vma, vma.start, vma.end) == 0
    clone(machine, task, "b")
    assert change_prot_numa(machine, task, vma, vma.start, vma.end) == 4


def test_a_threads_first_scan_comes_two_ticks_later(machine: Machine, task: Task) -> None:
    task.numa = task.numa._replace(preferred=1, local=3, scans=7)
    thread = clone(machine, task, "b")
    assert (thread.numa.stamp, thread.numa.preferred, thread.numa.scans) == (8, 1, 0)


@pytest.mark.parametrize(("pid", "bit"), [(1, 24), (2, 48), (1000, 61), (1001, 22), (1055, 62)])
def test_the_bit_of_a_task_is_its_hashed_pid(pid: int, bit: int) -> None:
    assert NumaVma.bit_of(pid) == 1 << bit


def test_numbers_that_processes_have_are_passed_over(machine: Machine, task: Task) -> None:
    assert fork(machine, task, "b", 4000).pid == 4000
    machine.next_pid = 3999
    assert [clone(machine, task, name).pid for name in "cde"] == [3999, 4001, 4002]
    assert [*problems(machine)] == []
