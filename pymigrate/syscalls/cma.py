"""What drivers ask of CMA, as its files in debugfs do: memory in one piece, and giving it back."""

from pymigrate.errors import KernelError
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.frames.free_area import cma_areas
from pymigrate.mm.offline.contig import cma_alloc, cma_release
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.checks import check_root, system_call
from pymigrate.units import pages_of

_ONLY_ROOT = "only root may use CMA's files"


@system_call
def alloc(machine: Machine, caller: Task, name: str, size: int, nid: int | None = None) -> Extent:
    """Allocate *size* bytes in one piece, called *name*, from node *nid*'s area, or the first one.

    Returns its frames. Raises KernelError EACCES; EEXIST; ENODEV without an area; EINVAL for
    nothing; ENOMEM.
    """
    check_root(caller, _ONLY_ROOT)
    if name in machine.contigs:
        raise KernelError("EEXIST", f"{name} is allocated")
    known = cma_areas(machine)
    if not known or (nid is not None and nid not in known):
        raise KernelError("ENODEV", "no memory is kept for CMA there")
    if size <= 0:
        raise KernelError("EINVAL", "nothing is asked for")
    return cma_alloc(machine, min(known) if nid is None else nid, name, pages_of(size))


@system_call
def release(machine: Machine, caller: Task, name: str) -> None:
    """Give back what is called *name*. Raises KernelError EACCES, ENOENT."""
    check_root(caller, _ONLY_ROOT)
    if name not in machine.contigs:
        raise KernelError("ENOENT", f"nothing is called {name}")
    cma_release(machine, name)
