"""Lists of isolated folios: slices of page-table runs, and the batches that they are cut into."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pymigrate.mm.base.memmap import Frame
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.runs import Extent, pages_to_extents
from pymigrate.mm.frames.frames import extents_of
from pymigrate.mm.state.cost import NR_MAX_BATCHED_MIGRATION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Slice(NamedTuple):
    """Isolated folios: the entries of *run* that lie in the lanes *picked*.

    *run* counts pages as rmap.mappings() does, and its order is that of the folios (a large one
    may in truth be mapped page by page). *frames* holds the state of the picked lanes, or just one
    if they are alike. *first* is the folio index of the run's first page.
    """

    run: PteRun
    picked: tuple[int, ...]
    frames: tuple[Frame, ...]
    first: int

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

    @property
    def states(self) -> tuple[Frame, ...]:
        """The state of each picked lane."""
        return self.frames if len(self.frames) > 1 else self.frames * len(self.picked)

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
        heads = list(zip(self.picked, self.states, strict=True))
        tails = sorted(((lane - cut) % k, f) for lane, f in heads)
        if k == self.run.nr >> self.run.order:
            tails = [(lane - cut, f) for lane, f in heads if lane >= cut]
        rest = self.first + at - self.run.start
        return (
            _slice(head, [x for x in heads if x[0] < len(head.lanes)], self.first),
            _slice(tail, [x for x in tails if x[0] < len(tail.lanes)], rest),
        )

    def tables(self) -> Iterator[Slice]:
        """The same folios with every run an explicit table."""
        k, order = len(self.run.lanes), self.run.order
        by_lane = dict(zip(self.picked, self.states, strict=True))
        for table in self.run.tables():
            skip = (table.start - self.run.start) >> order
            lanes = [(i, (skip + i) % k) for i in range(table.nr >> order)]
            picked = [(i, by_lane[lane]) for i, lane in lanes if lane in by_lane]
            if picked:
                yield _slice(table, picked, self.first + (skip << order))

    def folios(self) -> Iterator[Slice]:
        """The same folios one by one."""
        order = self.run.order
        for table in self.tables():
            for entry, frame in zip(table.picked, table.states, strict=True):
                page = table.run.start + (entry << order)
                one = PteRun(page, 1 << order, (table.run.lanes[entry],), order, table.run.flags)
                yield Slice(one, (0,), (frame,), table.first + (entry << order))

    def extents(self) -> list[Extent]:
        """The frames that the picked folios have."""
        run = self.run
        if len(run.lanes) != run.nr >> run.order:
            return [Extent(run.lanes[lane], run.count(lane) << run.order) for lane in self.picked]
        if self.is_whole:
            return extents_of(run)
        if run.order:
            return [Extent(run.lanes[lane], 1 << run.order) for lane in self.picked]
        return pages_to_extents([run.lanes[lane] for lane in self.picked])


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


def _slice(run: PteRun, picked: list[tuple[int, Frame]], index: int) -> Slice:
    frames = [frame for _, frame in picked]
    alike = not frames or all(frame == frames[0] for frame in frames)
    return Slice(
        run, tuple([lane for lane, _ in picked]), tuple(frames[:1] if alike else frames), index
    )
