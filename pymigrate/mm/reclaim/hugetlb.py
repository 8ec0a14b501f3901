"""The hugetlb pools grow, and give migration its destinations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from pymigrate.errors import KernelError
from pymigrate.mm.base.gfp import HUGETLB
from pymigrate.mm.base.memmap import POOL_FRAME, FrameRun, nid_of
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.runs import Extent, coalesce
from pymigrate.mm.compact.direct import alloc_large_folio
from pymigrate.mm.frames.page_alloc import alloc_run, room_for
from pymigrate.mm.frames.placement import Placement, ThisNode, rounds_of, turns_of
from pymigrate.mm.spaces.hugetlb_pool import dequeue, leave_pools, nr_available
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Node
from pymigrate.mm.state.task import Task
from pymigrate.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER, huge_ceil, huge_floor


def set_nr_hugepages(machine: Machine, count: int, nid: int | None = None) -> None:
    """Let the pool of node *nid*, or those of all nodes together, have *count* pages.

    It gets as many as there is memory for; pages in use above the count become surplus. Mirrors
    set_max_huge_pages(), where pages come and go one by one: the next is the smallest pool's, or
    the fullest one's (the round robin of hstate_next_node_to_alloc(), where pools are level). The
    same shares are computed at once.
    """
    nodes = [node for node in machine.nodes.values() if node.nr_pages and nid in (None, node.nid)]
    pools = [node.hugetlb for node in nodes]
    wanted = count - sum(pool.nr - pool.surplus for pool in pools)
    for pool in pools:  # surplus pages are made ordinary ones before others are allocated
        part = min(pool.surplus, max(wanted, 0))
        pool.surplus -= part
        wanted -= part
    if wanted > 0 and nodes:
        _grow_evenly(machine, nodes, wanted)
    if wanted >= 0:
        return
    gone = min(-wanted, max(nr_available(machine), 0), sum(pool.nr_free for pool in pools))
    for node, nr in zip(nodes, _shares([-pool.nr_free for pool in pools], gone), strict=True):
        _shrink(machine, node, nr)
    kept = [pool.surplus - pool.nr for pool in pools]
    for pool, nr in zip(pools, _shares(kept, -wanted - gone), strict=True):
        pool.surplus += nr


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
            if not _grow(machine, node):
                raise KernelError("ENOMEM", f"node {node.nid} has no other huge page")
            pool.take(pfn)
            pool.nr -= 1
            leave_pools(machine, [(pfn, HPAGE_PMD_NR)])


def _fresh(machine: Machine, task: Task, where: Placement) -> int | None:
    """A huge page of the page allocator, which is the pool's now."""
    pfn = alloc_large_folio(machine, task, where, HPAGE_PMD_ORDER, HUGETLB)
    if pfn is None:
        machine.counters.add("htlb_buddy_alloc_fail")
        return None
    machine.counters.add("htlb_buddy_alloc_success")
    machine.nodes[nid_of(pfn)].hugetlb.nr += 1
    return pfn


def _grow_evenly(machine: Machine, nodes: Sequence[Node], wanted: int) -> None:
    """Let the pools of *nodes* grow by *wanted* pages in all, the smallest first.

    Until one of them is as large as its node lets it become each page surely comes from the node
    whose turn it is. Nodes do not change what others have free, so that theirs can be taken at
    once. From then on each page is tried for alone: to find one memory may be compacted, and a
    node that has none is asked, and its failure counted, each time before the next.
    """
    is_short = False  # the smallest pool's node had none the last time
    while wanted:
        nr = 0 if is_short else min(wanted, _nr_sure(machine, nodes))
        if nr:
            sizes = [node.hugetlb.nr for node in nodes]
            for node, share in zip(nodes, _shares(sizes, nr), strict=True):
                _grow_by(machine, node, share)
            wanted -= nr
            continue
        tried = sorted(nodes, key=lambda node: node.hugetlb.nr)
        grown = next((node for node in tried if _grow(machine, node)), None)
        if grown is None:
            return
        wanted -= 1
        is_short = grown is not tried[0]


def _nr_sure(machine: Machine, nodes: Sequence[Node]) -> int:
    """How many pages the smallest pools get before the first of them finds none free."""
    shell = machine.shell_of(0)
    largest = min(
        node.hugetlb.nr + room_for(machine, shell, ThisNode(node.nid), HPAGE_PMD_ORDER)
        for node in nodes
    )
    return sum(max(largest - node.hugetlb.nr, 0) for node in nodes)


def _shares(sizes: Sequence[int], nr: int) -> list[int]:
    """What each of *sizes* gets of *nr* that go one by one to the smallest, the first of equals.

    >>> _shares([3, 0, 1], 5)
    [0, 3, 2]
    """
    low = sorted(sizes)
    k = 1  # the smallest, which all become as large as the next
    while k < len(low) and k * low[k] - sum(low[:k]) <= nr:
        k += 1
    level, rest = divmod(sum(low[:k]) + nr, k)
    shares = [max(level - size, 0) for size in sizes]
    for i in [i for i, size in enumerate(sizes) if size <= level][:rest]:
        shares[i] += 1
    return shares


def _grow(machine: Machine, node: Node) -> bool:
    """One more page for the pool of *node*, for which memory may be compacted."""
    pfn = _fresh(machine, machine.shell_of(0), ThisNode(node.nid))
    if pfn is not None:
        _add_free(node, [Extent(pfn, HPAGE_PMD_NR)])
    return pfn is not None


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


def _shrink(machine: Machine, node: Node, nr: int) -> None:
    """Take *nr* free pages out of the pool of *node*."""
    pool = node.hugetlb
    used = [Extent(pfn, HPAGE_PMD_NR) for pfn in islice(reversed(pool.back), nr)]
    for pfn, _ in used:
        pool.take(pfn)
    extents = [*used, *pool.free.pop_front((nr - len(used)) << HPAGE_PMD_ORDER)]
    pool.nr -= nr
    leave_pools(machine, extents)
