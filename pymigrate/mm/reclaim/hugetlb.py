"""The hugetlb pools grow, and give migration its destinations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pymigrate.errors import KernelError
from pymigrate.mm.base.gfp import HUGETLB, Gfp
from pymigrate.mm.base.memmap import POOL_FRAME, FrameRun, nid_of
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.runs import Extent, coalesce
from pymigrate.mm.compact.direct import alloc_large_folio
from pymigrate.mm.frames.page_alloc import alloc_run, room_for
from pymigrate.mm.frames.placement import Placement, Prefer, ThisNode, rounds_of, turns_of
from pymigrate.mm.spaces.hugetlb_pool import (
    dequeue,
    in_turn,
    leave_pools,
    nodes_in_turn,
    nr_available,
    remove_in_turn,
)
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import HugePool, Node
from pymigrate.mm.state.task import Task
from pymigrate.uapi import MPOL
from pymigrate.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER, huge_ceil, huge_floor


def set_nr_hugepages(machine: Machine, count: int, nid: int | None = None) -> None:
    """Let the pool of node *nid*, or those of all nodes together, have *count* pages.

    It gets as many as there is memory for; pages in use above the count become surplus. Nodes
    take turns, page by page, and the next call goes on where this one ends: at
    `next_nid_to_alloc` where pools grow, at `next_nid_to_free` where they shrink. What a node
    alone does moves both to it. Mirrors set_max_huge_pages().
    """
    nodes = [node for node in machine.nodes.values() if node.nr_pages and nid in (None, node.nid)]
    pools = {node.nid: node.hugetlb for node in nodes}
    wanted = count - sum(pool.nr - pool.surplus for pool in pools.values())
    if wanted > 0 and any(node.hugetlb.surplus for node in machine.nodes.values()):
        wanted -= _take_back(machine, pools, wanted)
    if wanted > 0:
        _grow(machine, nodes, wanted)
    if wanted >= 0:
        return
    surplus = sum(node.hugetlb.surplus for node in machine.nodes.values())
    gone = remove_in_turn(
        machine,
        {nid: pool.nr_free for nid, pool in pools.items()},
        min(-wanted, max(nr_available(machine) - surplus, 0)),
    )
    kept = {nid: pool.nr - pool.surplus for nid, pool in pools.items()}
    shares, machine.next_nid_to_free = in_turn(kept, -wanted - gone, machine.next_nid_to_free)
    for nid, nr in shares.items():
        pools[nid].surplus += nr


def gather_surplus_pages(machine: Machine, task: Task, nr: int) -> None:
    """Let the pools grow for *nr* pages that are to be reserved, as far as a surplus is allowed.

    The nodes that the task may use are asked from the lowest on; each falls back to its
    neighbours. Raises KernelError ENOMEM, with the pools as they were. Mirrors
    gather_surplus_pages().
    """
    got: list[int] = []
    for _ in range(nr - nr_available(machine)):
        pfn = next(filter(None, _surplus_of_nodes(machine, task)), None)
        if pfn is None:
            for other in got:
                pool = machine.nodes[nid_of(other)].hugetlb
                pool.nr, pool.surplus = pool.nr - 1, pool.surplus - 1
            leave_pools(machine, [(other, HPAGE_PMD_NR) for other in got])
            raise KernelError("ENOMEM", "the hugetlb pools have not enough free pages")
        got.append(pfn)
    for pfn in reversed(got):
        machine.nodes[nid_of(pfn)].hugetlb.put(pfn, HPAGE_PMD_NR)


def _surplus_of_nodes(machine: Machine, task: Task) -> Iterator[int | None]:
    nodes = task.mems_allowed
    if task.policy is not None and task.policy.mode == MPOL.BIND:
        nodes = nodes & task.policy.nodes
    for nid in nodes:
        yield alloc_surplus_page(machine, task, Prefer(nid))


def alloc_surplus_page(machine: Machine, task: Task, where: Placement) -> int | None:
    """A fresh huge page beyond what the pools are to have, if a surplus is allowed.

    Mirrors alloc_surplus_hugetlb_folio().
    """
    surplus = sum(node.hugetlb.surplus for node in machine.nodes.values())
    if surplus >= machine.nr_overcommit_huge_pages:
        return None
    pfn = _fresh(machine, task, where)
    if pfn is not None:
        node = machine.nodes[nid_of(pfn)]
        node.hugetlb.surplus += 1
        node.memmap.put(pfn, pfn + HPAGE_PMD_NR, FrameRun(pfn, HPAGE_PMD_NR, POOL_FRAME))
    return pfn


def alloc_for_migration(
    machine: Machine, caller: Task, where: Placement, falls_back: bool = True
) -> tuple[int, bool] | None:
    """A destination for a huge page: its first frame, and whether it is a fresh, temporary one.

    Fresh ones count as their node's at once, which is the one asked for unless it *falls_back*.
    Mirrors alloc_hugetlb_folio_nodemask().
    """
    nid = turns_of(where)[0]
    if nr_available(machine) > 0:
        pfn = dequeue(machine, nid, rounds_of(where, nid)[0], caller.mems_allowed)
        if pfn is not None:
            return pfn, False
    if not falls_back:
        where = ThisNode(nid)
    pfn = _fresh(machine, caller, where)
    return None if pfn is None else (pfn, True)


def replace_free_huge_pages(machine: Machine, a: int, b: int) -> None:
    """Let fresh pages be in their pools for free ones that frames [a, b) of a node meet.

    Raises KernelError ENOMEM. Mirrors alloc_and_dissolve_hugetlb_folio().
    """
    node = machine.nodes[nid_of(a)]
    pool = node.hugetlb
    a, b = huge_floor(a), huge_ceil(b)
    for start, nr in pool.free.between(a, b):
        for pfn in range(start, start + nr, HPAGE_PMD_NR):
            if not _grow_one(machine, node.nid, set()):
                raise KernelError("ENOMEM", f"node {node.nid} has no other huge page")
            pool.take(pfn)
            pool.nr -= 1
            leave_pools(machine, [(pfn, HPAGE_PMD_NR)])


def _fresh(machine: Machine, task: Task, where: Placement, gfp: Gfp = HUGETLB) -> int | None:
    """A huge page of the page allocator, which is the pool's now."""
    pfn = alloc_large_folio(machine, task, where, HPAGE_PMD_ORDER, gfp)
    if pfn is None:
        machine.counters.add("htlb_buddy_alloc_fail")
        return None
    machine.counters.add("htlb_buddy_alloc_success")
    machine.nodes[nid_of(pfn)].hugetlb.nr += 1
    return pfn


def _take_back(machine: Machine, pools: Mapping[int, HugePool], wanted: int) -> int:
    """Make up to *wanted* surplus pages ordinary ones; how many. Mirrors adjust_pool_surplus()."""
    has = {nid: pool.surplus for nid, pool in pools.items()}
    shares, machine.next_nid_to_alloc = in_turn(has, wanted, machine.next_nid_to_alloc)
    for nid, nr in shares.items():
        pools[nid].surplus -= nr
    return sum(shares.values())


def _grow(machine: Machine, nodes: Sequence[Node], wanted: int) -> None:
    """Let the pools of *nodes* grow by *wanted* pages in all, in turn.

    As long as all surely have some, their shares are taken at once: nodes do not change what
    others have free. Where one has none each page is tried for alone: memory may be compacted,
    and the node is asked again, and its failure counted, whenever its turn comes.
    """
    noretry: set[int] = set()  # nodes that had none when they tried hard
    was_short = False
    while wanted:
        rooms = {} if was_short else {node.nid: _room(machine, node) for node in nodes}
        nr = min(wanted, min(rooms.values(), default=0) * len(nodes))
        if nr:
            shares, machine.next_nid_to_alloc = in_turn(rooms, nr, machine.next_nid_to_alloc)
            for nid, share in shares.items():
                _grow_by(machine, machine.nodes[nid], share)
            wanted -= nr
            continue
        order = nodes_in_turn([node.nid for node in nodes], machine.next_nid_to_alloc)
        grown = next((nid for nid in order if _grow_one(machine, nid, noretry)), None)
        if grown is None:
            machine.next_nid_to_alloc = next(iter(order), machine.next_nid_to_alloc)
            return
        machine.next_nid_to_alloc = order[(order.index(grown) + 1) % len(order)]
        wanted -= 1
        was_short = grown != order[0]


def _room(machine: Machine, node: Node) -> int:
    """How many huge pages *node* surely has for its pool."""
    return room_for(machine, machine.shell_of(0), ThisNode(node.nid), HPAGE_PMD_ORDER)


def _grow_one(machine: Machine, nid: int, noretry: set[int]) -> bool:
    """One more page for the pool of node *nid*, for which memory may be compacted.

    A node that had none is not tried hard again before it has one. Mirrors
    alloc_buddy_hugetlb_folio() and its node_alloc_noretry.
    """
    gfp = HUGETLB & ~Gfp.RETRY_MAYFAIL if nid in noretry else HUGETLB
    pfn = _fresh(machine, machine.shell_of(0), ThisNode(nid), gfp)
    if pfn is None:
        noretry.add(nid)
        return False
    noretry.discard(nid)
    _add_free(machine.nodes[nid], [Extent(pfn, HPAGE_PMD_NR)])
    return True


def _grow_by(machine: Machine, node: Node, nr: int) -> None:
    """Add *nr* more pages, which there surely are, to the pool of *node*."""
    wanted = PteRun(0, nr << HPAGE_PMD_ORDER, (), HPAGE_PMD_ORDER)
    runs = alloc_run(machine, machine.shell_of(0), ThisNode(node.nid), wanted)
    extents = coalesce(extent for run in runs for extent in run.extents())
    assert sum(extent.nr for extent in extents) == wanted.nr, f"node {node.nid} has less than seen"
    machine.counters.add("htlb_buddy_alloc_success", nr)
    node.hugetlb.nr += nr
    _add_free(node, extents)


def _add_free(node: Node, extents: Sequence[Extent]) -> None:
    node.memmap.edit([(a, a + nr, (FrameRun(a, nr, POOL_FRAME),)) for a, nr in extents])
    node.hugetlb.free.insert(extents)
    if node.hugetlb.back:  # else any may stand for any
        for start, nr in extents:
            node.hugetlb.back += range(start, start + nr, HPAGE_PMD_NR)
