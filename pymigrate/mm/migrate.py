"""The engine: folios that were isolated get new frames, and every entry follows them.

A queue of *slices* goes in. Where nothing in it can fail and memory is to spare, it is moved at
once; otherwise it is cut into the kernel's batches, for only then do they show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pymigrate.mm.frames import FrameEdits, extents_of, update_frames
from pymigrate.mm.memmap import Frame, FrameFlag
from pymigrate.mm.page_alloc import alloc_pages, free_pages, room_for
from pymigrate.mm.pte import Pte, PteRun, weave
from pymigrate.mm.rmap import mappings
from pymigrate.mm.runs import Extent, coalesce, pages_to_extents, take_extents
from pymigrate.mm.trace import BATCH, MigrateReason, call_events, watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pymigrate.mm.machine import Machine, Task
    from pymigrate.mm.mempolicy import Placement
    from pymigrate.mm.runs import Edit, RunMap


class Slice(NamedTuple):
    """Isolated folios: the entries of *run* that lie in the lanes *picked*.

    *run* counts pages as rmap.mappings() does. *frames* holds the state of the picked lanes, or
    just one if they are alike. *first* is the folio index of the run's first page.
    """

    run: PteRun
    picked: tuple[int, ...]
    frames: tuple[Frame, ...]
    first: int

    @property
    def nr(self) -> int:
        """The number of base pages that are picked."""
        run, k = self.run, len(self.run.lanes)
        if k == run.nr:
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
        """Cut behind the first *nr* of the picked pages, but not behind all of them."""
        k = len(self.run.lanes)
        rows, extra = divmod(nr, len(self.picked))
        if not extra:
            entry = rows * k - k + self.picked[-1] + 1
        else:
            entry = rows * k + self.picked[extra - 1] + 1
        return self.split(self.run.start + entry)

    def split(self, at: int) -> tuple[Slice, Slice]:
        """Cut before page *at*."""
        head, tail = self.run.split(at)
        k, cut = len(self.run.lanes), at - self.run.start
        heads = list(zip(self.picked, self.states, strict=True))
        tails = sorted(((lane - cut) % k, f) for lane, f in heads)
        if k == self.run.nr:
            tails = [(lane - cut, f) for lane, f in heads if lane >= cut]
        return (
            _slice(head, [x for x in heads if x[0] < len(head.lanes)], self.first),
            _slice(tail, [x for x in tails if x[0] < len(tail.lanes)], self.first + cut),
        )

    def tables(self) -> Iterator[Slice]:
        """The same pages with every run an explicit table."""
        k = len(self.run.lanes)
        by_lane = dict(zip(self.picked, self.states, strict=True))
        for table in self.run.tables():
            skip = table.start - self.run.start
            picked = [
                (i, by_lane[(skip + i) % k]) for i in range(table.nr) if (skip + i) % k in by_lane
            ]
            if picked:
                yield _slice(table, picked, self.first + skip)

    def pages(self) -> Iterator[Slice]:
        """The same pages one by one."""
        for table in self.tables():
            for entry, frame in zip(table.picked, table.states, strict=True):
                page = table.run.start + entry
                yield Slice(table.run.clip(page, page + 1), (0,), (frame,), table.first + entry)


class Move(NamedTuple):
    """Pages *old* that become *new* (the same pages; lanes that did not move are equal)."""

    old: PteRun
    new: PteRun
    frame: Frame


class MigrateResult(NamedTuple):
    """What one call of the engine did, in base pages; *stayed* and *tried* count folios."""

    succeeded: int
    failed: int
    stayed: int
    is_enomem: bool
    tried: int  # those for which there was memory


def migrate_pages(
    machine: Machine,
    caller: Task,
    queue: Sequence[Slice],
    where: Placement,
    reason: MigrateReason = MigrateReason.SYSCALL,
    base: int = 0,
) -> MigrateResult:
    """Move the folios of *queue* to where *where* puts them, on behalf of *caller*.

    *base* is added to a folio's index where the placement takes turns. When memory runs out the
    rest of the queue is not tried. Counts pgmigrate_success and pgmigrate_fail. Mirrors
    migrate_pages(), mm/migrate.c, and alloc_migration_target().
    """
    watched = watch(machine, queue) if machine.events is not None else []
    mover = _Mover(machine, caller, where, base)
    total = sum(part.nr for part in queue)
    held = any(frame.is_held for part in queue for frame in part.frames)
    room = room_for(machine, caller, where)
    if not held and room >= total:
        mover.move_all(queue)
    elif not held and where.this_node:
        mover.move_until_full(queue, room)
    else:
        mover.move_batches(queue)
    mover.commit()
    machine.counters.add("pgmigrate_success", mover.succeeded)
    machine.counters.add("pgmigrate_fail", mover.failed)
    result = MigrateResult(
        mover.succeeded, mover.failed, mover.stayed, mover.is_enomem, mover.succeeded + mover.held
    )
    if machine.events is not None:
        machine.events += call_events(watched, result, reason)
    return result


class _Mover:
    """One call of the engine: what it has done so far, and the edits that are still to be made."""

    def __init__(self, machine: Machine, caller: Task, where: Placement, base: int) -> None:
        self.machine, self.caller, self.where, self.base = machine, caller, where, base
        self.succeeded = self.failed = self.stayed = self.held = 0
        self.is_enomem = False
        self.frames = FrameEdits(machine)
        self.moves: list[Move] = []
        self.old: list[Extent] = []

    def move_until_full(self, queue: Iterable[Slice], room: int) -> None:
        """Move what *room* pages suffice for; then memory has run out."""
        fitting: list[Slice] = []
        for part in queue:
            if part.nr > room:
                fitting += [part.split_picked(room)[0]] if room else []
                break
            fitting.append(part)
            room -= part.nr
        self.move_all(fitting)
        self.failed, self.is_enomem = 1, True

    def move_all(self, parts: Sequence[Slice]) -> None:
        """Move *parts*, for which memory was seen to suffice."""
        if len(self.where.cycle) > 1:
            for part in parts:
                self.move(part)
            return
        total = sum(part.nr for part in parts)
        if not total:
            return
        lanes, got = alloc_pages(self.machine, self.caller, self.where, 0, total)
        assert got == total, "memory ran out where it was seen to suffice"
        fresh = lanes[0][::-1]
        for part in parts:
            self._place(part, take_extents(fresh, part.nr))

    def move_batches(self, queue: Iterable[Slice]) -> None:
        """Move in the kernel's batches. Mirrors migrate_pages_sync()."""
        for batch in _batches(queue):
            held = any(frame.is_held for part in batch for frame in part.frames)
            if not held and room_for(self.machine, self.caller, self.where) >= BATCH:
                self.move_all(batch)
            else:
                self._move_folios(batch)
            self.commit()
            if self.is_enomem:
                return

    def _move_folios(self, batch: list[Slice]) -> None:
        """Move one batch folio by folio, for some of it may fail."""
        retried: list[Extent | None] = []
        for part in (page for piece in batch for page in piece.pages()):
            is_held = part.frames[0].is_held
            if not (self._try_held(part, retried) if is_held else self.move(part)):
                # The pages retried so far in this pass are counted with the one that failed.
                self.failed += 1 + len(retried)
                self.is_enomem = True
                break
        self.held += len(retried)
        free_pages(self.machine, [extent for extent in retried if extent])
        if not self.is_enomem:
            self.failed += len(retried)
            self.stayed += len(retried)

    def _try_held(self, part: Slice, retried: list[Extent | None]) -> bool:
        """Try one folio that somebody holds: it fails, after a destination was found for it.

        A pinned exclusive page fails while it is unmapped, and gives its destination back at
        once; others keep theirs until the batch ends. Mirrors try_to_migrate_one() and
        folio_migrate_mapping().
        """
        lanes, got = alloc_pages(
            self.machine, self.caller, self.where, self.base + part.first + part.picked[0], 1
        )
        if not got:
            return False
        frame = part.frames[0]
        if frame.pins and frame.is_anon and part.run.flags & Pte.EXCLUSIVE:
            free_pages(self.machine, lanes[0])
            retried.append(None)
        else:
            retried.append(lanes[0][0])
            self._dirty_folio(part)
        return True

    def _dirty_folio(self, part: Slice) -> None:
        """Let a folio that was unmapped be dirty if one of its entries is: try_to_migrate_one()."""
        page, pfn = part.run.start, part.run.lanes[0]
        for mapping in mappings(self.machine, part.frames[0], page, page + 1):
            run = mapping.table.at(page + mapping.shift)
            if run is None or mapping.is_cache or not run.lanes or not run.flags & Pte.DIRTY:
                continue
            if run.pfn(page + mapping.shift) == pfn:
                update_frames(self.machine, [(pfn, 1)], lambda f: f.with_flags(FrameFlag.DIRTY))

    def move(self, part: Slice) -> int:
        """Give the folios of *part* new frames; return for how many there was memory.

        Only called where memory was seen to suffice, or for one folio.
        """
        k = len(part.run.lanes)
        if len(self.where.cycle) > 1 and not (part.is_whole and len(part.frames) == 1):
            pieces = part.tables() if k < part.run.nr else iter((part,))
            return sum(self._move_in_turn(piece) for piece in pieces)
        lanes, got = alloc_pages(
            self.machine, self.caller, self.where, self.base + part.first, part.nr
        )
        if got < part.nr:
            assert not got, "memory ran out where it was seen to suffice"
            return 0
        if len(self.where.cycle) > 1:
            new = weave(part.run.start, got, lanes, 0, part.run.flags)
            self._done(part, new, [e for lane in lanes for e in lane])
        else:
            self._place(part, lanes[0])
        return got

    def _place(self, part: Slice, extents: list[Extent]) -> None:
        """Let the picked pages have the frames of *extents*."""
        if len(part.run.lanes) == part.run.nr:
            self._done(part, [_filled(part, extents)], extents)
        else:
            self._done(part, _restriped(part, extents), extents)

    def _move_in_turn(self, part: Slice) -> int:
        """Move the picked entries of an explicit table to nodes that take turns."""
        cycle = self.where.cycle
        turns: dict[int, list[int]] = {}
        for i, entry in enumerate(part.picked):
            turns.setdefault((self.base + part.first + entry) % len(cycle), []).append(i)
        pfns = [0] * len(part.picked)
        for turn, places in turns.items():
            where = self.where._replace(cycle=(cycle[turn],))
            lanes, got = alloc_pages(self.machine, self.caller, where, 0, len(places))
            if got < len(places):
                assert not got, "memory ran out where it was seen to suffice"
                return 0
            fresh = (pfn for start, nr in lanes[0] for pfn in range(start, start + nr))
            for i, pfn in zip(places, fresh, strict=True):
                pfns[i] = pfn
        extents = [Extent(pfn, 1) for pfn in pfns]
        self._done(part, [_filled(part, extents)], extents)
        return len(pfns)

    def _done(self, part: Slice, new: list[PteRun], extents: Sequence[Extent]) -> None:
        """Note that *part* has become *new*, whose frames are *extents* in the picked order."""
        dirty = FrameFlag.DIRTY if part.run.flags & Pte.DIRTY else 0
        after = {frame: frame.with_flags(dirty) for frame in set(part.frames)}
        if len(set(after.values())) == 1:
            self.frames.set(extents, after[part.frames[0]])
        else:
            self._set_each(part, new, after)
        self.old += _old_extents(part)
        self.succeeded += part.nr
        for run in new:
            self.moves.append(Move(part.run.clip(run.start, run.end), run, part.frames[0]))

    def _set_each(self, part: Slice, new: list[PteRun], after: dict[Frame, Frame]) -> None:
        k = len(part.run.lanes)
        by_lane = dict(zip(part.picked, part.frames, strict=True))
        for run in new:
            skip = run.start - part.run.start
            for j in range(len(run.lanes)):
                lane = (skip + j) % k
                if lane in by_lane:
                    extent = Extent(run.lanes[j], run.count(j))
                    self.frames.set([extent], after[by_lane[lane]])

    def commit(self) -> None:
        """Make the edits: page tables and caches, the memmap, the free lists."""
        if not self.moves:
            return
        edits: dict[int, tuple[RunMap[PteRun], list[Edit[PteRun]]]] = {}
        dirtied: set[int] = set()
        for move in self.moves:
            self._remap(move, edits, dirtied)
        for table, changes in edits.values():
            changes.sort(key=_start)
            table.edit(changes)
        self.frames.free(coalesce(self.old))
        self.frames.commit()
        if dirtied:
            update_frames(
                self.machine,
                pages_to_extents(list(dirtied)),
                lambda f: f.with_flags(FrameFlag.DIRTY),
            )
        self.moves, self.old = [], []

    def _remap(
        self,
        move: Move,
        edits: dict[int, tuple[RunMap[PteRun], list[Edit[PteRun]]]],
        dirtied: set[int],
    ) -> None:
        """Let every entry that names an old frame name the new one; keep its flags.

        Mirrors remove_migration_ptes(): a folio is dirty if one of its entries was.
        """
        old, new, frame = move
        for table, a, b, shift, is_cache in mappings(self.machine, frame, old.start, old.end):
            changes: list[Edit[PteRun]] = []
            for run in table.between(a + shift, b + shift):
                if not run.lanes:
                    continue
                before = old.clip(run.start - shift, run.end - shift)
                after = new.clip(run.start - shift, run.end - shift)
                pieces = _retarget(run, before, after)
                changes += [(piece.start, piece.end, (piece,)) for piece in pieces]
                if run.flags & Pte.DIRTY and not is_cache and not old.flags & Pte.DIRTY:
                    dirtied |= _named(run, before, after)
            if changes:
                edits.setdefault(id(table), (table, []))[1].extend(changes)


def _slice(run: PteRun, picked: list[tuple[int, Frame]], index: int) -> Slice:
    frames = [frame for _, frame in picked]
    alike = not frames or all(frame == frames[0] for frame in frames)
    return Slice(
        run, tuple([lane for lane, _ in picked]), tuple(frames[:1] if alike else frames), index
    )


def _batches(queue: Iterable[Slice]) -> Iterator[list[Slice]]:
    """The queue in lists of as many pages as the kernel takes at a time."""
    batch: list[Slice] = []
    left = BATCH
    for part in queue:
        rest = part
        while rest.nr >= left:
            head, tail = rest.split_picked(left) if rest.nr > left else (rest, None)
            yield [*batch, head]
            batch, left = [], BATCH
            if tail is None:
                break
            rest = tail
        else:
            batch.append(rest)
            left -= rest.nr
    if batch:
        yield batch


def _filled(part: Slice, extents: Sequence[Extent]) -> PteRun:
    """The explicit table of *part* with the picked entries in *extents*, in this order."""
    run = part.run
    pfns: list[int] = []
    for start, nr in extents:
        pfns += range(start, start + nr)
    if part.is_whole:
        lanes = tuple(pfns)
    else:
        mixed = list(run.lanes)
        for lane, pfn in zip(part.picked, pfns, strict=True):
            mixed[lane] = pfn
        lanes = tuple(mixed)
    return PteRun(run.start, run.nr, lanes, run.order, run.flags)


def _restriped(part: Slice, extents: Sequence[Extent]) -> list[PteRun]:
    """The runs of *part* with each picked lane in its own share of *extents*."""
    run = part.run
    fresh = list(extents)[::-1]
    picked = set(part.picked)
    lanes = [
        take_extents(fresh, run.count(lane)) if lane in picked else [Extent(pfn, run.count(lane))]
        for lane, pfn in enumerate(run.lanes)
    ]
    return weave(run.start, run.nr, lanes, run.order, run.flags)


def _old_extents(part: Slice) -> list[Extent]:
    """The frames that the picked pages had."""
    run = part.run
    if len(run.lanes) == run.nr:
        if part.is_whole:
            return extents_of(run)
        return pages_to_extents([run.lanes[lane] for lane in part.picked])
    return [Extent(run.lanes[lane], run.count(lane)) for lane in part.picked]


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


def _named(run: PteRun, before: PteRun, after: PteRun) -> set[int]:
    """The new frames of those pages that *run* maps."""
    pages = zip(run.pfns(), before.pfns(), after.pfns(), strict=True)
    return {new for pfn, old, new in pages if pfn == old != new}


def _start(edit: Edit[PteRun]) -> int:
    return edit[0]
