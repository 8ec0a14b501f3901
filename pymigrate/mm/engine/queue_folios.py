"""Which pages of an address space a policy call moves: the walk, and migrate_pages()'s pairs."""

from __future__ import annotations

from bisect import bisect_right
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

from pymigrate.mm.base.memmap import NODE_SHIFT, FrameFlag, nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.frames.frames import folio_of, frame_of, uniform_parts
from pymigrate.mm.state.vma import is_migratable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pymigrate.mm.base.memmap import Folio, Frame
    from pymigrate.mm.state.machine import Machine
    from pymigrate.mm.state.mm import Mm
    from pymigrate.mm.state.vma import Vma


class Walk(NamedTuple):
    """What a walk looks for, and what it may do with it."""

    is_misplaced: Callable[[int], bool]  # of a node
    move: bool = True
    move_all: bool = False
    strict: bool = False

    @property
    def may_move(self) -> bool:
        """Whether misplaced folios are to be moved."""
        return self.move or self.move_all


class Queue:
    """Folios isolated so far, in the order of the walk, and how many could not be."""

    def __init__(self, machine: Machine, walk: Walk) -> None:
        self.machine, self.walk = machine, walk
        self.slices: list[Slice] = []
        self.first_vma: Vma | None = None  # that of the first slice not of KSM's
        self.failed = 0
        self.isolated: RunMap[Extent] = RunMap()  # of folios that are mapped more than once
        self.large = -1  # the large folio that was met last, page by page

    def add_vma(self, mm: Mm, vma: Vma, a: int, b: int) -> None:
        """Queue the misplaced folios of pages [a, b) of *vma*. Mirrors queue_folios_pte_range()."""
        for run in mm.page_table.between(a, b):
            if not run.lanes or not run.flags & Pte.PRESENT:
                continue
            if run.flags & Pte.KSM:
                self._add_merged(vma, run)
                continue
            for part, lanes, frames in _misplaced(self.machine, run, self.walk.is_misplaced):
                if not part.order and any(frame.order for frame in frames):
                    self._add_mixed(vma, part, lanes, frames)
                elif any(frame.flags & FrameFlag.MIXED for frame in frames):
                    for one in Slice(part, lanes, frames, 0).folios():
                        folio = folio_of(self.machine, one.run.lanes[0])
                        self._add_large(vma, folio, one.run.start, one.run.flags)
                else:
                    self._add(vma, part, lanes, frames)

    def _add_merged(self, vma: Vma, run: PteRun) -> None:
        """Queue the KSM pages that *run* maps, each named by its node of the stable tree."""
        for entry in run.entries():
            frame = frame_of(self.machine, entry.lanes[0])
            if not self.walk.is_misplaced(nid_of(entry.lanes[0])):
                continue
            if not self.walk.may_move or not is_migratable(vma):
                self.failed += 1
            elif not frame.likely_shared or self.walk.move_all:
                self._isolate_shared(vma, entry.moved(frame.owner), (0,), (frame,))

    def _add_mixed(
        self, vma: Vma, part: PteRun, lanes: tuple[int, ...], frames: tuple[Frame, ...]
    ) -> None:
        """Queue pages of which some belong to large folios: those are queued by their first page.

        A page of the folio that was met last is passed over.
        """
        frame_of_lane = dict(zip(lanes, Slice(part, lanes, frames, 0).states, strict=True))
        k, at = len(part.lanes), part.start
        while at < part.end:
            lane = (at - part.start) % k
            frame = frame_of_lane.get(lane)
            if frame is None or not frame.order:
                if frame is not None:
                    self._add(vma, part.clip(at, at + 1), (0,), (frame,))
                at += 1
                continue
            pfn = part.pfn(at)
            folio = folio_of(self.machine, pfn)
            if folio.pfn != self.large or not self.machine.release.folios_not_pages:
                self.large = folio.pfn
                self._add_large(vma, folio, at - (pfn - folio.pfn), part.flags)
            whole = k == 1 and self.machine.release.folios_not_pages
            at += folio.pfn + folio.nr - pfn if whole else 1

    def _add_large(self, vma: Vma, folio: Folio, page: int, flags: int) -> None:
        """Queue a large folio whose first page is at *page*."""
        run = PteRun(page, folio.nr, (folio.pfn,), folio.order, flags)
        by_folio = self.machine.release.folios_not_pages
        is_shared = folio.likely_shared if by_folio else folio.frame.mapcount != 1
        if not self.walk.may_move or not is_migratable(vma):
            self.failed += 1
        elif not is_shared or self.walk.move_all:
            self._isolate_shared(vma, run, (0,), (folio.merged(),))

    def _add(
        self, vma: Vma, part: PteRun, lanes: tuple[int, ...], frames: tuple[Frame, ...]
    ) -> None:
        if not self.walk.may_move or not is_migratable(vma):
            self.failed += Slice(part, lanes, frames, 0).nr_folios
            return
        distinct = set(frames)
        if len({(frame.is_anon, frame.owner) for frame in distinct}) == 1:
            if not any(frame.likely_shared for frame in distinct):
                self._isolate(vma, part, lanes, frames)
                return
            if len(distinct) == 1:
                if self.walk.move_all:
                    self._isolate_shared(vma, part, lanes, frames)
                return
        groups: dict[tuple[bool, int], list[tuple[int, Frame]]] = {}
        for lane, frame in zip(lanes, frames, strict=True):
            if not frame.likely_shared or self.walk.move_all:
                groups.setdefault((frame.is_anon, frame.owner), []).append((lane, frame))
        for group in groups.values():
            states = tuple([frame for _, frame in group])
            if any(frame.likely_shared for frame in states):
                self._isolate_shared(vma, part, tuple([lane for lane, _ in group]), states)
            else:
                self._isolate(vma, part, tuple([lane for lane, _ in group]), states)

    def _isolate_shared(
        self, vma: Vma, part: PteRun, lanes: tuple[int, ...], frames: tuple[Frame, ...]
    ) -> None:
        """Isolate folios that other entries of this walk may name too; the second time fails."""
        part_slice = Slice(part, lanes, frames, 0)
        extents = part_slice.extents()
        seen = sum(run.nr for start, nr in extents for run in self._seen(start, nr))
        if not seen:
            for start, nr in extents:
                self.isolated.put(start, start + nr, Extent(start, nr))
            self._isolate(vma, part, lanes, frames)
        elif seen == part_slice.nr:
            if self.machine.release.second_sighting_fails or self.walk.strict:
                self.failed += part_slice.nr_folios
        else:
            for page in part_slice.folios():
                self._isolate_shared(vma, page.run, page.picked, page.frames)

    def _seen(self, start: int, nr: int) -> list[Extent]:
        return self.isolated.between(start, start + nr)

    def _isolate(
        self, vma: Vma, part: PteRun, lanes: tuple[int, ...], frames: tuple[Frame, ...]
    ) -> None:
        if frames[0].flags & FrameFlag.KSM:
            first = self.machine.stable_tree.index(frames[0].owner)
            self.slices.append(Slice(part, lanes, frames, first))
            return
        self.first_vma = self.first_vma or vma
        index = vma.index(part.start)
        run = part if frames[0].is_anon else part.moved(index)
        self.slices.append(Slice(run, lanes, frames, index))


def _misplaced(
    machine: Machine, run: PteRun, is_misplaced: Callable[[int], bool]
) -> Iterator[tuple[PteRun, tuple[int, ...], tuple[Frame, ...]]]:
    """The parts of *run* with lanes on a misplaced node, those lanes, and their frames."""
    lanes, k = run.lanes, len(run.lanes)
    low, high = nid_of(min(lanes)), nid_of(max(lanes))
    wrong = {nid for nid in range(low, high + 1) if is_misplaced(nid)}
    if not wrong:
        return
    if k > 1 and k == run.nr:  # of base pages
        picked = _entries_on(lanes, wrong, low, high)
        if picked:
            yield run, picked, _frames(machine, [lanes[i] for i in picked])
        return
    for part, frames in uniform_parts(machine, run):
        picked = tuple([i for i, pfn in enumerate(part.lanes) if nid_of(pfn) in wrong])
        if picked:
            states = frames if len(frames) == 1 else tuple([frames[i] for i in picked])
            yield part, picked, states if len(set(states)) > 1 else states[:1]


def _entries_on(lanes: tuple[int, ...], wrong: set[int], low: int, high: int) -> tuple[int, ...]:
    """Which of *lanes*, whose nodes are *low* to *high*, lie on a node of *wrong*.

    The frequent cases (all, the lowest node, the highest) are kept free of interpreted loops.
    """
    entries = range(len(lanes))
    if low == high:
        return tuple(entries)
    if wrong == {low}:
        return tuple(compress(entries, map(((low + 1) << NODE_SHIFT).__gt__, lanes)))
    if wrong == {high}:
        return tuple(compress(entries, map((high << NODE_SHIFT).__le__, lanes)))
    if len(wrong) == 1:
        a = min(wrong) << NODE_SHIFT
        b = a + (1 << NODE_SHIFT)
        return tuple([i for i, pfn in enumerate(lanes) if a <= pfn < b])
    return tuple([i for i, pfn in enumerate(lanes) if pfn >> NODE_SHIFT in wrong])


def _frames(machine: Machine, pfns: list[int]) -> tuple[Frame, ...]:
    """The states of *pfns*, just one if all are alike."""
    low, high = min(pfns), max(pfns)
    if nid_of(low) != nid_of(high):
        frames = [frame_of(machine, pfn) for pfn in pfns]
    else:
        memmap = machine.memmap_of(low)
        runs, starts = memmap.runs, memmap.starts
        first = bisect_right(starts, low) - 1
        if high < runs[first].start + runs[first].nr:
            return (runs[first].frame,)
        last = bisect_right(starts, high, first)
        frames = [runs[bisect_right(starts, pfn, first, last) - 1].frame for pfn in pfns]
    return tuple(frames) if len(set(frames)) > 1 else (frames[0],)
