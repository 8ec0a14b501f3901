"""Tasks that leave their group."""

from __future__ import annotations

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.numa import Faults
from pymigrate.mm.state.task import Task


def leave_group(machine: Machine, task: Task) -> None:
    """Take *task* out of its group, with its faults. Mirrors task_numa_free()."""
    group = machine.numa_groups.get(task.numa.group)
    if group is None:
        return
    for key, faults in task.numa_faults.items():
        old = group.faults.get(key, Faults())
        group.faults[key] = Faults(old.mem - faults.mem, old.cpu - faults.cpu)
    group.nr_tasks -= 1
    if not group.nr_tasks:
        del machine.numa_groups[group.gid]
    task.numa = task.numa._replace(group=0)
