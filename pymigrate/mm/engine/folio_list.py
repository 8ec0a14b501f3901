"""Lists of isolated folios: slices of page-table runs, and the batches that they are cut into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pymigrate.mm.base.memmap import Frame, FrameFlag, States
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.runs import Extent, pages_to_extents
from pymigrate.mm.base.why import Stay, Why
from pymigrate.mm.frames.frames import extents_of, folio_of
from pymigrate.mm.spaces.rmap import rmap_index
from pymigrate.mm.state.cost import NR_MAX_BATCHED_MIGRATION
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.vma import Vma
from pymigrate.records import NamedTuple


class Slice(NamedTuple):
    """Isolated folios: the entries of *run* that lie in the lanes *picked*.

    *run* counts pages as rmap.mappings() does, and its order is that of the folios (a large one
    may in truth be mapped page by page). *states* are those of the picked lanes' frames. *first*
    is the folio index of the run's first page.
    """

    run: PteRun
    picked: tuple[int, ...]
    states: States
    first: int

    @classmethod
    def whole(cls, run: PteRun, frame: Frame, first: int) -> Slice:
        """All folios of *run*, which are alike."""
        k = len(run.lanes)
        return cls(run, tuple(range(k)), States.same(frame, k), first)

    @property
    def nr(self) -> int:
        """The number of base pages that are picked."""
        return self.nr_folios << self.run.order

    @property
    def nr_folios(self) -> int:
        """The number of folios that are picked."""
        run, k = self.run, len(self.run.lanes)
        if k == run.nr >> run.order:
            return len(self.picked)
        return sum(run.count(lane) for lane in self.picked)

    @property
    def is_whole(self) -> bool:
        """Whether every page of the run is picked."""
        return len(self.picked) == len(self.run.lanes)

    def only(self, places: Sequence[int]) -> Slice:
        """Those folios alone whose lanes are at *places* among the picked ones."""
        picked = tuple([self.picked[i] for i in places])
        return self._replace(picked=picked, states=self.states.at(places))

    def split_picked(self, nr: int) -> tuple[Slice, Slice]:
        """Cut behind the first *nr* of the picked folios, but not behind all of them."""
        k = len(self.run.lanes)
        rows, extra = divmod(nr, len(self.picked))
        if not extra:
            entry = rows * k - k + self.picked[-1] + 1
        else:
            entry = rows * k + self.picked[extra - 1] + 1
        return self.split(self.run.start + (entry << self.run.order))

    def split(self, at: int) -> tuple[Slice, Slice]:
        """Cut before page *at*."""
        head, tail = self.run.split(at)
        k, cut = len(self.run.lanes), (at - self.run.start) >> self.run.order
        heads = [(lane, i) for i, lane in enumerate(self.picked)]
        tails = sorted(((lane - cut) % k, i) for lane, i in heads)
        if k == self.run.nr >> self.run.order:
            tails = [(lane - cut, i) for lane, i in heads if lane >= cut]
        return self._on(head, heads), self._on(tail, tails)

    def tables(self) -> Iterator[Slice]:
        """The same folios with every run an explicit table."""
        k, order = len(self.run.lanes), self.run.order
        by_lane = {lane: i for i, lane in enumerate(self.picked)}
        for table in self.run.tables():
            skip = (table.start - self.run.start) >> order
            lanes = [(entry, (skip + entry) % k) for entry in range(table.nr >> order)]
            picked = [(entry, by_lane[lane]) for entry, lane in lanes if lane in by_lane]
            if picked:
                yield self._on(table, picked)

    def folios(self) -> Iterator[Slice]:
        """The same folios one by one."""
        order = self.run.order
        for table in self.tables():
            for entry, frame in zip(table.picked, table.states.each, strict=True):
                page = table.run.start + (entry << order)
                one = PteRun(page, 1 << order, (table.run.lanes[entry],), order, table.run.flags)
                yield Slice.whole(one, frame, table.first + (entry << order))

    def extents(self) -> list[Extent]:
        """The frames that the picked folios have."""
        run = self.run
        if len(run.lanes) != run.nr >> run.order:
            return [Extent(run.lanes[lane], run.count(lane) << run.order) for lane in self.picked]
        if self.is_whole:
            return extents_of(run)
        if run.order:
            return [Extent(run.lanes[lane], 1 << run.order) for lane in self.picked]
        return pages_to_extents([*map(run.lanes.__getitem__, self.picked)])

    def _on(self, run: PteRun, picked: Sequence[tuple[int, int]]) -> Slice:
        """The folios of *run*, a part of this one: of (lane, place) those lanes that it has."""
        there = [(lane, i) for lane, i in picked if lane < len(run.lanes)]
        states = self.states.at([i for _, i in there])
        first = self.first + run.start - self.run.start
        return Slice(run, tuple([lane for lane, _ in there]), states, first)


def stays_of(parts: Iterable[tuple[Slice, Why]]) -> Iterator[Stay]:
    """The frames of folios that stay for a reason."""
    for part, why in parts:
        for start, nr in part.extents():
            yield Stay(start, nr, why)


def named(machine: Machine, vma: Vma, part: Slice) -> Slice:
    """*part*, whose run and index are *vma*'s, with its pages as the engine names them.

    That is as rmap.mappings() counts. A merged page has its place where placements take turns by
    its node of the stable tree.
    """
    run, picked, states, first = part
    frame = states.first
    if frame.flags & FrameFlag.KSM:
        first = machine.stable_tree.origin(frame.owner).page
    return Slice(run.moved(rmap_index(frame, vma, run.start)), picked, states, first)


def mapped_folio(machine: Machine, vma: Vma, run: PteRun, page: int) -> Slice:
    """The folio that *run* of *vma* maps at *page*, whole, as the engine takes it."""
    pfn = run.pfn(page)
    folio = folio_of(machine, pfn)
    first = page - (pfn - folio.pfn)
    whole = PteRun(first, folio.nr, (folio.pfn,), folio.order, run.flags)
    return named(machine, vma, Slice.whole(whole, folio.merged(), vma.index(first)))


def folio_at(machine: Machine, mm: Mm, page: int) -> Slice:
    """The folio that *mm* maps at *page*, which it does, whole."""
    vma, run = mm.find_vma(page), mm.page_table.at(page)
    assert vma is not None
    assert run is not None
    return mapped_folio(machine, vma, run, page)


def batches(queue: Iterable[Slice]) -> Iterator[list[Slice]]:
    """The queue in lists of as many pages as the kernel takes at a time.

    A list ends with the folio that makes it a batch, so a huge page may be more than is left.
    """
    batch: list[Slice] = []
    left = NR_MAX_BATCHED_MIGRATION
    for part in queue:
        rest = part
        while rest.nr >= left:
            nr = -(-left >> rest.run.order)  # folios that fill the batch
            head, tail = rest.split_picked(nr) if rest.nr_folios > nr else (rest, None)
            yield [*batch, head]
            batch, left = [], NR_MAX_BATCHED_MIGRATION
            if tail is None:
                break
            rest = tail
        else:
            batch.append(rest)
            left -= rest.nr
    if batch:
        yield batch
