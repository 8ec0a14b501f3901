"""The hugetlb pools grow, and give migration its destinations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.errors import KernelError
from pymigrate.mm.base.gfp import HUGETLB
from pymigrate.mm.base.memmap import POOL_FRAME, FrameRun, nid_of
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.frames.page_alloc import free_pages
from pymigrate.mm.frames.placement import Placement, ThisNode, rounds_of, turns_of
from pymigrate.mm.reclaim.direct_alloc import alloc_large_folio
from pymigrate.mm.spaces.hugetlb_pool import dequeue, nr_available
from pymigrate.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER, huge_ceil, huge_floor

if TYPE_CHECKING:
    from pymigrate.mm.state.machine import Machine
    from pymigrate.mm.state.node import Node
    from pymigrate.mm.state.task import Task


def set_nr_hugepages(machine: Machine, count: int, nid: int | None = None) -> None:
    """Let the pool of node *nid*, or those of all nodes together, have *count* pages.

    It gets as many as there is memory for; pages in use above the count become surplus. Mirrors
    set_max_huge_pages().
    """
    nodes = [node for node in machine.nodes.values() if node.nr_pages and nid in (None, node.nid)]
    pools = [node.hugetlb for node in nodes]
    while sum(pool.nr - pool.surplus for pool in pools) < count:
        surplus = [pool for pool in pools if pool.surplus]
        if surplus:
            surplus[0].surplus -= 1
            continue
        grown = sorted(nodes, key=lambda node: node.hugetlb.nr)
        if not any(_grow(machine, node) for node in grown):
            return
    unreserved = nr_available(machine)
    while sum(pool.nr - pool.surplus for pool in pools) > count:
        fullest = max(nodes, key=lambda node: (node.hugetlb.nr_free, -node.nid))
        if unreserved <= 0 or not fullest.hugetlb.nr_free:
            break
        _shrink(machine, fullest)
        unreserved -= 1
    while sum(pool.nr - pool.surplus for pool in pools) > count:
        persistent = max(pools, key=lambda pool: pool.nr - pool.surplus)
        persistent.surplus += 1


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
            pool.free.put(pfn, pfn + HPAGE_PMD_NR)
            node.memmap.put(pfn, pfn + HPAGE_PMD_NR)
            pool.nr -= 1
            free_pages(machine, [(pfn, HPAGE_PMD_NR)])


def _fresh(machine: Machine, task: Task, where: Placement) -> int | None:
    """A huge page of the page allocator, which is the pool's now."""
    pfn = alloc_large_folio(machine, task, where, HPAGE_PMD_ORDER, HUGETLB)
    if pfn is None:
        machine.counters.add("htlb_buddy_alloc_fail")
        return None
    machine.counters.add("htlb_buddy_alloc_success")
    machine.nodes[nid_of(pfn)].hugetlb.nr += 1
    return pfn


def _grow(machine: Machine, node: Node) -> bool:
    """One more page for the pool of *node*."""
    where = ThisNode(node.nid)
    pfn = _fresh(machine, machine.shell_of(0), where)
    if pfn is None:
        return False
    node.memmap.put(pfn, pfn + HPAGE_PMD_NR, FrameRun(pfn, HPAGE_PMD_NR, POOL_FRAME))
    node.hugetlb.free.put(pfn, pfn + HPAGE_PMD_NR, Extent(pfn, HPAGE_PMD_NR))
    return True


def _shrink(machine: Machine, node: Node) -> None:
    """One page less for the pool of *node*, which has a free one."""
    [extent] = node.hugetlb.free.pop_front(HPAGE_PMD_NR)
    node.memmap.put(extent.start, extent.start + extent.nr)
    node.hugetlb.nr -= 1
    free_pages(machine, [extent])
