"""Cpusets: which nodes and CPUs a group of tasks may use. Mirrors kernel/cgroup/cpuset.c."""

from __future__ import annotations

from contextlib import suppress

from pymigrate.errors import KernelError
from pymigrate.mm.calls.mempolicy import do_migrate_pages
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.policy import rebind
from pymigrate.mm.state.task import Cpuset, Task
from pymigrate.nodemask import Cpumask, Nodemask


def cpuset_of(machine: Machine, task: Task) -> Cpuset:
    """The cpuset that *task* is in."""
    return find_cpuset(machine, task.cpuset)


def find_cpuset(machine: Machine, name: str) -> Cpuset:
    """The cpuset *name*. Raises KernelError ENOENT."""
    if name not in machine.cpusets:
        raise KernelError("ENOENT", f"there is no cpuset {name}")
    return machine.cpusets[name]


def tasks_of(machine: Machine, cpuset: Cpuset) -> list[Task]:
    """The tasks of *cpuset*."""
    return [task for task in machine.tasks.values() if task.cpuset == cpuset.name]


def cpuset_mems_allowed(machine: Machine, task: Task) -> Nodemask:
    """The nodes with memory that *task*'s cpuset allows."""
    return effective_mems(machine, cpuset_of(machine, task)) & machine.memory_nodes


def effective_mems(machine: Machine, cpuset: Cpuset) -> Nodemask:
    """The nodes that its tasks may use; in v2 those of the parent if it has none of its own."""
    if machine.release.cpuset_v1:
        return cpuset.mems
    return cpuset.mems & machine.memory_nodes or machine.memory_nodes


def effective_cpus(machine: Machine, cpuset: Cpuset) -> Cpumask:
    """The CPUs that its tasks may use; in v2 those of the parent if it has none of its own."""
    if machine.release.cpuset_v1:
        return cpuset.cpus
    return cpuset.cpus & machine.cpus or machine.cpus


def update_nodemask(machine: Machine, cpuset: Cpuset, mems: Nodemask) -> None:
    """Change a cpuset's mems: policies are rebound, and memory follows if it is to.

    In v2 any node that there may be can be named; those without memory wait for it.

    Raises KernelError EINVAL, ENOSPC before anything changes. Mirrors update_nodemask().
    """
    if machine.release.cpuset_v1:
        if not mems.is_subset(machine.memory_nodes):
            raise KernelError("EINVAL", f"nodes {mems - machine.memory_nodes} have no memory")
    elif not mems.is_subset(machine.possible_nodes):
        raise KernelError("EINVAL", f"there can be no nodes {mems - machine.possible_nodes}")
    if mems == cpuset.mems:
        return
    tasks = tasks_of(machine, cpuset)
    if tasks and not mems and not machine.release.cpuset_may_be_emptied:
        raise KernelError("ENOSPC", "a cpuset with tasks needs a node")
    cpuset.mems = mems
    _update_tasks_nodemask(machine, cpuset, cpuset.memory_migrate)


def update_cpumask(machine: Machine, cpuset: Cpuset, cpus: Cpumask) -> None:
    """Change a cpuset's CPUs; its tasks move. Raises KernelError EINVAL, ENOSPC."""
    if not cpus.is_subset(machine.cpus):
        raise KernelError("EINVAL", f"CPUs {cpus - machine.cpus} do not exist")
    tasks = tasks_of(machine, cpuset)
    if tasks and cpuset.cpus and not cpus and not machine.release.cpuset_may_be_emptied:
        raise KernelError("ENOSPC", "a cpuset with tasks needs a CPU")
    cpuset.cpus = cpus
    for task in tasks:
        _change_cpumask(machine, task, cpuset)


def attach(machine: Machine, task: Task, target: Cpuset) -> None:
    """Move *task*'s process into *target*; its memory follows if *target* has memory_migrate.

    Raises KernelError ENOSPC. Mirrors cpuset_can_attach() and cpuset_attach().
    """
    source = cpuset_of(machine, task)
    if source is target:
        return
    allowed, before = effective_mems(machine, target), effective_mems(machine, source)
    if not allowed or not effective_cpus(machine, target):
        raise KernelError("ENOSPC", f"cpuset {target.name} has no CPU or no node")
    threads = machine.threads_of(task)
    for thread in threads:
        thread.cpuset = target.name
    alike = allowed == before and effective_cpus(machine, target) == effective_cpus(machine, source)
    if alike and not machine.release.cpuset_v1:
        target.old_mems = allowed
        return
    for thread in threads:
        _change_cpumask(machine, thread, target)
        _change_nodemask(thread, allowed)
    if target.memory_migrate or allowed != before:
        _rebind_vmas(task, allowed)
    if target.memory_migrate:
        _migrate(machine, task, source.old_mems, allowed)
    target.old_mems = allowed


def track_memory_nodes(machine: Machine) -> None:
    """Let cpusets, and their tasks' policies, follow the nodes that have memory now.

    In v1 a cpuset loses nodes for good, and its tasks if none is left. Mirrors
    cpuset_handle_hotplug().
    """
    top = machine.cpusets[""]
    top.mems = machine.memory_nodes
    for cpuset in machine.cpusets.values():
        if machine.release.cpuset_v1:
            cpuset.mems &= top.mems
        allowed = effective_mems(machine, cpuset)
        if not allowed:
            for task in tasks_of(machine, cpuset):
                attach(machine, task, top)
        elif allowed != cpuset.old_mems:
            follows = cpuset.memory_migrate and cpuset is not top
            _update_tasks_nodemask(machine, cpuset, follows)


def _update_tasks_nodemask(machine: Machine, cpuset: Cpuset, follows: bool) -> None:
    """Let tasks use what *cpuset* allows now; whether their memory *follows*.

    Mirrors update_tasks_nodemask().
    """
    allowed = effective_mems(machine, cpuset)
    for task in tasks_of(machine, cpuset):
        _change_nodemask(task, allowed)
        _rebind_vmas(task, allowed)
        if follows:
            _migrate(machine, task, cpuset.old_mems, allowed)
    cpuset.old_mems = allowed


def _change_cpumask(machine: Machine, task: Task, cpuset: Cpuset) -> None:
    cpus = effective_cpus(machine, cpuset)
    task.cpus = cpus & task.user_cpus or cpus


def _change_nodemask(task: Task, allowed: Nodemask) -> None:
    """Mirrors cpuset_change_task_nodemask()."""
    task.policy = rebind(task.policy, allowed)
    task.mems_allowed = allowed


def _rebind_vmas(task: Task, allowed: Nodemask) -> None:
    """Mirrors mpol_rebind_mm()."""
    for vma in task.mm.vmas:
        vma.policy = rebind(vma.policy, allowed)


def _migrate(machine: Machine, task: Task, old: Nodemask, new: Nodemask) -> None:
    """Move memory after its cpuset; what cannot move stays. Mirrors cpuset_migrate_mm()."""
    if old != new:
        with suppress(KernelError):
            do_migrate_pages(machine, machine.shell_of(0), task.mm, old, new, move_all=True)
