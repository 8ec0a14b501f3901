"""Cpusets: which nodes and CPUs a group of tasks may use. Mirrors kernel/cgroup/cpuset.c."""

from __future__ import annotations

from contextlib import suppress

from pymigrate.errors import KernelError
from pymigrate.mm.calls.cgroup import (
    CONTROLLERS,
    children_of,
    controllers,
    descendants,
    find_cpuset,
    governing,
    is_populated,
    parent_of,
    vet_subtree_control_enable,
)
from pymigrate.mm.calls.mempolicy import do_migrate_pages
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.policy import rebind
from pymigrate.mm.state.task import Cpuset, Task
from pymigrate.nodemask import Cpumask, Nodemask


def cpuset_of(machine: Machine, task: Task) -> Cpuset:
    """The cpuset that says where *task* may run and have memory."""
    return governing(machine, find_cpuset(machine, task.cpuset))


def tasks_of(machine: Machine, cpuset: Cpuset) -> list[Task]:
    """The tasks that *cpuset* governs."""
    return [task for task in machine.tasks.values() if cpuset_of(machine, task) is cpuset]


def cpuset_mems_allowed(machine: Machine, task: Task) -> Nodemask:
    """The nodes with memory that *task*'s cpuset allows."""
    return effective_mems(machine, cpuset_of(machine, task)) & machine.memory_nodes


def effective_mems(machine: Machine, cpuset: Cpuset) -> Nodemask:
    """The nodes that its tasks may use; in v2 those of the parent if it has none of them."""
    if machine.release.cpuset_v1:
        return cpuset.mems
    parent = parent_of(machine, cpuset)
    if parent is None:
        return machine.memory_nodes
    allowed = effective_mems(machine, governing(machine, parent))
    return cpuset.mems & allowed or allowed


def effective_cpus(machine: Machine, cpuset: Cpuset) -> Cpumask:
    """The CPUs that its tasks may use; in v2 those of the parent if it has none of them."""
    if machine.release.cpuset_v1:
        return cpuset.cpus
    parent = parent_of(machine, cpuset)
    if parent is None:
        return machine.cpus
    allowed = effective_cpus(machine, governing(machine, parent))
    return cpuset.cpus & allowed or allowed


def update_nodemask(machine: Machine, cpuset: Cpuset, mems: Nodemask) -> None:
    """Change a cpuset's mems: policies are rebound, and memory follows if it is to.

    In v2 any node that there may be can be named; those without memory wait for it, and the
    cpusets below follow.

    Raises KernelError EINVAL, EBUSY, EACCES, ENOSPC before anything changes. Mirrors
    update_nodemask().
    """
    if machine.release.cpuset_v1:
        if not mems.is_subset(machine.memory_nodes):
            raise KernelError("EINVAL", f"nodes {mems - machine.memory_nodes} have no memory")
    elif not mems.is_subset(machine.possible_nodes):
        raise KernelError("EINVAL", f"there can be no nodes {mems - machine.possible_nodes}")
    if mems == cpuset.mems:
        return
    _validate_change(machine, cpuset, cpuset.cpus, mems)
    cpuset.mems = mems
    for each in _cpusets_below(machine, cpuset):
        if effective_mems(machine, each) != each.old_mems:
            _update_tasks_nodemask(machine, each, each.memory_migrate)


def update_cpumask(machine: Machine, cpuset: Cpuset, cpus: Cpumask) -> None:
    """Change a cpuset's CPUs; its tasks, and those of the cpusets below, move.

    Raises KernelError EINVAL, EBUSY, EACCES, ENOSPC. Mirrors update_cpumask().
    """
    if not cpus.is_subset(machine.cpus):
        raise KernelError("EINVAL", f"CPUs {cpus - machine.cpus} do not exist")
    if cpus == cpuset.cpus:
        return
    _validate_change(machine, cpuset, cpus, cpuset.mems)
    affected = _cpusets_below(machine, cpuset)
    before = [effective_cpus(machine, each) for each in affected]
    cpuset.cpus = cpus
    for each, old in zip(affected, before, strict=True):
        if effective_cpus(machine, each) != old:
            for task in tasks_of(machine, each):
                _change_cpumask(machine, task, each)


def attach(machine: Machine, task: Task, group: Cpuset) -> None:
    """Move *task*'s process into *group*; its memory follows if that one has memory_migrate.

    Raises KernelError ENOSPC. Mirrors cpuset_can_attach() and cpuset_attach().
    """
    source, target = cpuset_of(machine, task), governing(machine, group)
    if source is not target and not (
        effective_mems(machine, target) and effective_cpus(machine, target)
    ):
        raise KernelError("ENOSPC", f"cpuset {target.name} has no CPU or no node")
    for thread in machine.threads_of(task):
        thread.cpuset = group.name
    if source is not target:
        _move(machine, task, source, target)


def write_subtree_control(
    machine: Machine, group: Cpuset, enabled: set[str], disabled: set[str]
) -> None:
    """Let the cgroups in *group* have other controllers.

    Those that are no cpusets any more have what their parent has, and lose their masks.

    Raises KernelError ENOENT, EBUSY. Mirrors cgroup_subtree_control_write().
    """
    now = set(group.subtree_control.split())
    enabled, disabled, children = enabled - now, disabled & now, children_of(machine, group)
    for word in CONTROLLERS:
        if word in enabled and word not in controllers(machine, group):
            raise KernelError("ENOENT", f"cpuset {group.name} has no controller {word}")
        if word in disabled and any(word in child.subtree_control.split() for child in children):
            raise KernelError("EBUSY", f"controller {word} is in use below")
    vet_subtree_control_enable(machine, group, enabled)
    chosen = (now | enabled) - disabled
    before = [(task, cpuset_of(machine, task)) for task in machine.processes]
    group.subtree_control = " ".join(word for word in CONTROLLERS if word in chosen)
    for task, source in before:
        target = cpuset_of(machine, task)
        if source is not target:
            _move(machine, task, source, target)
    if "cpuset" in disabled:
        for child in children:
            child.cpus, child.mems = Cpumask(), Nodemask()


def track_memory_nodes(machine: Machine) -> None:
    """Let cpusets, and their tasks' policies, follow the nodes that have memory now.

    In v1 a cpuset loses nodes for good, and its tasks if none is left. Mirrors
    cpuset_handle_hotplug().
    """
    top = machine.cpusets[""]
    top.mems = machine.memory_nodes
    for cpuset in _cpusets_below(machine, top):
        if machine.release.cpuset_v1:
            cpuset.mems &= top.mems
        allowed = effective_mems(machine, cpuset)
        if not allowed:
            for task in tasks_of(machine, cpuset):
                attach(machine, task, _not_empty(machine, cpuset))
        elif allowed != cpuset.old_mems:
            follows = cpuset.memory_migrate and cpuset is not top
            _update_tasks_nodemask(machine, cpuset, follows)


def _cpusets_below(machine: Machine, cpuset: Cpuset) -> list[Cpuset]:
    """*cpuset* and the others below it, parents first."""
    return [each for each in descendants(machine, cpuset) if governing(machine, each) is each]


def _validate_change(machine: Machine, cpuset: Cpuset, cpus: Cpumask, mems: Nodemask) -> None:
    """Raise KernelError for masks that a cpuset may not have. Mirrors validate_change()."""
    parent = parent_of(machine, cpuset)
    if machine.release.cpuset_v1 and parent is not None:
        for child in children_of(machine, cpuset):
            if not (child.cpus.is_subset(cpus) and child.mems.is_subset(mems)):
                raise KernelError("EBUSY", f"cpuset {child.name} has what {cpuset.name} would lose")
        if not (cpus.is_subset(parent.cpus) and mems.is_subset(parent.mems)):
            raise KernelError("EACCES", f"cpuset {parent.name or '/'} does not have all of that")
    if machine.release.cpuset_may_be_emptied or not is_populated(machine, cpuset):
        return
    if (cpuset.cpus and not cpus) or (cpuset.mems and not mems):
        what = "node" if cpus else "CPU"
        raise KernelError("ENOSPC", f"a cpuset with tasks needs a {what}")


def _not_empty(machine: Machine, cpuset: Cpuset) -> Cpuset:
    """The nearest ancestor that has nodes. Mirrors remove_tasks_in_empty_cpuset()."""
    parent = parent_of(machine, cpuset)
    if parent is None or parent.mems:
        return parent or cpuset
    return _not_empty(machine, parent)


def _move(machine: Machine, task: Task, source: Cpuset, target: Cpuset) -> None:
    """Let *task*'s process, which *source* has governed, have what *target* has."""
    allowed, before = effective_mems(machine, target), effective_mems(machine, source)
    alike = allowed == before and effective_cpus(machine, target) == effective_cpus(machine, source)
    if alike and not machine.release.cpuset_v1:
        target.old_mems = allowed
        return
    for thread in machine.threads_of(task):
        _change_cpumask(machine, thread, target)
        _change_nodemask(thread, allowed)
    if target.memory_migrate or allowed != before:
        _rebind_vmas(task, allowed)
    if target.memory_migrate:
        _migrate(machine, task, source.old_mems, allowed)
    target.old_mems = allowed


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
