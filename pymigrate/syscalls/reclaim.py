"""Memory that is reclaimed because somebody asks for it: cgroup v2's memory.reclaim."""

from collections.abc import Sequence

from pymigrate.errors import KernelError
from pymigrate.mm.calls.cgroup import controllers, find_cpuset, processes_below
from pymigrate.mm.reclaim.vmscan import memory_reclaim
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.checks import check_root, system_call
from pymigrate.units import PAGE_SHIFT

MAX_SWAPPINESS = 200


@system_call
def reclaim(
    machine: Machine,
    caller: Task,
    size: int,
    node: int | None = None,
    tasks: Sequence[Task] | None = None,
    swappiness: int | None = None,
) -> int:
    """Reclaim *size* bytes, of *node* and of what *tasks* map, if given; return the base pages.

    *swappiness* 0 leaves anonymous memory alone; there is no swap that more would matter to.

    Raises KernelError EACCES, ENOENT; EINVAL for a *swappiness* that is not of 0 to 200; EAGAIN
    if there was less, which is reclaimed then.
    """
    check_root(caller, "only root may write to memory.reclaim")
    if node is not None and (node not in machine.nodes or not machine.nodes[node].zones):
        raise KernelError("ENOENT", f"there is no node {node} with memory")
    if swappiness is not None:
        if not machine.release.reclaim_swappiness:
            raise KernelError("EINVAL", "this kernel's memory.reclaim takes no swappiness")
        if not 0 <= swappiness <= MAX_SWAPPINESS:
            raise KernelError("EINVAL", f"a swappiness is a number from 0 to {MAX_SWAPPINESS}")
    nr = size >> PAGE_SHIFT
    mms = None if tasks is None else list({id(task.mm): task.mm for task in tasks}.values())
    nodes = None if node is None else [node]
    if node is not None and machine.release.reclaim_stops_early and nr:
        # lru_gen_shrink_node() is done at once where it may not write pages.
        raise KernelError("EAGAIN", "a node's file reclaims nothing while zone_reclaim_mode is 0")
    got = memory_reclaim(machine, caller, nr, nodes, mms, takes_anon=swappiness != 0)
    if got < nr:
        raise KernelError("EAGAIN", f"{got} of {nr} pages were reclaimed")
    return got


def cpuset_tasks(machine: Machine, name: str) -> list[Task]:
    """The tasks whose memory the cgroup of cpuset *name* accounts for, with those below it.

    Raises KernelError ENOENT, also for one that has no controller of memory.
    """
    group = find_cpuset(machine, name)
    if not machine.release.cpuset_v1 and "memory" not in controllers(machine, group):
        raise KernelError("ENOENT", f"cpuset {name} has no controller of memory")
    return processes_below(machine, name)
