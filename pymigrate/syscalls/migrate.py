"""migrate_pages(2) and move_pages(2)."""

from collections.abc import Sequence

from pymigrate.errors import KernelError
from pymigrate.mm.calls.cpuset import cpuset_mems_allowed
from pymigrate.mm.calls.mempolicy import do_migrate_pages
from pymigrate.mm.calls.move_pages import MovePagesResult, do_pages_move, do_pages_stat
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Cap, Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.checks import check_access, system_call
from pymigrate.uapi import MPOL_MF_MOVE, MPOL_MF_MOVE_ALL
from pymigrate.units import PAGE_SHIFT


@system_call
def migrate_pages(
    machine: Machine, caller: Task, target: Task, old: Nodemask, new: Nodemask
) -> int:
    """Move *target*'s pages from nodes *old* to nodes *new*; return how many folios stayed behind.

    Nodes are paired by rank. Shared folios stay, uncounted, unless *caller* has CAP_SYS_NICE.

    Raises KernelError: EPERM, then EINVAL, before any page moves; ENOMEM with those that moved
    left moved. Mirrors kernel_migrate_pages(), mm/mempolicy.c.
    """
    check_access(caller, target)
    allowed = cpuset_mems_allowed(machine, target)
    is_nice = caller.has(Cap.SYS_NICE)
    if not is_nice and not new.is_subset(allowed):
        raise KernelError(
            "EPERM",
            f"nodes {new - allowed} are not allowed to process {target.pid}"
            " (CAP_SYS_NICE would drop them)",
        )
    new = new & cpuset_mems_allowed(machine, caller)
    if not new:
        raise KernelError("EINVAL", "none of the new nodes has memory and is allowed to the caller")
    return do_migrate_pages(machine, caller, target.mm, old, new, is_nice)


@system_call
def move_pages(
    machine: Machine,
    caller: Task,
    target: Task,
    addrs: Sequence[int],
    nodes: Sequence[int] | None,
    flags: int,
) -> MovePagesResult:
    """Move the pages at *addrs* of *target* to *nodes*, or ask where they are (nodes None).

    Raises KernelError EINVAL, EPERM; what is found while the pages are worked on, the result
    says. Mirrors kernel_move_pages(), mm/migrate.c.
    """
    check_flags(caller, flags)
    check_access(caller, target)
    pages = [addr >> PAGE_SHIFT for addr in addrs]
    if nodes is None:
        status: list[int | None] = [*do_pages_stat(machine, target, pages)]
        return MovePagesResult(0, None, status)
    move_all = bool(flags & MPOL_MF_MOVE_ALL)
    return do_pages_move(machine, caller, target, pages, nodes, move_all)


def check_flags(caller: Task, flags: int) -> None:
    """Check move_pages()'s flags, which the kernel does before it looks for the process.

    Raises KernelError EINVAL, EPERM.
    """
    if flags & ~(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL):
        raise KernelError("EINVAL", "only move and move_all are known")
    if flags & MPOL_MF_MOVE_ALL and not caller.has(Cap.SYS_NICE):
        raise KernelError("EPERM", "move_all needs CAP_SYS_NICE")
