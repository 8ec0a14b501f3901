"""Memory that the kernel allocates for itself, and gives back."""

from pymigrate.errors import KernelError
from pymigrate.mm.base import gfp
from pymigrate.mm.base.gfp import Gfp
from pymigrate.mm.reclaim.kernel_alloc import Blocks, alloc_kernel_pages, free_kernel_pages
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.checks import system_call

MODES = {
    "kernel": gfp.KERNEL,
    "nofs": gfp.NOFS,
    "nowait": gfp.NOWAIT,
    "noretry": gfp.KERNEL | Gfp.NORETRY,
    "retry_mayfail": gfp.KERNEL | Gfp.RETRY_MAYFAIL,
    "none": Gfp.NONE,
}


@system_call
def alloc(machine: Machine, caller: Task, name: str, wanted: Blocks, nid: int | None = None) -> int:
    """Allocate blocks near node *nid*, or the caller's, called *name*; return how many there were.

    Raises KernelError EEXIST, ENODEV; ENOMEM if there was none at all.
    """
    if name in machine.allocations:
        raise KernelError("EEXIST", f"blocks are called {name} already")
    nid = machine.local_node(caller) if nid is None else nid
    if nid not in machine.nodes:
        raise KernelError("ENODEV", f"there is no node {nid}")
    got = alloc_kernel_pages(machine, name, nid, caller.cpu, wanted)
    if not got:
        free_kernel_pages(machine, name)
        raise KernelError(
            "ENOMEM", f"no block of order {wanted.order} is free, or could be made free"
        )
    return got


def free(machine: Machine, name: str) -> int:
    """Free the blocks called *name*; return how many there were. Raises KernelError ENOENT."""
    if name not in machine.allocations:
        raise KernelError("ENOENT", f"no blocks are called {name}")
    return free_kernel_pages(machine, name)
