"""move_pages() for long lists: the loop is played through first, and its moves are made at once.

This is only done where nothing can go wrong on the way: every page to be moved is anonymous,
mapped once and held by nobody, none moves twice, and each target has room. Then neither the order
of the moves nor the kernel's runs of pages show in the result.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from pymigrate.errors import ERRNO
from pymigrate.mm.frames import FrameEdits
from pymigrate.mm.memmap import Frame, FrameFlag, FrameRun, nid_of
from pymigrate.mm.mempolicy import Placement
from pymigrate.mm.page_alloc import alloc_pages, free_pages, room_for
from pymigrate.mm.pte import Pte
from pymigrate.mm.runs import pages_to_extents
from pymigrate.mm.vma import is_migratable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pymigrate.mm.machine import Machine, Task
    from pymigrate.mm.pte import PteRun

# Below this the page by page loop is fast enough, and tried far more often.
MIN_PAGES = 64
_SIMPLE = FrameFlag.ANON | FrameFlag.SWAPBACKED | FrameFlag.DIRTY | FrameFlag.MLOCKED

EACCES, EBUSY = -ERRNO["EACCES"], -ERRNO["EBUSY"]


class Plan:
    """What the loop over *pages* and *nodes* would do, played on the places of the frames."""

    def __init__(
        self, found: Mapping[int, int], shared: set[int], status: list[int | None]
    ) -> None:
        self.found, self.shared, self.status = found, shared, status
        self.moved: dict[int, int] = {}  # page -> node, in the order of the moves
        self.is_simple = True

    def play(self, pages: Sequence[int], nodes: Sequence[int], refused: Mapping[int, str]) -> None:
        """Go through the list up to the first node of *refused*. Mirrors do_pages_move()."""
        found, moved, status, shared = self.found, self.moved, self.status, self.shared
        current, start = -1, 0
        queue: dict[int, int] = {}
        end = len(pages)
        for i, (page, node) in enumerate(zip(pages, nodes, strict=True)):
            if node in refused:
                end = i
                break
            if node != current:
                if queue:
                    moved.update(queue)
                    status[start:i] = [current] * (i - start)
                    queue = {}
                current, start = node, i
            place = found[page]
            if page in moved:
                outcome = node
                if moved[page] != node:
                    self.is_simple = False
                    return
            elif place < 0:
                outcome = place
            elif nid_of(place) == node:
                outcome = node
            elif page in shared:
                outcome = EACCES
            elif page in queue:
                outcome = EBUSY
            else:
                queue[page] = node
                continue
            status[i] = outcome
            if queue:
                moved.update(queue)
                status[start:i] = [current] * (i - start)
                queue = {}
            current = -1
        if queue:
            moved.update(queue)
            status[start:end] = [current] * (end - start)


def play(
    machine: Machine,
    caller: Task,
    target: Task,
    pages: Sequence[int],
    nodes: Sequence[int],
    refused: Mapping[int, str],
    move_all: bool,
) -> list[int | None] | None:
    """Move *pages* to *nodes* if that is simple; return the statuses, or None with nothing done.

    *refused* names the nodes that end the call.
    """
    if len(pages) < MIN_PAGES or machine.release.absent_anon_is_efault:
        return None
    status: list[int | None] = [None] * len(pages)
    looked_up = _look_up(machine, target, sorted(set(pages)), move_all)
    if looked_up is None:
        return None
    found, shared, frames = looked_up
    plan = Plan(found, shared, status)
    plan.play(pages, nodes, refused)
    wanted: dict[int, list[int]] = {}
    for page, node in plan.moved.items():
        wanted.setdefault(node, []).append(page)
    for node, there in wanted.items():
        where = Placement((node,), this_node=True)
        if len(there) > room_for(machine, caller, where):
            return None
    if not plan.is_simple:
        return None
    _carry_out(machine, caller, target, found, frames, wanted)
    return status


def _look_up(
    machine: Machine, target: Task, pages: list[int], move_all: bool
) -> tuple[dict[int, int], set[int], dict[int, Frame]] | None:
    """Each page's frame number or negative errno, which pages are shared, and their frames.

    *pages* is sorted. None if some page needs the slower way.
    """
    found: dict[int, int] = {}
    shared: set[int] = set()
    frames: dict[int, Frame] = {}
    table = target.mm.page_table
    runs, starts = table.runs, table.starts
    vma = run = None
    memo = FrameRun(0, 0, Frame(0, 0))
    for page in pages:
        if vma is None or page >= vma.end:
            vma = target.mm.find_vma(page)
        if vma is None or page < vma.start or not is_migratable(vma):
            found[page] = -ERRNO["EFAULT"]
            continue
        if run is None or page >= run.start + run.nr:
            i = bisect_right(starts, page) - 1
            run = runs[i] if i >= 0 else None
        if run is None or page >= run.start + run.nr or not run.flags & Pte.PRESENT:
            found[page] = -ERRNO["ENOENT"]
            continue
        if not run.lanes:
            found[page] = -ERRNO["EFAULT"]
            continue
        pfn = found[page] = (
            run.lanes[0] + page - run.start if len(run.lanes) == 1 else run.pfn(page)
        )
        if not memo.start <= pfn < memo.start + memo.nr:
            there = machine.nodes[nid_of(pfn)].memmap.at(pfn)
            assert there is not None
            memo = there
        frame = frames[page] = memo.frame
        if frame.pte_maps != 1 or frame.is_held or frame.flags & ~_SIMPLE or not frame.is_anon:
            if move_all or frame.pte_maps < 2:
                return None
            shared.add(page)
    return found, shared, frames


def _carry_out(
    machine: Machine,
    caller: Task,
    target: Task,
    found: Mapping[int, int],
    frames: Mapping[int, Frame],
    wanted: Mapping[int, list[int]],
) -> None:
    """Give each page of *wanted* a frame on its node: all tables in one sweep each."""
    fresh: dict[int, int] = {}
    edits = FrameEdits(machine)
    table = target.mm.page_table
    for node, pages in wanted.items():
        where = Placement((node,), this_node=True)
        lanes, _ = alloc_pages(machine, caller, where, 0, len(pages))
        pfns = [pfn for start, nr in lanes[0] for pfn in range(start, start + nr)]
        fresh.update(zip(pages, pfns, strict=True))
        states = {frames[page] for page in pages}
        dirty = {frame.with_flags(FrameFlag.DIRTY) for frame in states}
        if len(dirty) == 1 and _all_dirty(table.between(min(pages), max(pages) + 1)):
            edits.set(lanes[0], dirty.pop())
        else:
            for page, pfn in zip(pages, pfns, strict=True):
                run = table.at(page)
                assert run is not None
                flag = FrameFlag.DIRTY if run.flags & Pte.DIRTY else 0
                edits.set([(pfn, 1)], frames[page].with_flags(flag))
    edits.commit()
    moved = sorted(fresh)

    def replace(run: PteRun, points: Sequence[int]) -> list[PteRun]:
        return run.scattered(points, [fresh[page] for page in points])

    table.edit_points(moved, replace)
    by_node: dict[int, list[int]] = {}
    for page in moved:
        pfn = found[page]
        by_node.setdefault(nid_of(pfn), []).append(pfn)
    for nid, old in by_node.items():
        old.sort()
        machine.nodes[nid].memmap.edit_points(old, FrameRun.without)
        free_pages(machine, pages_to_extents(old))
    machine.counters.add("pgmigrate_success", len(moved))


def _all_dirty(runs: list[PteRun]) -> bool:
    return all(run.flags & Pte.DIRTY for run in runs)
