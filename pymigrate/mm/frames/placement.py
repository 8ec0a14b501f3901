"""Which node a policy asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.mm.state.policy import Placement
from pymigrate.uapi import MPOL

if TYPE_CHECKING:
    from pymigrate.mm.state.machine import Machine
    from pymigrate.mm.state.policy import Mempolicy
    from pymigrate.mm.state.task import Task


def placement(machine: Machine, task: Task, policy: Mempolicy | None) -> Placement:
    """The nodes that *policy* asks for when *task* allocates.

    Mirrors policy_nodemask() and the interleave_nid() family, mm/mempolicy.c.
    """
    local = machine.local_node(task)
    if policy is None or policy.mode == MPOL.LOCAL:
        return Placement((local,))
    if policy.mode == MPOL.PREFERRED:
        return Placement((policy.nodes.first,))
    start = policy.home_node if policy.home_node >= 0 else local
    if policy.mode == MPOL.BIND:
        return Placement((start,), policy.nodes if policy.nodes & task.mems_allowed else None)
    if policy.mode == MPOL.PREFERRED_MANY:
        return Placement((start,), policy.nodes, then_any=True)
    weighted = policy.mode == MPOL.WEIGHTED_INTERLEAVE
    cycle = [
        nid for nid in policy.nodes for _ in range(machine.weights.get(nid, 1) if weighted else 1)
    ]
    return Placement(tuple(cycle) or (local,), is_interleaved=True)


def cursor_placement(
    machine: Machine, task: Task, nr: int, policy: Mempolicy | None
) -> tuple[Placement, int, int]:
    """Where *nr* pages go that take turns by the task's cursor, and the cursor behind them.

    Gives the placement for pages 0, 1, ..., and the task's new (il_prev, il_weight); page-cache
    pages of disk files are placed so. Mirrors interleave_nodes(), weighted_interleave_nodes().
    """
    if policy is None or not policy.is_interleaving:
        return placement(machine, task, policy), task.il_prev, task.il_weight
    prev, left = task.il_prev, task.il_weight
    nodes, turns = policy.nodes, []
    weighted = policy.mode == MPOL.WEIGHTED_INTERLEAVE
    for _ in range(nr):
        if not weighted or not left or prev not in nodes:
            prev = nodes.next_in(prev)
            left = machine.weights.get(prev, 1)
        left -= 1
        turns.append(prev)
    return Placement(tuple(turns), is_interleaved=True), prev, left if weighted else 0
