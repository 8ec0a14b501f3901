"""Folios that surely can be moved get new frames, many at once, and every entry follows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile

from pymigrate.mm.base.memmap import Frame, FrameFlag, nid_of
from pymigrate.mm.base.pte import Pte, PteRun, weave
from pymigrate.mm.base.runs import Edit, Extent, RunMap, coalesce, pages_to_extents, take_extents
from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.engine.migrate_ops import surely_moves
from pymigrate.mm.engine.work import Stats
from pymigrate.mm.frames.frames import FrameEdits, frame_runs, update_frames, whole_folios
from pymigrate.mm.frames.hot_pages import forget_cpupids
from pymigrate.mm.frames.lru_gen import arrived, changes_generation
from pymigrate.mm.frames.mlock import migrated
from pymigrate.mm.frames.page_alloc import alloc_run, allowed_nodes, room_for, room_on
from pymigrate.mm.frames.placement import (
    Cycle,
    Demote,
    Placement,
    ThisNode,
    from_index,
    turns_of,
)
from pymigrate.mm.spaces.rmap import MappedFiles, mappings
from pymigrate.mm.state.cost import NR_MAX_BATCHED_MIGRATION, Tally
from pymigrate.mm.state.events import MigrateReason
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.records import NamedTuple
from pymigrate.units import HPAGE_PMD_ORDER

_MAX_NR_ZONES = 4  # DMA, DMA32, Normal, Movable
_SCATTERED = 4  # folios an extent on average, below which a table is made quicker than runs


class Move(NamedTuple):
    """Pages *old* that become *new* (the same pages; lanes that did not move are equal)."""

    old: PteRun
    new: PteRun
    frame: Frame


class Moves:
    """Folios that have new frames: the edits that follow are collected, and made at once."""

    def __init__(self, machine: Machine, reason: MigrateReason) -> None:
        self.machine = machine
        self.is_reclaimed = reason == MigrateReason.DEMOTION
        self.frames = FrameEdits(machine)
        self.moves: list[Move] = []
        self.old: list[Extent] = []
        self.placed: list[Slice] = []  # what was not added singly, for the count of flushes

    def add(self, old: PteRun, new: PteRun, frame: Frame) -> None:
        """Pages *old* become *new*; *frame* says who owns them."""
        self.moves.append(Move(old, new, frame))

    def arrived(self, old: int, new: int, frame: Frame) -> Frame:
        """*frame* of pfn *old*, as it is at pfn *new*."""
        return arrived(self.machine, old, new, frame, self.is_reclaimed)

    def place(self, part: Slice, extents: Sequence[Extent]) -> None:
        """The picked folios of *part* get the frames of *extents*, in this order."""
        self.become(part, _placed(part, extents), extents)

    def become(self, part: Slice, new: Sequence[PteRun], extents: Sequence[Extent]) -> None:
        """*part* becomes *new*; its picked folios get the frames of *extents*.

        A folio is dirty if its entry was. It surely moves, see surely_moves().
        """
        self.placed.append(part)
        dirty = FrameFlag.DIRTY if part.run.flags & Pte.DIRTY else 0
        states = part.states
        after = [frame.with_flags(dirty) for frame in self._moved(part)]
        stays = not self.is_reclaimed and not changes_generation(self.machine, after[0])
        if len(set(after)) == 1 and stays:
            self.frames.set(extents, after[0])
        else:
            become = dict(zip(states.distinct, after, strict=True))
            pairs = zip(part.picked, states.each, strict=True)
            self._set_each(part, new, {lane: become[frame] for lane, frame in pairs})
        self.old += part.extents()
        for run in new:
            self.add(part.run.clip(run.start, run.end), run, states.first)

    def _moved(self, part: Slice) -> Sequence[Frame]:
        """The states of *part* once it has moved, in the order of those that differ."""
        states = part.states
        if not any(frame.flags & FrameFlag.MLOCKED for frame in states.distinct):
            return states.distinct
        nr = Counter[Frame]()
        for lane, frame in zip(part.picked, states.each, strict=True):
            nr[frame] += part.run.count(lane) << part.run.order
        return migrated(self.machine, states, nr)

    def _set_each(self, part: Slice, new: Sequence[PteRun], after: dict[int, Frame]) -> None:
        """The frames of *new*, which *part* becomes, are as *after* says of each picked lane."""
        k = len(part.run.lanes)
        for run in new:
            skip = (run.start - part.run.start) >> run.order
            for j, pfn in enumerate(run.lanes):
                lane = (skip + j) % k
                if lane in after:
                    frame = self.arrived(part.run.lanes[lane], pfn, after[lane])
                    self.frames.set([Extent(pfn, run.count(j) << run.order)], frame)

    def commit(self) -> None:
        """Make the edits: page tables and caches, the memmap, the free lists."""
        if not self.moves:
            self.frames.commit()
            return
        edits: dict[int, tuple[RunMap[PteRun], list[Edit[PteRun]]]] = {}
        dirtied: set[int] = set()
        tally = self.machine.watch.tally
        if tally is not None and self.placed:
            self._count_flushes(tally)
        files = MappedFiles(self.machine)
        for move in self.moves:
            if tally is not None:
                tally.moved(*move)
            self._remap(move, files, edits, dirtied)
        for table, changes in edits.values():
            changes.sort(key=_start)
            if any(before[1] > after[0] for before, after in pairwise(changes)):
                changes = sorted(_apart(table, changes), key=_start)
            table.edit(changes)
        self.frames.free(self.old)
        self.frames.commit()
        for move in self.moves:
            forget_cpupids(self.machine, move.old, move.new)
        if dirtied:
            extents = whole_folios(self.machine, pages_to_extents(list(dirtied)))
            update_frames(self.machine, extents, lambda f: f.with_flags(FrameFlag.DIRTY))
        self.moves, self.old, self.placed = [], [], []

    def _count_flushes(self, tally: Tally) -> None:
        """The entries of base pages are flushed a batch at a time, all others each.

        That is what FolioMover.flush() comes to for folios that surely move: the asynchronous
        batch, which comes first in every mode, unmaps them all. A batch of what nobody maps is
        not flushed.
        """
        nr = most = 0
        for part in self.placed:
            states = part.states
            if part.run.order or not self.machine.release.batches_flush:
                lanes = zip(part.picked, states.each, strict=True)
                tally.flushed(sum(part.run.count(lane) * f.mapcount for lane, f in lanes))
            elif mapcount := max(frame.mapcount for frame in states.distinct):
                nr, most = nr + part.nr, max(most, mapcount)
        tally.flushed(-(-nr // NR_MAX_BATCHED_MIGRATION), most)

    def _remap(
        self,
        move: Move,
        files: MappedFiles,
        edits: dict[int, tuple[RunMap[PteRun], list[Edit[PteRun]]]],
        dirtied: set[int],
    ) -> None:
        """Let every entry that names an old frame name the new one; keep its flags.

        Mirrors remove_migration_ptes(): a folio is dirty if one of its entries was.
        """
        old, new, frame = move
        for table, a, b, shift, mm in mappings(self.machine, frame, old.start, old.end, files):
            changes: list[Edit[PteRun]] = []
            for run in table.between(a + shift, b + shift):
                if not run.lanes or run.order > old.order:
                    continue
                if run.order and (run.start - shift - old.start) & ((1 << run.order) - 1):
                    continue  # of memory that was moved, where its name lies across
                low, high = old.cuts(run.start - shift)[0], old.cuts(run.end - shift)[1]
                before, after = old.clip(low, high), new.clip(low, high)
                if run.order == old.order:
                    pieces = _retarget(run, before, after)
                    if run.flags & Pte.DIRTY and mm is not None and not old.flags & Pte.DIRTY:
                        dirtied |= _named(run, before, after)
                else:
                    pieces = _retarget_pages(run, before, after)
                if run.flags & Pte.HINT:  # a migration entry does not remember it
                    pieces = [piece.with_flags(piece.flags & ~Pte.HINT) for piece in pieces]
                changes += [(piece.start, piece.end, (piece,)) for piece in pieces]
            if changes:
                edits.setdefault(id(table), (table, []))[1].extend(changes)


class BulkMover:
    """Moves folios that nothing can go wrong with, for one call of the engine."""

    def __init__(
        self,
        machine: Machine,
        caller: Task,
        where: Placement,
        reason: MigrateReason,
        stats: Stats,
    ) -> None:
        self.machine, self.caller, self.where, self.stats = machine, caller, where, stats
        self.takes_turns = len(turns_of(where)) > 1
        self.moves = Moves(machine, reason)

    def has_room(self, queue: Sequence[Slice]) -> bool:
        """Whether memory surely suffices for all of *queue*.

        Base pages that come before large folios break blocks up: those they fill, and one a zone.
        """
        return self._fits_first(queue) or self._fits_next(queue)

    def _fits_first(self, queue: Sequence[Slice]) -> bool:
        """Whether the nodes that are asked first have room for all of *queue*."""
        small = sum(part.nr for part in queue if not part.run.order)
        huge = sum(part.nr_folios for part in queue if part.run.order)
        if small + (huge << HPAGE_PMD_ORDER) > self.room():
            return False
        if not huge:
            return True
        broken = (small >> HPAGE_PMD_ORDER) + _MAX_NR_ZONES if small else 0
        return huge + broken <= room_for(self.machine, self.caller, self.where, HPAGE_PMD_ORDER)

    def _fits_next(self, queue: Sequence[Slice]) -> bool:
        """Whether folios of one size fit onto the first node and those behind it.

        None of these may be one that *queue* lies on: what has moved makes room there for the next.
        """
        order, where = queue[0].run.order, self.where
        if self.takes_turns or isinstance(where, ThisNode | Demote):
            return False
        if any(part.run.order != order for part in queue):
            return False
        left = {nid_of(part.run.lanes[lane]) for part in queue for lane in part.picked}
        nodes = allowed_nodes(self.machine, self.caller, where)
        others = takewhile(lambda nid: nid not in left, nodes)
        return sum(part.nr_folios for part in queue) <= room_on(self.machine, others, order)

    def room(self) -> int:
        """How many base pages surely find a destination."""
        return room_for(self.machine, self.caller, self.where)

    def move_until_full(self, queue: Sequence[Slice], room: int) -> list[Slice]:
        """Move *room* base pages, for which there is room, but not all; gives the others."""
        fitting, others = [], [*queue]
        while others[0].nr <= room:
            fitting.append(others.pop(0))
            room -= fitting[-1].nr
        if room:
            head, others[0] = others[0].split_picked(room)
            fitting.append(head)
        self.move_all(fitting)
        return others

    def move_all(self, parts: Sequence[Slice]) -> None:
        """Move *parts*, for which memory was seen to suffice; the large folios first."""
        large = [part for part in parts if part.run.order]
        small = [part for part in parts if not part.run.order]
        total = sum(part.nr for part in small)
        self.stats.succeeded += total + sum(part.nr for part in large)
        self.stats.thp_succeeded += sum(part.nr_folios for part in large)
        for part in large:
            self._move(part)
        if self.takes_turns:
            for part in small:
                self._move(part)
        elif small:
            fresh = _extents(self._alloc(self.where, PteRun(0, total, ())))[::-1]
            for part in small:
                self.moves.place(part, take_extents(fresh, part.nr))
        self.moves.commit()

    def _move(self, part: Slice) -> None:
        """Give the folios of *part* new frames."""
        order, k = part.run.order, len(part.run.lanes)
        if self.takes_turns and not (part.is_whole and part.states.is_alike):
            for piece in part.tables() if k < part.run.nr >> order else iter((part,)):
                self._move_in_turn(piece)
            return
        where = from_index(self.where, part.first >> order)
        new = self._alloc(where, PteRun(part.run.start, part.nr, (), order, part.run.flags))
        if self.takes_turns:
            self.moves.become(part, new, _extents(new))
        else:
            self.moves.place(part, _extents(new))

    def _alloc(self, where: Placement, wanted: PteRun) -> list[PteRun]:
        runs = alloc_run(self.machine, self.caller, where, wanted)
        assert runs[-1].end == wanted.end, "memory ran out where it was seen to suffice"
        return runs

    def _move_in_turn(self, part: Slice) -> None:
        """Move the picked entries of an explicit table to nodes that take turns."""
        nids, order = turns_of(self.where), part.run.order
        turns: dict[int, list[int]] = {}
        for i, entry in enumerate(part.picked):
            index = (part.first >> order) + entry
            turns.setdefault(index % len(nids), []).append(i)
        pfns = [0] * len(part.picked)
        for turn, places in turns.items():
            wanted = PteRun(0, len(places) << order, (), order)
            runs = self._alloc(Cycle((nids[turn],)), wanted)
            fresh = (pfn for run in runs for pfn in run.pfns())
            for i, pfn in zip(places, fresh, strict=True):
                pfns[i] = pfn
        extents = [Extent(pfn, 1 << order) for pfn in pfns]
        self.moves.become(part, [_filled(part, extents)], coalesce(extents))


def is_plain(machine: Machine, part: Slice) -> bool:
    """Whether nothing can go wrong with the folios of *part*; one entry maps a large one whole.

    Of large folios the frames are looked at, for their mapping may have changed since they were
    isolated.
    """
    if not all(surely_moves(machine, frame) for frame in part.states.distinct):
        return False
    if not part.run.order:
        return True
    known = part.states.distinct
    if any(frame.pte_maps or not frame.pmd_maps for frame in known):
        return False
    return all(found.frame in known for found in frame_runs(machine, part.extents()))


def _placed(part: Slice, extents: Sequence[Extent]) -> list[PteRun]:
    """The runs of *part* with the picked entries in *extents*, in this order."""
    run, k = part.run, len(part.run.lanes)
    if k == run.nr >> run.order or (k == 1 and len(extents) > part.nr_folios // _SCATTERED):
        return _filled(part, extents).tables()
    fresh = list(extents)[::-1]
    picked = set(part.picked)
    lanes = []
    for lane, pfn in enumerate(run.lanes):
        nr = run.count(lane) << run.order
        lanes.append(take_extents(fresh, nr) if lane in picked else [Extent(pfn, nr)])
    return weave(run.start, run.nr, lanes, run.order, run.flags)


def _filled(part: Slice, extents: Sequence[Extent]) -> PteRun:
    """*part*, whole or an explicit table, as an explicit table with *extents* filled in."""
    run = part.run
    pfns: list[int] = []
    for start, nr in extents:
        pfns += range(start, start + nr, 1 << run.order)
    if not part.is_whole:
        mixed = list(run.lanes)
        for lane, pfn in zip(part.picked, pfns, strict=True):
            mixed[lane] = pfn
        pfns = mixed
    return PteRun(run.start, run.nr, tuple(pfns), run.order, run.flags)


def _extents(runs: Sequence[PteRun]) -> list[Extent]:
    return [extent for run in runs for extent in run.extents()]


def _retarget(run: PteRun, before: PteRun, after: PteRun) -> list[PteRun]:
    """*run* with the frames of *before* replaced by those of *after*; nothing if it has none."""
    if run.lanes == before.lanes:
        return [PteRun(run.start, run.nr, after.lanes, run.order, run.flags)]
    new = {p: q for p, q in zip(before.pfns(), after.pfns(), strict=True) if p != q}
    if not any(pfn in new for pfn in run.pfns()):
        return []
    pieces = []
    for table in run.tables():
        lanes = tuple([new.get(pfn, pfn) for pfn in table.lanes])
        pieces.append(PteRun(table.start, table.nr, lanes, table.order, table.flags))
    return pieces


def _apart(table: RunMap[PteRun], changes: list[Edit[PteRun]]) -> Iterator[Edit[PteRun]]:
    """*changes* without the entries in them that stay as they are in *table*.

    Of a run of which a slice picks some lanes another slice may have the rest.
    """
    for _, _, pieces in changes:
        for entry in (entry for piece in pieces for entry in piece.entries()):
            there = table.at(entry.start)
            if there is not None and there.pfn(entry.start) != entry.lanes[0]:
                yield entry.start, entry.end, (entry,)


def _retarget_pages(run: PteRun, old: PteRun, new: PteRun) -> list[PteRun]:
    """Base pages *run* with those of the large folios *old* replaced by those of *new*."""
    shifts = [(p, q - p) for p, q in zip(old.pfns(), new.pfns(), strict=True) if p != q]
    size = 1 << old.order
    pieces = []
    for table in run.tables() if len(run.lanes) > 1 else [run]:
        lanes = tuple([_shifted(pfn, shifts, size) for pfn in table.lanes])
        if lanes != table.lanes:
            pieces.append(PteRun(table.start, table.nr, lanes, 0, table.flags))
    return pieces


def _shifted(pfn: int, shifts: list[tuple[int, int]], size: int) -> int:
    """Where the page at *pfn* lies after folios of *size* pages have moved by *shifts*."""
    return next((pfn + by for first, by in shifts if first <= pfn < first + size), pfn)


def _named(run: PteRun, before: PteRun, after: PteRun) -> set[int]:
    """The new frames of those pages that *run* maps."""
    pages = zip(run.pfns(), before.pfns(), after.pfns(), strict=True)
    return {new for pfn, old, new in pages if pfn == old != new}


def _start(edit: Edit[PteRun]) -> int:
    return edit[0]
