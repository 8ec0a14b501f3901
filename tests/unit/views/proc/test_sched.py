"""/proc/PID/sched and /proc/PID/limits."""

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.numa import Faults, NumaGroup
from pymigrate.syscalls.process import touch
from pymigrate.views.proc import sched
from tests.conftest import new_task, touched


def test_sched_ends_with_what_balancing_remembers(machine: Machine) -> None:
    task = new_task(machine, cpu=1)
    task.numa = task.numa._replace(runtime=1234567, preferred=1, migrated=300, group=9)
    task.numa_faults = {(0, 1): Faults(mem=5), (1, 0): Faults(mem=7, cpu=2)}
    machine.numa_groups[9] = NumaGroup(9, faults={(1, 1): Faults(mem=20)}, leader=77)
    lines = sched.sched(machine, task).splitlines()
    assert lines[0] == "a (1000, #threads: 1)"
    assert lines[4] == "se.sum_exec_runtime                          :          1234.567000"
    assert lines[-6:] == [
        "numa_pages_migrated                          :                  300",
        "numa_preferred_nid                           :                    1",
        "total_numa_faults                            :                   12",
        "current_node=1, numa_group_id=77",
        "numa_faults node=0 task_private=5 task_shared=0 group_private=0 group_shared=0",
        "numa_faults node=1 task_private=0 task_shared=7 group_private=20 group_shared=0",
    ]


def test_limits_are_in_columns(machine: Machine) -> None:
    lines = sched.limits(machine).splitlines()
    assert lines[0] == f"{'Limit':25} {'Soft Limit':20} {'Hard Limit':20} {'Units':10}"
    assert lines[8].split() == ["Max", "open", "files", "1024", "4096", "files"]
    assert {line.index("unlimited", 40) for line in lines[1:4]} == {47}


def test_there_may_be_as_many_processes_as_there_is_memory_for(machine: Machine) -> None:
    lines = sched.limits(machine).splitlines()
    nr_pages = sum(node.nr_pages for node in machine.nodes.values())
    number = str(nr_pages // 64)
    assert lines[7].split() == ["Max", "processes", number, number, "processes"]
    assert lines[12].split() == ["Max", "pending", "signals", number, number, "signals"]


def test_pages_that_came_to_a_task_are_counted_for_it(machine: Machine) -> None:
    machine.numa_balancing = 1
    task = new_task(machine, cpu=1)
    start = touched(machine, task, "1MiB")
    touch(machine, task, start, 1 << 20, seconds=6)
    assert task.numa.migrated == machine.counters["numa_pages_migrated"] == 256
