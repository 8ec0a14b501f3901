"""What the runs of a page table hold, by node."""

from collections import Counter
from itertools import islice, repeat
from operator import rshift

from pymigrate.mm.base.memmap import NODE_SHIFT, nid_of
from pymigrate.mm.base.pte import Pte, PteRun


def count_nodes(counts: Counter[int], run: PteRun, a: int, b: int) -> None:
    """Add to *counts* the pages [a, b) of *run*, all of them present, by node.

    The cost is that of its lanes, however many pages there are, except in an explicit table.
    """
    lanes, order = run.lanes, run.order
    k, first, last = len(lanes), a - run.start, b - run.start
    if k == 1:
        counts[nid_of(lanes[0])] += b - a
    elif k == run.nr and not order:
        nids = [*map(rshift, islice(lanes, first, last), repeat(NODE_SHIFT))]
        for nid in set(nids):
            counts[nid] += nids.count(nid)
    else:
        for lane, pfn in enumerate(lanes):
            nr = _before(last, lane, k, order) - _before(first, lane, k, order)
            if nr:
                counts[nid_of(pfn)] += nr


def is_resident(run: PteRun) -> bool:
    """Whether its entries have frames. (The zero page is in nobody's RSS.)"""
    return bool(run.lanes and run.flags & Pte.PRESENT)


def _before(page: int, lane: int, k: int, order: int) -> int:
    """How many of a run's first *page* pages lie in *lane* of *k*."""
    rounds, rest = divmod(page, k << order)
    return (rounds << order) + min(max(rest - (lane << order), 0), 1 << order)
