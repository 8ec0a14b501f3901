"""Which nodes an allocation asks for, and which of them a policy names."""

from __future__ import annotations

from math import gcd

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.records import NamedTuple
from pymigrate.uapi import MPOL

# Which of them one is, its class says: as tuples, ThisNode(1) and Prefer(1) are equal.


class ThisNode(NamedTuple):
    """Node *nid*, and no other: __GFP_THISNODE."""

    nid: int


class Prefer(NamedTuple):
    """Node *nid*, then the others in the order of its zonelist: what most allocations want."""

    nid: int


class Within(NamedTuple):
    """The nodes of *nodes*, nearest to *nid* first, and no others: MPOL_BIND."""

    nid: int
    nodes: Nodemask


class PreferMany(NamedTuple):
    """The nodes of *nodes*, nearest to *nid* first, then the others: MPOL_PREFERRED_MANY."""

    nid: int
    nodes: Nodemask


class Demote(NamedTuple):
    """Node *nid* down to its min watermark, then those of *nodes*: alloc_demote_folio()."""

    nid: int
    nodes: Nodemask


class Cycle(NamedTuple):
    """Nodes that take turns: page i prefers ``turns[i % len(turns)]``. MPOL_INTERLEAVE, weighted.

    Pages that get the node whose turn it is count as numa_interleave.
    """

    turns: tuple[int, ...]


OWN_NODE = Prefer(-1)  # NUMA_NO_NODE: a page that migrates prefers the node that it lies on

Placement = ThisNode | Prefer | Within | PreferMany | Demote | Cycle


def turns_of(where: Placement) -> tuple[int, ...]:
    """The nodes that pages 0, 1, ... ask for first, over and over."""
    return where.turns if isinstance(where, Cycle) else (where.nid,)


def rounds_of(where: Placement, nid: int) -> tuple[Nodemask | None, ...]:
    """The nodes to try for a page that asks for *nid*: one set after the other; None is any."""
    match where:
        case ThisNode():
            return (Nodemask.of(nid),)
        case Within():
            return (where.nodes,)
        case PreferMany():
            return where.nodes, None
        case Demote():
            return Nodemask.of(nid), where.nodes
    return (None,)


def from_index(where: Placement, index: int, step: int = 1) -> Placement:
    """The placement of pages *index*, *index* + *step*, ... as one of pages 0, 1, ..."""
    if not isinstance(where, Cycle) or len(where.turns) == 1:
        return where
    k = len(where.turns)
    return Cycle(tuple(where.turns[(index + i * step) % k] for i in range(k // gcd(k, step))))


def placement(
    machine: Machine, task: Task, policy: Mempolicy | None, index: int = 0, step: int = 1
) -> Placement:
    """The nodes that *policy* asks for when *task* allocates pages *index*, *index* + *step*, ...

    Mirrors policy_nodemask() and the interleave_nid() family, mm/mempolicy.c.
    """
    local = machine.local_node(task)
    if policy is None or policy.mode == MPOL.LOCAL:
        return Prefer(local)
    if policy.mode == MPOL.PREFERRED:
        return Prefer(policy.nodes.first)
    start = policy.home_node if policy.home_node >= 0 else local
    if policy.mode == MPOL.BIND:
        is_allowed = bool(policy.nodes & task.mems_allowed)
        if machine.scope.memalloc_pin and not policy.nodes & machine.normal_nodes:
            is_allowed = False  # of nodes that are all movable: apply_policy_zone()
        return Within(start, policy.nodes) if is_allowed else Prefer(start)
    if policy.mode == MPOL.PREFERRED_MANY:
        return PreferMany(start, policy.nodes)
    weighted = policy.mode == MPOL.WEIGHTED_INTERLEAVE
    turns = [
        nid for nid in policy.nodes for _ in range(machine.weights.get(nid, 1) if weighted else 1)
    ]
    index &= (1 << machine.release.interleave_index_bits) - 1
    return from_index(Cycle(tuple(turns) or (local,)), index, step)


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
    return Cycle(tuple(turns)), prev, left if weighted else 0
