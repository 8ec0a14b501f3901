"""The tree of cgroups that cpusets are in: parents, children, controllers.

In v1 each cgroup is a cpuset. In v2 it is one if its parent's cgroup.subtree_control says so; else
its tasks have what the nearest ancestor that is one has. Mirrors kernel/cgroup/cgroup.c.
"""

from __future__ import annotations

from pymigrate.errors import KernelError
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Cpuset, Task

CONTROLLERS = ("cpuset", "memory")  # those of v2 that are simulated, in the kernel's order
_THREADED = frozenset({"cpuset"})  # that let tasks of a cgroup and of its children compete


def find_cpuset(machine: Machine, name: str) -> Cpuset:
    """The cpuset *name*. Raises KernelError ENOENT."""
    if name not in machine.cpusets:
        raise KernelError("ENOENT", f"there is no cpuset {name}")
    return machine.cpusets[name]


def parent_name(name: str) -> str:
    """The name of the cgroup that *name* lies in.

    >>> parent_name("a/b"), parent_name("a")
    ('a', '')
    """
    return name.rpartition("/")[0]


def parent_of(machine: Machine, group: Cpuset) -> Cpuset | None:
    """The cgroup that *group* lies in; None for the first."""
    return machine.cpusets[parent_name(group.name)] if group.name else None


def children_of(machine: Machine, group: Cpuset) -> list[Cpuset]:
    """Those that lie in *group*."""
    return [each for each in machine.cpusets.values() if parent_of(machine, each) is group]


def is_below(name: str, ancestor: str) -> bool:
    """Whether *name* is *ancestor*, or lies somewhere in it.

    >>> is_below("a/b", "a"), is_below("ab", "a"), is_below("a", "")
    (True, False, True)
    """
    return not ancestor or f"{name}/".startswith(f"{ancestor}/")


def descendants(machine: Machine, group: Cpuset) -> list[Cpuset]:
    """*group* with all that lie in it, parents first. Mirrors cpuset_for_each_descendant_pre()."""
    return [each for each in machine.cpusets.values() if is_below(each.name, group.name)]


def processes_below(machine: Machine, name: str) -> list[Task]:
    """The processes in *name*, and in those that lie in it."""
    return [task for task in machine.processes if is_below(task.cpuset, name)]


def is_populated(machine: Machine, group: Cpuset) -> bool:
    """Whether *group*, or one in it, has tasks. Mirrors cgroup_is_populated()."""
    return any(is_below(task.cpuset, group.name) for task in machine.tasks.values())


def controllers(machine: Machine, group: Cpuset) -> tuple[str, ...]:
    """What cgroup.controllers says. Mirrors cgroup_control()."""
    parent = parent_of(machine, group)
    return CONTROLLERS if parent is None else tuple(parent.subtree_control.split())


def is_cpuset(machine: Machine, group: Cpuset) -> bool:
    """Whether *group* has CPUs and nodes of its own."""
    return machine.release.cpuset_v1 or "cpuset" in controllers(machine, group)


def governing(machine: Machine, group: Cpuset) -> Cpuset:
    """The cpuset whose CPUs and nodes the tasks of *group* have. Mirrors cgroup_e_css()."""
    parent = parent_of(machine, group)
    if parent is None or is_cpuset(machine, group):
        return group
    return governing(machine, parent)


def migrate_vet_dst(machine: Machine, group: Cpuset) -> None:
    """Check that *group* may have tasks, beside its ancestors and children.

    Raises KernelError EOPNOTSUPP, EBUSY. Mirrors cgroup_migrate_vet_dst().
    """
    if machine.release.cpuset_v1:
        return
    _check_domain(machine, group)
    if group.name and group.subtree_control and not _can_be_thread_root(machine, group):
        raise KernelError("EBUSY", f"the controllers of cpuset {group.name} are for those in it")


def vet_subtree_control_enable(machine: Machine, group: Cpuset, enabled: set[str]) -> None:
    """Check that *group* may let those in it have *enabled*, though it may have tasks.

    Raises KernelError EOPNOTSUPP, EBUSY. Mirrors cgroup_vet_subtree_control_enable().
    """
    if not enabled:
        return
    _check_domain(machine, group)
    if not group.name:
        return
    if enabled <= _THREADED:
        if _can_be_thread_root(machine, group):
            return
    elif _is_thread_root(machine, group):
        raise KernelError("EOPNOTSUPP", f"cpuset {group.name} has tasks beside those in it")
    if _has_tasks(machine, group):
        raise KernelError("EBUSY", f"cpuset {group.name} has tasks")


def check_removable(machine: Machine, group: Cpuset) -> None:
    """Raise KernelError EBUSY for what has tasks or children. Mirrors cgroup_destroy_locked()."""
    if not group.name or children_of(machine, group):
        raise KernelError("EBUSY", f"cpuset {group.name or '/'} has others in it")
    if is_populated(machine, group):
        raise KernelError("EBUSY", f"cpuset {group.name} has tasks")


def _has_tasks(machine: Machine, group: Cpuset) -> bool:
    """Mirrors cgroup_has_tasks()."""
    return any(task.cpuset == group.name for task in machine.tasks.values())


def _check_domain(machine: Machine, group: Cpuset) -> None:
    """Raise KernelError EOPNOTSUPP below a thread root. Mirrors cgroup_is_valid_domain()."""
    parent = parent_of(machine, group)
    if parent is None:
        return
    if _is_thread_root(machine, parent):
        raise KernelError("EOPNOTSUPP", f"cpuset {parent.name} has tasks beside those in it")
    _check_domain(machine, parent)


def _is_thread_root(machine: Machine, group: Cpuset) -> bool:
    """Whether it has tasks, and controllers for those in it. Mirrors cgroup_is_thread_root()."""
    threaded = _THREADED & set(group.subtree_control.split())
    return bool(group.name and threaded and _has_tasks(machine, group))


def _can_be_thread_root(machine: Machine, group: Cpuset) -> bool:
    """Mirrors cgroup_can_be_thread_root()."""
    if set(group.subtree_control.split()) - _THREADED:
        return False
    return not any(is_populated(machine, child) for child in children_of(machine, group))
