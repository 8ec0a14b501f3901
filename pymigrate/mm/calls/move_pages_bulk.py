"""move_pages() for long lists: the loop is played through first, and its moves are made at once.

This is only done where nothing can go wrong on the way: every page to be moved is anonymous,
mapped once and held by nobody, none moves twice, and each target has room. Then neither the order
of the moves nor the kernel's runs of pages show in the result.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from pymigrate.errors import ERRNO
from pymigrate.mm.base.memmap import NODE_SHIFT, Frame, FrameFlag, FrameRun, nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import pages_to_extents
from pymigrate.mm.frames.frames import FrameEdits, frame_of
from pymigrate.mm.frames.page_alloc import alloc_run, free_extents, room_for
from pymigrate.mm.frames.placement import ThisNode
from pymigrate.mm.state.cost import NR_MAX_BATCHED_MIGRATION
from pymigrate.mm.state.vma import is_migratable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pymigrate.mm.base.runs import Extent
    from pymigrate.mm.state.machine import Machine
    from pymigrate.mm.state.task import Task

# Below this the page by page loop is fast enough, and tried far more often.
MIN_PAGES = 64

EACCES, EBUSY = -ERRNO["EACCES"], -ERRNO["EBUSY"]


class Plan:
    """What the loop over *pages* and *nodes* would do, played on the places of the frames."""

    def __init__(
        self, found: Mapping[int, int], shared: set[int], status: list[int | None]
    ) -> None:
        self.found, self.shared, self.status = found, shared, status
        self.moved: dict[int, int] = {}  # page -> node, in the order of the moves
        self.is_simple = True
        self.flushes = 0

    def play(self, pages: Sequence[int], nodes: Sequence[int]) -> None:
        """Go through the list. Mirrors do_pages_move()."""
        status = self.status
        current, start = -1, 0
        queue: dict[int, int] = {}
        for i, (page, node) in enumerate(zip(pages, nodes, strict=True)):
            if node != current:
                self._submit(queue, current, start, i)
                current, start, queue = node, i, {}
            outcome = self._outcome(page, node, queue)
            if outcome is None:
                queue[page] = node
                continue
            status[i] = outcome
            self._submit(queue, current, start, i)
            current, queue = -1, {}
        self._submit(queue, current, start, len(pages))

    def _outcome(self, page: int, node: int, queue: dict[int, int]) -> int | None:
        """The status of a page that is not queued, in the order of its checks."""
        if page in self.moved:
            self.is_simple = self.is_simple and self.moved[page] == node
            return node
        place = self.found[page]
        if place < 0:
            return place
        if place >> NODE_SHIFT == node:
            return node
        if page in self.shared:
            return EACCES
        return EBUSY if page in queue else None

    def _submit(self, queue: dict[int, int], node: int, start: int, end: int) -> None:
        """The queued run moves, and its statuses are written."""
        if queue:
            self.moved.update(queue)
            self.flushes += -(-len(queue) // NR_MAX_BATCHED_MIGRATION)
            self.status[start:end] = [node] * (end - start)


def play(
    machine: Machine,
    caller: Task,
    target: Task,
    pages: Sequence[int],
    nodes: Sequence[int],
    move_all: bool,
) -> list[int | None] | None:
    """Move *pages* to *nodes* if that is simple; return the statuses, or None with nothing done."""
    if len(pages) < MIN_PAGES or machine.release.absent_anon_is_efault or machine.is_watched:
        return None
    status: list[int | None] = [None] * len(pages)
    looked_up = _look_up(machine, target, sorted(set(pages)), move_all)
    if looked_up is None:
        return None
    found, shared = looked_up
    plan = Plan(found, shared, status)
    plan.play(pages, nodes)
    wanted: dict[int, list[int]] = {}
    for page, node in plan.moved.items():
        wanted.setdefault(node, []).append(page)
    for node, there in wanted.items():
        where = ThisNode(node)
        if len(there) > room_for(machine, caller, where):
            return None
    if not plan.is_simple:
        return None
    _carry_out(machine, caller, target, found, wanted)
    if machine.watch.tally is not None:
        pairs = ((found[page] >> NODE_SHIFT, node) for page, node in plan.moved.items())
        machine.watch.tally.pages.update(pairs)
        machine.watch.tally.flushed(plan.flushes)
    return status


def _look_up(
    machine: Machine, target: Task, pages: list[int], move_all: bool
) -> tuple[dict[int, int], set[int]] | None:
    """Each page's frame number or negative errno, and which pages are shared.

    *pages* is sorted. None if some page needs the slower way.
    """
    found = dict.fromkeys(pages, -ERRNO["EFAULT"])
    shared: set[int] = set()
    i = 0
    while i < len(pages):
        vma = target.mm.find_vma(pages[i])
        if vma is None or not is_migratable(vma):
            i += 1
            continue
        end = bisect_left(pages, vma.end, i)
        while i < end:
            run = target.mm.page_table.at(pages[i])
            j = i + 1 if run is None else bisect_left(pages, run.end, i, end)
            part = pages[i:j]
            if run is None or not run.flags & Pte.PRESENT:
                found.update(dict.fromkeys(part, -ERRNO["ENOENT"]))
            elif run.flags & Pte.HINT:
                return None
            elif run.lanes:
                pfns = _pfns(run, part)
                simple = _is_simple(machine, pfns)
                if simple is None and not move_all:
                    simple = _find_shared(machine, part, pfns, shared)
                if not simple:
                    return None
                found.update(zip(part, pfns, strict=True))
            i = j
    return found, shared


def _pfns(run: PteRun, pages: list[int]) -> list[int]:
    if len(run.lanes) == 1:
        shift = run.lanes[0] - run.start
        return [page + shift for page in pages]
    return [run.pfn(page) for page in pages]


def _is_simple(machine: Machine, pfns: list[int]) -> bool | None:
    """Whether none of the frames needs care; None if some are mapped more than once."""
    by_node: dict[int, list[int]] = {}
    low, high = min(pfns), max(pfns)
    if nid_of(low) == nid_of(high):
        by_node[nid_of(low)] = pfns
    else:
        for pfn in pfns:
            by_node.setdefault(nid_of(pfn), []).append(pfn)
    seen: set[Frame] = set()
    for there in by_node.values():
        low, high = min(there), max(there)
        memmap = machine.memmap_of(low)
        if len(there) == 1:
            found = memmap.at(low)
            seen.update([found.frame] if found else [])
        else:
            seen.update([found.frame for found in memmap.between(low, high + 1)])
    if all(_moves_simply(frame) for frame in seen):
        return True
    return None


def _find_shared(machine: Machine, pages: list[int], pfns: list[int], shared: set[int]) -> bool:
    """Add those of *pages* that are shared to *shared*; False if a frame needs care."""
    for page, pfn in zip(pages, pfns, strict=True):
        frame = frame_of(machine, pfn)
        if frame.pte_maps > 1 and not frame.order:
            shared.add(page)
        elif not _moves_simply(frame):
            return False
    return True


def _moves_simply(frame: Frame) -> bool:
    """Whether a base page is anonymous memory, which surely moves, that one entry maps."""
    return frame.is_anon and frame.is_plain and frame.pte_maps == 1 and not frame.order


def _carry_out(
    machine: Machine,
    caller: Task,
    target: Task,
    found: Mapping[int, int],
    wanted: Mapping[int, list[int]],
) -> None:
    """Give each page of *wanted* a frame on its node: all tables in one sweep each."""
    fresh: dict[int, int] = {}
    edits = FrameEdits(machine)
    for node, pages in wanted.items():
        where = ThisNode(node)
        runs = alloc_run(machine, caller, where, PteRun(0, len(pages), ()))
        extents = [extent for run in runs for extent in run.extents()]
        pfns = [pfn for start, nr in extents for pfn in range(start, start + nr)]
        fresh.update(zip(pages, pfns, strict=True))
        _set_frames(machine, target, edits, extents, pages, [found[page] for page in pages])
    edits.commit()
    moved = sorted(fresh)

    def replace(run: PteRun, points: Sequence[int]) -> list[PteRun]:
        return run.scattered(points, [fresh[page] for page in points])

    target.mm.page_table.edit_points(moved, replace)
    by_node: dict[int, list[int]] = {}
    for page in moved:
        pfn = found[page]
        by_node.setdefault(pfn >> NODE_SHIFT, []).append(pfn)
    for old in by_node.values():
        old.sort()
        machine.memmap_of(old[0]).edit_points(old, FrameRun.without)
        free_extents(machine, pages_to_extents(old))
    machine.counters.add("pgmigrate_success", len(moved))


def _set_frames(
    machine: Machine,
    target: Task,
    edits: FrameEdits,
    extents: list[Extent],
    pages: list[int],
    old: list[int],
) -> None:
    """Let the frames of *extents* be what the *old* frames of *pages* were.

    A folio is dirty if its entry was.
    """
    table = target.mm.page_table
    a, b = min(pages), max(pages) + 1
    is_dirty = {bool(run.flags & Pte.DIRTY) for run in table.between(a, b) if run.lanes}
    low, high = min(old), max(old)
    if len(is_dirty) == 1 and nid_of(low) == nid_of(high):
        memmap = machine.memmap_of(low)
        flag = FrameFlag.DIRTY if True in is_dirty else 0
        after = {run.frame.with_flags(flag) for run in memmap.between(low, high + 1)}
        if len(after) == 1:
            edits.set(extents, after.pop())
            return
    fresh = (pfn for start, nr in extents for pfn in range(start, start + nr))
    for page, before, pfn in zip(pages, old, fresh, strict=True):
        run = table.at(page)
        assert run is not None
        flag = FrameFlag.DIRTY if run.flags & Pte.DIRTY else 0
        edits.set([(pfn, 1)], frame_of(machine, before).with_flags(flag))
