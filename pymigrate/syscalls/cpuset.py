"""The cpuset files of a cgroup: making one, writing its masks, attaching tasks."""

from pymigrate.errors import KernelError
from pymigrate.mm.calls.cpuset import (
    attach,
    effective_mems,
    find_cpuset,
    update_cpumask,
    update_nodemask,
)
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Cpuset, Task
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls.checks import check_root

_ONLY_ROOT = "the files of a cpuset belong to root"


def create(
    machine: Machine,
    caller: Task,
    name: str,
    cpus: Cpumask,
    mems: Nodemask,
    memory_migrate: bool,
) -> Cpuset:
    """Make cpuset *name*. Without cgroup v1 memory always follows, whatever *memory_migrate* says.

    Raises KernelError EACCES, EEXIST; EINVAL for CPUs or nodes that do not exist, the cpuset
    being made.
    """
    check_root(caller, _ONLY_ROOT)
    if name in machine.cpusets:
        raise KernelError("EEXIST", f"cpuset {name} exists")
    follows = memory_migrate or not machine.release.cpuset_v1
    cpuset = Cpuset(name, Cpumask(), Nodemask(), follows, Nodemask())
    machine.cpusets[name] = cpuset
    update_cpumask(machine, cpuset, cpus)
    update_nodemask(machine, cpuset, mems)
    cpuset.old_mems = effective_mems(machine, cpuset)
    return cpuset


def change(
    machine: Machine,
    caller: Task,
    name: str,
    cpus: Cpumask | None = None,
    mems: Nodemask | None = None,
    memory_migrate: bool | None = None,
) -> None:
    """Write those files of cpuset *name* that are given; when it returns its memory has moved.

    Raises KernelError EACCES, ENOENT, EINVAL, ENOSPC; files written before the refused one stay
    written. The cpuset that all tasks begin in cannot be changed.
    """
    check_root(caller, _ONLY_ROOT)
    if not name:
        raise KernelError("EACCES", "the cpuset that all tasks begin in cannot be changed")
    cpuset = find_cpuset(machine, name)
    if memory_migrate is not None and machine.release.cpuset_v1:
        cpuset.memory_migrate = memory_migrate
    if cpus is not None:
        update_cpumask(machine, cpuset, cpus)
    if mems is not None:
        update_nodemask(machine, cpuset, mems)


def attach_task(machine: Machine, caller: Task, task: Task, name: str) -> None:
    """Move *task* into cpuset *name*. Raises KernelError ENOENT, EACCES, ENOSPC."""
    if caller.uid not in (0, task.uid):
        raise KernelError("EACCES", f"uid {caller.uid} may not move a process of uid {task.uid}")
    attach(machine, task, find_cpuset(machine, name))
