"""hugetlb: huge pages in a pool of each node, reserved when they are mapped. Mirrors mm/hugetlb.c.

Entries are kept as those of transparent huge pages are; free pages of the pool are in use for the
page allocator. Sizes and counts here are huge pages of 2 MiB, unless they are named pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from pymigrate.errors import KernelError
from pymigrate.mm.base.memmap import FrameFlag, nid_of
from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.frames.frames import FrameEdits, folio_of, frame_of, update_folio
from pymigrate.mm.frames.free_area import is_longterm_pinnable
from pymigrate.mm.frames.page_alloc import free_pages, zonelist
from pymigrate.mm.frames.placement import placement, rounds_of, turns_of
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import HugePool
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.nodemask import Nodemask
from pymigrate.uapi import MPOL
from pymigrate.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER, huge_ceil, huge_floor


def check_split(vma: Vma, at: int) -> None:
    """Raises KernelError EINVAL if *vma* is hugetlb's and cannot be cut before page *at*.

    Mirrors hugetlb_vm_op_split().
    """
    if vma.flags & Vm.HUGETLB and vma.start < at < vma.end and at % HPAGE_PMD_NR:
        raise KernelError("EINVAL", "memory of the hugetlb pool is cut between huge pages only")


def nr_free(machine: Machine) -> int:
    """The free huge pages of all pools."""
    return sum(node.hugetlb.nr_free for node in machine.nodes.values())


def nr_available(machine: Machine) -> int:
    """The free huge pages that are not reserved. Mirrors available_huge_pages()."""
    return nr_free(machine) - machine.resv_huge_pages


def unreserved(machine: Machine, vma: Vma) -> list[Extent]:
    """The pages of a mapping that is being made, by their index if shared, that none are for."""
    if not vma.is_shared:
        return [Extent(vma.start, vma.nr)]
    space = machine.spaces[vma.space]
    return [
        Extent(low, high - low)
        for low, high, run in space.pages.spans(vma.pgoff, vma.pgoff + vma.nr)
        if run is None
        for low, high, there in space.resv.spans(low, high)
        if there is None
    ]


def reserve(machine: Machine, task: Task, vma: Vma) -> None:
    """Reserve huge pages for a mapping that is being made.

    Raises KernelError ENOMEM; what surplus there is for it is given back then. Mirrors
    hugetlb_reserve_pages() and hugetlb_acct_memory().
    """
    known = unreserved(machine, vma)
    resv = machine.spaces[vma.space].resv if vma.is_shared else task.mm.resv
    wanted = sum(nr for _, nr in known) >> HPAGE_PMD_ORDER
    if wanted > nr_available(machine):
        raise KernelError("ENOMEM", "the hugetlb pools have not enough free pages")
    if wanted > _allowed(machine, task):
        return_unused_surplus_pages(machine, wanted)
        raise KernelError("ENOMEM", "the pools that are allowed have not enough free pages")
    for extent in known:
        resv.put(extent.start, extent.start + extent.nr, extent)
    machine.resv_huge_pages += wanted


def unreserve(machine: Machine, resv: RunMap[Extent], a: int, b: int) -> None:
    """Give back the reservations of pages [a, b) that were not used.

    So many free pages of the surplus leave the pools. Mirrors hugetlb_acct_memory() and
    return_unused_surplus_pages().
    """
    nr = sum(extent.nr for extent in resv.between(a, b)) >> HPAGE_PMD_ORDER
    if not nr:
        return
    machine.resv_huge_pages -= nr
    resv.put(a, b)
    return_unused_surplus_pages(machine, nr)


def return_unused_surplus_pages(machine: Machine, nr: int) -> None:
    """Let up to *nr* free pages of the surplus leave the pools."""
    pools = {node.nid: node.hugetlb for node in machine.nodes.values() if node.nr_pages}
    nr = min(nr, sum(pool.surplus for pool in pools.values()))
    if nr:
        has = {nid: min(pool.surplus, pool.nr_free) for nid, pool in pools.items()}
        remove_in_turn(machine, has, nr, are_surplus=True)


def reserve_again(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> None:
    """Reserve for the owner what it is about to drop in [a, b), but not while there is a surplus.

    A page that somebody else maps as well does not come back to the pool; one that is only held is
    counted as reserved when it does. Mirrors __unmap_hugepage_range().
    """
    surplus = any(node.hugetlb.surplus for node in machine.nodes.values())
    if not vma.is_resv_owner or surplus or not machine.release.hugetlb_restores_reserve:
        return
    for run in task.mm.page_table.between(a, b):
        for entry in run.entries() if run.lanes else ():
            folio = folio_of(machine, entry.lanes[0])
            if not folio.is_anon or folio.mapcount > 1:
                continue
            task.mm.resv.put(entry.start, entry.end, Extent(entry.start, HPAGE_PMD_NR))
            if folio.is_held:
                update_folio(machine, folio.pfn, lambda f: f.with_flags(FrameFlag.RESTORE))
            else:
                machine.resv_huge_pages += 1


def alloc_for_fault(
    machine: Machine, task: Task, vma: Vma, page: int, avoid_reserve: bool = False
) -> int | None:
    """A huge page of a pool for virtual *page*: its first frame, or None if there is none.

    Mirrors alloc_hugetlb_folio() and dequeue_hugetlb_folio_vma().
    """
    index = vma.index(page)
    resv, at = _reserve_of(machine, task, vma, page)
    has_reserve = not avoid_reserve and resv.at(at) is not None
    if not has_reserve and nr_available(machine) <= 0:
        return None
    policy = vma.policy or task.policy
    where = placement(machine, task, policy, index >> HPAGE_PMD_ORDER)
    nid = turns_of(where)[0]
    tries = (dequeue(machine, nid, nodes, task.mems_allowed) for nodes in rounds_of(where, nid))
    pfn = next((found for found in tries if found is not None), None)
    if pfn is not None:
        use_reserve(machine, task, vma, page, avoid_reserve)
    return pfn


def use_reserve(
    machine: Machine, task: Task, vma: Vma, page: int, avoid_reserve: bool = False
) -> None:
    """Virtual *page* has its huge page now: what was reserved for it is used up."""
    resv, at = _reserve_of(machine, task, vma, page)
    if not avoid_reserve and resv.at(at) is not None:
        resv.put(at, at + HPAGE_PMD_NR)
        machine.resv_huge_pages -= 1


def _reserve_of(machine: Machine, task: Task, vma: Vma, page: int) -> tuple[RunMap[Extent], int]:
    """Where it is noted that a huge page is reserved for virtual *page*, and at which place."""
    if vma.is_shared:
        return machine.spaces[vma.space].resv, vma.index(page)
    return task.mm.resv, page


def give_back(machine: Machine, pfn: int, is_temporary: bool) -> None:
    """Give back the huge page at *pfn*, a destination that was not used."""
    pool = machine.nodes[nid_of(pfn)].hugetlb
    if is_temporary:
        pool.nr -= 1
        free_pages(machine, [(pfn, HPAGE_PMD_NR)])
    else:
        pool.put(pfn, HPAGE_PMD_NR)


def settle_temporary(machine: Machine, old: int, new: int) -> None:
    """A fresh page has taken the place of *old*, which leaves the pool instead of it.

    A node's surplus moves along. Mirrors move_hugetlb_state().
    """
    source, target = machine.nodes[nid_of(old)].hugetlb, machine.nodes[nid_of(new)].hugetlb
    source.nr -= 1
    if source is not target and source.surplus:
        source.surplus -= 1
        target.surplus += 1


def dissolve_free_huge_pages(machine: Machine, a: int, b: int) -> None:
    """Give the free huge pages that frames [a, b) of a node meet back to the page allocator.

    Raises KernelError EBUSY if they are reserved. Mirrors dissolve_free_hugetlb_folios().
    """
    node = machine.nodes[nid_of(a)]
    pool = node.hugetlb
    a, b = huge_floor(a), huge_ceil(b)
    for start, nr in pool.free.between(a, b):
        for pfn in range(start, start + nr, HPAGE_PMD_NR):
            if nr_available(machine) <= 0:
                raise KernelError("EBUSY", "mappings have reserved its free huge pages")
            pool.take(pfn)
            pool.nr -= 1
            pool.surplus -= bool(pool.surplus)
            leave_pools(machine, [(pfn, HPAGE_PMD_NR)])


def nodes_in_turn(nids: Iterable[int], first: int) -> list[int]:
    """The nodes, from *first* on and then round. Mirrors next_node_allowed().

    >>> nodes_in_turn([0, 1, 3], 2)
    [3, 0, 1]
    """
    return sorted(nids, key=lambda nid: (nid < first, nid))


def in_turn(has: Mapping[int, int], nr: int, first: int) -> tuple[dict[int, int], int]:
    """What each node gives of *nr* that are taken one by one, and whose turn is next.

    Nodes give as many as each of them *has*; the turn begins with node *first*, and passes over
    who has none. Mirrors for_each_node_mask_to_alloc() and for_each_node_mask_to_free().

    >>> in_turn({0: 1, 1: 9, 3: 9}, 4, 1)
    ({1: 2, 3: 1, 0: 1}, 3)
    """
    order = nodes_in_turn(has, first)
    shares = dict.fromkeys(order, 0)
    if not nr or not order:
        return shares, first
    last = order[-1]  # the turn comes round to where it began if nobody has any
    while nr and (live := [nid for nid in order if shares[nid] < has[nid]]):
        rounds = min(nr // len(live), *(has[nid] - shares[nid] for nid in live))
        taking = live if rounds else live[:nr]
        for nid in taking:
            shares[nid] += rounds or 1
        nr -= (rounds or 1) * len(taking)
        last = taking[-1]
    return shares, order[(order.index(last) + 1) % len(order)]


def remove_in_turn(
    machine: Machine, has: Mapping[int, int], nr: int, are_surplus: bool = False
) -> int:
    """Take *nr* free pages out of the pools, of each node as many as it *has*; how many went.

    Mirrors remove_pool_hugetlb_folio().
    """
    shares, machine.next_nid_to_free = in_turn(has, nr, machine.next_nid_to_free)
    for nid, share in shares.items():
        pool = machine.nodes[nid].hugetlb
        used = [Extent(pfn, HPAGE_PMD_NR) for pfn in islice(reversed(pool.back), share)]
        for pfn, _ in used:
            pool.take(pfn)
        extents = [*used, *pool.free.pop_front((share - len(used)) << HPAGE_PMD_ORDER)]
        pool.nr -= share
        pool.surplus -= share if are_surplus else 0
        leave_pools(machine, extents)
    return sum(shares.values())


def leave_pools(machine: Machine, extents: Iterable[tuple[int, int]]) -> None:
    """Give free huge pages, which no pool counts any more, back to the page allocator."""
    edits = FrameEdits(machine)
    edits.free(extents)
    edits.commit()


def _allowed(machine: Machine, task: Task) -> int:
    """The free huge pages on nodes that the task may use. Mirrors allowed_mems_nr()."""
    nodes = task.mems_allowed
    if task.policy is not None and task.policy.mode == MPOL.BIND:
        nodes = nodes & task.policy.nodes
    return sum(node.hugetlb.nr_free for nid, node in machine.nodes.items() if nid in nodes)


def dequeue(machine: Machine, nid: int, mask: Nodemask | None, mems: Nodemask) -> int | None:
    """A free page of the nearest pool to *nid*. Mirrors dequeue_hugetlb_folio_nodemask()."""
    for other in zonelist(machine, nid):
        pool = machine.nodes[other].hugetlb
        if pool.nr_free and other in mems and (mask is None or other in mask):
            pfn = _first_free(machine, pool)
            if pfn is not None:
                pool.take(pfn)
                return pfn
    return None


def _first_free(machine: Machine, pool: HugePool) -> int | None:
    """The first free page of *pool* that is not bad or isolated, and may be pinned if it must."""
    isolated, is_for_long = machine.scope.isolated, machine.scope.memalloc_pin
    has_bad = machine.num_poisoned_pages > 0
    if isolated is None and not is_for_long and not has_bad:
        return pool.back[-1] if pool.back else pool.free.runs[0].start
    for pfn in pool.in_order():
        if has_bad and frame_of(machine, pfn).flags & FrameFlag.HWPOISON:
            continue
        is_isolated = isolated is not None and isolated.start <= pfn < isolated.end
        if not is_isolated and not (is_for_long and not is_longterm_pinnable(machine, pfn)):
            return pfn
    return None
