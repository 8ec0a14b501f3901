"""Cgroups as cpusets: making and removing them, writing their files, attaching tasks."""

from contextlib import suppress
from typing import TypeVar

from pymigrate.errors import KernelError
from pymigrate.mm.calls.cgroup import (
    CONTROLLERS,
    check_removable,
    find_cpuset,
    is_cpuset,
    migrate_vet_dst,
    parent_name,
)
from pymigrate.mm.calls.cpuset import (
    attach,
    effective_mems,
    update_cpumask,
    update_nodemask,
    write_subtree_control,
)
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Cpuset, Task
from pymigrate.nodemask import Bitmap, Cpumask, Nodemask
from pymigrate.syscalls.checks import check_root, system_call
from pymigrate.units import MAX_NUMNODES

B = TypeVar("B", bound=Bitmap)
_ONLY_ROOT = "the files of a cpuset belong to root"


@system_call
def create(
    machine: Machine,
    caller: Task,
    name: str,
    cpus: Cpumask,
    mems: Nodemask,
    memory_migrate: bool,
) -> Cpuset:
    """Make cpuset *name*. Without cgroup v1 memory always follows, whatever *memory_migrate* says.

    One that is to lie in another is made a cpuset by that one's cgroup.subtree_control first.

    Raises KernelError as make() and change() do; EINVAL and the like with the cpuset being made.
    """
    check_root(caller, _ONLY_ROOT)
    parent = find_cpuset(machine, parent_name(name))
    if not machine.release.cpuset_v1:
        with suppress(KernelError):
            write_subtree_control(machine, parent, {"cpuset"}, set())
    cpuset = make(machine, caller, name, memory_migrate)
    change(machine, caller, name, cpus, mems)
    cpuset.old_mems = effective_mems(machine, cpuset)
    return cpuset


@system_call
def make(machine: Machine, caller: Task, name: str, memory_migrate: bool = False) -> Cpuset:
    """Make a cgroup that has what its parent has; in v1 it has nothing.

    Raises KernelError EACCES, ENOENT, EEXIST. Mirrors cgroup_mkdir().
    """
    check_root(caller, _ONLY_ROOT)
    find_cpuset(machine, parent_name(name))
    if name in machine.cpusets or name.rpartition("/")[2] in ("", ".", ".."):
        raise KernelError("EEXIST", f"cpuset {name} exists")
    follows = memory_migrate or not machine.release.cpuset_v1
    cpuset = machine.cpusets[name] = Cpuset(name, Cpumask(), Nodemask(), follows, Nodemask())
    cpuset.old_mems = effective_mems(machine, cpuset)
    return cpuset


@system_call
def remove(machine: Machine, caller: Task, name: str) -> None:
    """Remove a cpuset that has no tasks, and none in it.

    Raises KernelError EACCES, ENOENT, EBUSY. Mirrors cgroup_rmdir().
    """
    check_root(caller, _ONLY_ROOT)
    check_removable(machine, find_cpuset(machine, name))
    del machine.cpusets[name]


@system_call
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
    if not is_cpuset(machine, cpuset):
        raise KernelError("ENOENT", f"{name} is no cpuset: its parent's controllers are others")
    if memory_migrate is not None and machine.release.cpuset_v1:
        cpuset.memory_migrate = memory_migrate
    if cpus is not None:
        update_cpumask(machine, cpuset, cpus)
    if mems is not None:
        update_nodemask(machine, cpuset, mems)


def cpulist(machine: Machine, text: str) -> Cpumask:
    """The CPUs that a text for cpuset.cpus names.

    Raises KernelError EINVAL; ERANGE for one above the last. Mirrors cpulist_parse().
    """
    return _list(Cpumask, text, max(machine.cpus) + 1)


def nodelist(text: str) -> Nodemask:
    """The nodes that a text for cpuset.mems names.

    Raises KernelError EINVAL; ERANGE for one that no machine can have. Mirrors nodelist_parse().
    """
    return _list(Nodemask, text, MAX_NUMNODES)


@system_call
def attach_task(machine: Machine, caller: Task, task: Task, name: str) -> None:
    """Move *task* into cpuset *name*.

    Raises KernelError EACCES, ENOENT, EBUSY, ENOSPC. Mirrors cgroup_attach_task().
    """
    if caller.fsuid not in (0, task.uids[0], task.uids[2]):
        raise KernelError("EACCES", f"uid {caller.fsuid} may not move a process of uid {task.uid}")
    group = find_cpuset(machine, name)
    migrate_vet_dst(machine, group)
    attach(machine, task, group)


@system_call
@system_call
def subtree_control(machine: Machine, caller: Task, name: str, text: str) -> None:
    """Write cgroup.subtree_control: words such as `+cpuset` and `-memory`.

    Raises KernelError EACCES, ENOENT, EINVAL, EBUSY.
    """
    check_root(caller, _ONLY_ROOT)
    group = find_cpuset(machine, name)
    chosen: dict[str, set[str]] = {"+": set(), "-": set()}
    for word in text.split():
        sign, controller = word[0], word[1:]
        if sign not in chosen or controller not in CONTROLLERS:
            raise KernelError("EINVAL", f"{word[:20]!r} names no controller")
        chosen["-" if sign == "+" else "+"].discard(controller)
        chosen[sign].add(controller)
    write_subtree_control(machine, group, chosen["+"], chosen["-"])


def _list(kind: type[B], text: str, nbits: int) -> B:
    """A list as it is written to a cpuset's file. Raises KernelError EINVAL, ERANGE."""
    try:
        return kind.parselist(text, nbits)
    except OverflowError as error:
        raise KernelError("ERANGE", str(error)) from None
    except ValueError as error:
        raise KernelError("EINVAL", str(error)) from None
