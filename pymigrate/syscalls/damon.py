"""DAMON's schemes, applied by writes to its files in sysfs."""

from pymigrate.errors import KernelError
from pymigrate.mm.reclaim.damon import Scheme, apply_scheme
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.checks import check_root, system_call
from pymigrate.units import page_range


@system_call
def apply_to_node(machine: Machine, caller: Task, scheme: Scheme, node: int) -> int:
    """Apply *scheme* to the memory of *node*; return how many base pages moved.

    Raises KernelError EACCES, EINVAL.
    """
    _check(machine, caller, scheme.target)
    _check(machine, caller, node)
    return apply_scheme(machine, scheme, node)


@system_call
def apply_to_range(
    machine: Machine, caller: Task, scheme: Scheme, task: Task, addr: int, length: int
) -> int:
    """Apply *scheme* to *length* bytes of *task* from *addr*; return how many base pages moved.

    Raises KernelError EACCES, EINVAL.
    """
    _check(machine, caller, scheme.target)
    return apply_scheme(machine, scheme, (task.mm, *page_range(addr, length)))


def _check(machine: Machine, caller: Task, node: int) -> None:
    check_root(caller, "only root may write DAMON's files")
    if not machine.release.damon_migrates:
        raise KernelError("EINVAL", "this kernel's DAMON does not migrate (6.11 is the first)")
    if node not in machine.nodes or not machine.nodes[node].zones:
        raise KernelError("EINVAL", f"there is no node {node} with memory")
