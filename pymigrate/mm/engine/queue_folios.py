"""Which pages of an address space a policy call moves: the walk, and migrate_pages()'s pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import compress

from pymigrate.mm.base.memmap import NODE_SHIFT, Folio, FrameFlag, nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.base.why import Stay, Why
from pymigrate.mm.engine.folio_list import Slice, named, stays_of
from pymigrate.mm.frames.frames import folio_of, frame_of, states_of, uniform_parts
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.vma import Vma, is_migratable
from pymigrate.records import NamedTuple


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
        self.refused: list[tuple[Slice, Why]] = []  # what is misplaced and stays
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
            for part in _misplaced(self.machine, vma, run, self.walk.is_misplaced):
                known = part.states.distinct
                if not part.run.order:
                    is_mixed = any(frame.order for frame in known)
                    (self._add_mixed if is_mixed else self._add)(vma, part)
                elif any(frame.flags & FrameFlag.MIXED for frame in known):
                    for one in part.folios():
                        folio = folio_of(self.machine, one.run.lanes[0])
                        self._add_large(vma, folio, one.run.start, one.run.flags)
                else:
                    self._add(vma, part)

    def pass_over(self, mm: Mm, vma: Vma, a: int, b: int) -> None:
        """Note the misplaced pages in [a, b) of *vma*, which is never migrated."""
        for run in mm.page_table.between(a, b):
            if run.lanes and run.flags & Pte.PRESENT:
                found = _misplaced(self.machine, vma, run, self.walk.is_misplaced)
                self.refused += [(part, Why.UNMOVABLE) for part in found]

    def stays(self) -> Iterator[Stay]:
        """What the walk has found misplaced and not queued, and why."""
        return stays_of(self.refused)

    def _add_merged(self, vma: Vma, run: PteRun) -> None:
        """Queue the KSM pages that *run* maps, each named by its node of the stable tree."""
        for entry in run.entries():
            frame = frame_of(self.machine, entry.lanes[0])
            if not self.walk.is_misplaced(nid_of(entry.lanes[0])):
                continue
            merged = Slice.whole(entry.moved(frame.owner), frame, 0)
            if not self._may_move(vma, merged):
                self.failed += 1
            else:
                self._add_alike(vma, merged, frame.likely_shared)

    def _add_mixed(self, vma: Vma, part: Slice) -> None:
        """Queue pages of which some belong to large folios: those are queued by their first page.

        A page of the folio that was met last is passed over.
        """
        run, k = part.run, len(part.run.lanes)
        frame_of_lane = dict(zip(part.picked, part.states.each, strict=True))
        at = run.start
        while at < run.end:
            lane = (at - run.start) % k
            frame = frame_of_lane.get(lane)
            if frame is None or not frame.order:
                if frame is not None:
                    self._add(vma, Slice.whole(run.clip(at, at + 1), frame, vma.index(at)))
                at += 1
                continue
            pfn = run.pfn(at)
            folio = folio_of(self.machine, pfn)
            if folio.pfn != self.large or not self.machine.release.folios_not_pages:
                self.large = folio.pfn
                self._add_large(vma, folio, at - (pfn - folio.pfn), run.flags)
            whole = k == 1 and self.machine.release.folios_not_pages
            at += folio.pfn + folio.nr - pfn if whole else 1

    def _add_large(self, vma: Vma, folio: Folio, page: int, flags: int) -> None:
        """Queue a large folio whose first page is at *page*."""
        run = PteRun(page, folio.nr, (folio.pfn,), folio.order, flags)
        by_folio = self.machine.release.folios_not_pages
        is_shared = folio.likely_shared if by_folio else folio.frame.mapcount != 1
        large = Slice.whole(run, folio.merged(), vma.index(page))
        if not self._may_move(vma, large):
            self.failed += 1
        else:
            self._add_alike(vma, large, is_shared)

    def _add(self, vma: Vma, part: Slice) -> None:
        """Queue those of *part* that may move."""
        if not self._may_move(vma, part):
            self.failed += part.nr_folios
            return
        kinds = {(each.is_anon, each.owner, each.likely_shared) for each in part.states.distinct}
        if len(kinds) > 1:
            self._add_by_owner(vma, part)
        elif part.states.first.likely_shared:
            self._add_alike(vma, part, is_shared=True)
        else:
            self._isolate(vma, part)

    def _add_alike(self, vma: Vma, part: Slice, is_shared: bool) -> None:
        """Queue folios that other entries may name too; shared ones if all are to move."""
        if is_shared and not self.walk.move_all:
            self.refused.append((part, Why.SHARED))
        else:
            self._isolate_shared(vma, part)

    def _add_by_owner(self, vma: Vma, part: Slice) -> None:
        """Queue those of *part* that may move, what has one owner together."""
        groups: dict[tuple[bool, int], list[int]] = {}
        shared: list[int] = []
        for i, frame in enumerate(part.states.each):
            if not frame.likely_shared or self.walk.move_all:
                groups.setdefault((frame.is_anon, frame.owner), []).append(i)
            else:
                shared.append(i)
        if shared:
            self.refused.append((part.only(shared), Why.SHARED))
        for places in groups.values():
            group = part.only(places)
            if any(frame.likely_shared for frame in group.states.distinct):
                self._isolate_shared(vma, group)
            else:
                self._isolate(vma, group)

    def _may_move(self, vma: Vma, part: Slice) -> bool:
        """Whether folios of *vma* move at all; notes *part* if it alone keeps them."""
        if self.walk.may_move and not is_migratable(vma):
            self.refused.append((part, Why.UNMOVABLE))
        return self.walk.may_move and is_migratable(vma)

    def _isolate_shared(self, vma: Vma, part: Slice) -> None:
        """Isolate folios that other entries of this walk may name too; the second time fails."""
        extents = part.extents()
        seen = sum(run.nr for start, nr in extents for run in self._seen(start, nr))
        if not seen:
            for start, nr in extents:
                self.isolated.put(start, start + nr, Extent(start, nr))
            self._isolate(vma, part)
        elif seen == part.nr:
            if self.machine.release.second_sighting_fails or self.walk.strict:
                self.failed += part.nr_folios
        else:
            for one in part.folios():
                self._isolate_shared(vma, one)

    def _seen(self, start: int, nr: int) -> list[Extent]:
        return self.isolated.between(start, start + nr)

    def _isolate(self, vma: Vma, part: Slice) -> None:
        if not part.states.first.flags & FrameFlag.KSM:
            self.first_vma = self.first_vma or vma
        self.slices.append(named(self.machine, vma, part))


def _misplaced(
    machine: Machine, vma: Vma, run: PteRun, is_misplaced: Callable[[int], bool]
) -> Iterator[Slice]:
    """The folios of *run*, a part of *vma*, in lanes on a misplaced node."""
    lanes, k = run.lanes, len(run.lanes)
    low, high = min(lanes) >> NODE_SHIFT, max(lanes) >> NODE_SHIFT
    wrong = set(filter(is_misplaced, range(low, high + 1)))
    if not wrong:
        return
    if k > 1 and k == run.nr:  # of base pages
        picked = _entries_on(lanes, wrong, low, high)
        if picked:
            states = states_of(machine, [*map(lanes.__getitem__, picked)])
            yield Slice(run, picked, states, vma.index(run.start))
        return
    for part, states in uniform_parts(machine, run):
        picked = tuple([i for i, pfn in enumerate(part.lanes) if pfn >> NODE_SHIFT in wrong])
        if picked:
            yield Slice(part, picked, states.at(picked), vma.index(part.start))


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
