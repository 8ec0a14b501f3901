"""set_mempolicy(2), get_mempolicy(2), mbind(2), set_mempolicy_home_node(2)."""

from pymigrate.errors import KernelError
from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.calls.mempolicy import do_mbind, set_home_node
from pymigrate.mm.engine.queue_folios import Walk
from pymigrate.mm.faults.anon_fault import Access
from pymigrate.mm.faults.memory import access
from pymigrate.mm.frames.placement import cursor_placement, turns_of
from pymigrate.mm.spaces.anon_pages import Fault, vma_policy
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.policy import Mempolicy, new_policy, set_nodemask, split_mode
from pymigrate.mm.state.task import Cap, Task
from pymigrate.nodemask import Nodemask
from pymigrate.records import NamedTuple
from pymigrate.syscalls.checks import checked_range, system_call
from pymigrate.uapi import (
    MPOL,
    MPOL_F_ADDR,
    MPOL_F_MEMS_ALLOWED,
    MPOL_F_NODE,
    MPOL_MF_MOVE,
    MPOL_MF_MOVE_ALL,
    MPOL_MF_STRICT,
)
from pymigrate.units import MAX_NUMNODES, PAGE_SHIFT, PAGE_SIZE


class PolicyAnswer(NamedTuple):
    """What get_mempolicy() writes: a mode with its flags and nodes, or a node."""

    mode: MPOL
    flags: int
    nodes: Nodemask
    node: int | None = None


@system_call
def set_mempolicy(machine: Machine, task: Task, mode: int, nodes: Nodemask) -> None:
    """Replace the policy of *task*; *mode* holds mode flags too.

    Raises KernelError EINVAL. Mirrors kernel_set_mempolicy().
    """
    kind, flags = split_mode(mode, machine.release)
    policy = set_nodemask(new_policy(kind, flags, nodes), _allowed(machine, task))
    task.policy = policy
    if policy and policy.is_interleaving:
        task.il_prev, task.il_weight = -1, 0


@system_call
def get_mempolicy(machine: Machine, task: Task, addr: int, flags: int) -> PolicyAnswer:
    """The policy of *task*, or at the address *addr*, or the node of either, as *flags* say.

    Raises KernelError EINVAL, EFAULT. With node and addr an absent page is faulted in for
    reading. Mirrors do_get_mempolicy().
    """
    if flags & ~(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED):
        raise KernelError("EINVAL", "only node, addr and mems_allowed are known")
    if flags & MPOL_F_MEMS_ALLOWED:
        if flags & (MPOL_F_NODE | MPOL_F_ADDR):
            raise KernelError("EINVAL", "mems_allowed goes alone")
        return PolicyAnswer(MPOL.DEFAULT, 0, task.mems_allowed)
    if flags & MPOL_F_ADDR:
        policy, node = _policy_at(machine, task, addr, bool(flags & MPOL_F_NODE))
        return answer(policy, node)
    if addr:
        raise KernelError("EINVAL", "an address goes with the flag addr")
    if flags & MPOL_F_NODE:
        if task.policy is None or not task.policy.is_interleaving:
            raise KernelError("EINVAL", "the task's policy does not interleave")
        where, _, _ = cursor_placement(machine, task, 1, task.policy)
        return answer(task.policy, turns_of(where)[0])
    return answer(task.policy, None)


@system_call
def mbind(
    machine: Machine, task: Task, addr: int, length: int, mode: int, nodes: Nodemask, flags: int
) -> None:
    """Give *length* bytes of *task* a policy, and move or test their pages as *flags* say.

    Raises KernelError: EINVAL, EPERM, EFAULT and EIO in the kernel's order; only an EIO of strict
    with a move leaves the policy in force. Mirrors kernel_mbind() and do_mbind(); the arguments
    are the call's own.
    """
    kind, mode_flags = split_mode(mode, machine.release)
    if flags & ~(MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL):
        raise KernelError("EINVAL", "only strict, move and move_all are known")
    if flags & MPOL_MF_MOVE_ALL and not task.has(Cap.SYS_NICE):
        raise KernelError("EPERM", "move_all needs CAP_SYS_NICE")
    if addr % PAGE_SIZE:
        raise KernelError("EINVAL", f"address {addr:#x} is not page aligned")
    if kind == MPOL.DEFAULT:
        flags &= ~MPOL_MF_STRICT
    a, b = checked_range(addr, length)
    if a == b:
        return
    policy = set_nodemask(new_policy(kind, mode_flags, nodes), _allowed(machine, task))
    walk = Walk(
        lambda nid: nid not in nodes,
        bool(flags & MPOL_MF_MOVE),
        bool(flags & MPOL_MF_MOVE_ALL),
        bool(flags & MPOL_MF_STRICT),
    )
    do_mbind(machine, task, a, b, policy, walk)


@system_call
def set_mempolicy_home_node(
    machine: Machine, task: Task, addr: int, length: int, node: int, flags: int = 0
) -> None:
    """Let the bind and preferred-many policies of a range begin their search at *node*.

    Raises KernelError EINVAL; ENOENT if no VMA of the range has a policy; EOPNOTSUPP at the
    first with another mode, those before it being changed. Mirrors sys_set_mempolicy_home_node().
    """
    if addr % PAGE_SIZE:
        raise KernelError("EINVAL", f"address {addr:#x} is not page aligned")
    if flags:
        raise KernelError("EINVAL", "no flag is known")
    if not 0 <= node < MAX_NUMNODES or node not in machine.nodes:
        raise KernelError("EINVAL", f"node {node} is not online")
    a, b = checked_range(addr, length)
    if a < b:
        set_home_node(machine, task, a, b, node)


def _allowed(machine: Machine, task: Task) -> Nodemask:
    return task.mems_allowed & machine.memory_nodes


def answer(policy: Mempolicy | None, node: int | None = None) -> PolicyAnswer:
    """What get_mempolicy() answers of *policy*, and of *node* if that was asked for."""
    if policy is None:
        return PolicyAnswer(MPOL.DEFAULT, 0, Nodemask(), node)
    return PolicyAnswer(policy.mode, policy.flags, policy.user_nodes, node)


def _policy_at(
    machine: Machine, task: Task, addr: int, want_node: bool
) -> tuple[Mempolicy | None, int | None]:
    page = addr >> PAGE_SHIFT
    vma = task.mm.find_vma(page)
    if vma is None:
        raise KernelError("EFAULT", f"nothing is mapped at {addr:#x}")
    policy = vma_policy(machine, vma, page)
    if not want_node:
        return policy, None
    try:
        access(machine, task, page, page + 1, write=False, how=Access.POPULATE)
    except Fault as fault:
        raise KernelError("EFAULT", f"{addr:#x} cannot be read ({fault.signal})") from None
    run = task.mm.page_table.at(page)
    assert run is not None
    if not run.lanes:
        return policy, machine.memory_nodes.first  # the zero page belongs to the kernel's image
    return policy, nid_of(run.pfn(page))
