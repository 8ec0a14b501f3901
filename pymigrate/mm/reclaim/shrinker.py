"""Shrinkers: what dropping slab caches does to memory of tasks. Mirrors mm/shrinker.c."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from pymigrate.mm.base.memmap import Folio, FrameFlag
from pymigrate.mm.frames.frames import folio_of, update_folio
from pymigrate.mm.spaces.huge_memory import split_huge_page
from pymigrate.mm.state.machine import Machine
from pymigrate.units import HPAGE_PMD_NR, huge_floor

_WAITING = FrameFlag.PARTIALLY_MAPPED | FrameFlag.QUEUED


def drop_slab(machine: Machine) -> None:
    """Run all shrinkers. Mirrors drop_slab()."""
    shrink_slab(machine)


def shrink_slab(machine: Machine) -> int:
    """Run all shrinkers; of those the queue of huge pages to be split is the one that shows.

    A huge page of which a part was unmapped is split, and one that holds too little. All others
    are looked at no more. What somebody has in hand cannot be split. The queue is the cgroup's, so
    it has the huge pages of all nodes. Returns how many huge pages were split.

    Mirrors shrink_slab() and deferred_split_scan().
    """
    split = 0
    pages = _first_pages(machine, sorted(_waiting(machine)))
    for pfn, page in sorted(pages.items()):
        folio = folio_of(machine, pfn)
        is_partial = folio.flags & FrameFlag.PARTIALLY_MAPPED
        is_underused = not is_partial and _is_underused(machine, folio)
        if (is_partial or is_underused) and _try_to_split(machine, folio, page):
            machine.counters.add("thp_underused_split_page", int(is_underused))
            split += 1
        elif not is_partial:
            update_folio(machine, pfn, lambda frame: frame.without_flags(FrameFlag.QUEUED))
    return split


def _try_to_split(machine: Machine, folio: Folio, page: int) -> bool:
    """Split *folio*, if nobody has isolated it."""
    if machine.scope.off_lru.between(folio.pfn, folio.pfn + folio.nr):
        machine.counters.add("thp_split_page_failed")
        return False
    return split_huge_page(machine, folio, page)


def _waiting(machine: Machine) -> set[int]:
    """The first frames of the huge pages in the queue."""
    return {
        pfn
        for node in machine.nodes.values()
        for start, nr, frame in node.memmap.runs
        if frame.order and frame.flags & _WAITING
        for pfn in range(huge_floor(start), start + nr, HPAGE_PMD_NR)
    }


def _is_underused(machine: Machine, folio: Folio) -> bool:
    """Whether too many of its pages hold nothing. Mirrors thp_underused()."""
    nr = sum(run.nr for run in folio.runs if run.frame.flags & FrameFlag.ZEROED)
    return nr > machine.max_ptes_none and machine.max_ptes_none < HPAGE_PMD_NR - 1


def _first_pages(machine: Machine, heads: list[int]) -> dict[int, int]:
    """The page of each of the frames *heads*, as rmap.mappings() counts, where it is mapped."""
    found: dict[int, int] = {}
    if not heads:
        return found
    for mm in machine.mms.values():
        for run in mm.named_runs():
            k, size = len(run.lanes), 1 << run.order
            for i, first in enumerate(run.lanes):
                for head in _meeting(heads, first, first + (run.count(i) << run.order)):
                    pfn = max(head, first)
                    entry = run.start + (((pfn - first) >> run.order) * k + i) * size
                    found[head] = entry - (pfn - head)
    return found


def _meeting(heads: list[int], a: int, b: int) -> Iterator[int]:
    """Those of *heads* whose huge page has frames of [a, b)."""
    for i in range(bisect_left(heads, a - HPAGE_PMD_NR + 1), len(heads)):
        if heads[i] >= b:
            return
        yield heads[i]
