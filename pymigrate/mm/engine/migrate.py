"""The engine: folios that were isolated get new frames, and every entry follows them.

A list of folios goes in. Where nothing in it can fail and memory is to spare, it is moved at once;
otherwise it is cut into the kernel's batches, and what needs care in them goes folio by folio, for
only then do passes and batches show.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from pymigrate.mm.base.memmap import Busy, FrameFlag
from pymigrate.mm.base.runs import Extent, RunMap, coalesce
from pymigrate.mm.base.why import Stay, Why
from pymigrate.mm.engine.folio_list import Slice, batches, stays_of
from pymigrate.mm.engine.migrate_bulk import BulkMover, is_plain
from pymigrate.mm.engine.migrate_folio import FolioMover, Outcome
from pymigrate.mm.engine.migrate_ops import holder, may_wait, obstacle
from pymigrate.mm.engine.room import AS_IT_IS, InFrames, Room
from pymigrate.mm.engine.work import Stats, Work, is_hugetlb, wait_on, wake, works_of
from pymigrate.mm.frames.busy import endless
from pymigrate.mm.frames.frames import folio_of
from pymigrate.mm.frames.placement import OWN_NODE, Placement, ThisNode
from pymigrate.mm.spaces.huge_memory import free_unmapped, split_folio
from pymigrate.mm.state.cost import NR_MAX_BATCHED_MIGRATION
from pymigrate.mm.state.events import MigrateMode, MigrateReason, mode_text
from pymigrate.mm.state.machine import Machine, migrating, telling
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.trace import call_event, stack_event
from pymigrate.records import NamedTuple

ASYNC_PASSES, SYNC_PASSES = 3, 7  # NR_MAX_MIGRATE_ASYNC_RETRY, NR_MAX_MIGRATE_SYNC_RETRY
_ENOMEM = -1


class MigrateResult(NamedTuple):
    """What one call of the engine did, in base pages; *stayed* counts folios."""

    succeeded: int
    failed: int
    stayed: int
    is_enomem: bool
    left: Sequence[Work]  # folios that stayed
    untried: Sequence[Slice]  # those that memory ran out before

    def stays(self) -> Iterator[Stay]:
        """What stayed where it was, and why."""
        why = Why.FULL if self.is_enomem else Why.ENDED
        for work in self.left:
            yield Stay(work.pfn, work.nr, work.why or why)
        yield from stays_of((part, why) for part in self.untried)


def migrate_pages(
    machine: Machine,
    caller: Task,
    queue: Sequence[Slice],
    where: Placement,
    reason: MigrateReason = MigrateReason.SYSCALL,
    mode: MigrateMode = MigrateMode.SYNC,
    room: Room = AS_IT_IS,
) -> MigrateResult:
    """Move the folios of *queue* to where *where* puts them, on behalf of *caller*.

    A folio's index says whose turn it is where nodes take turns. When memory runs out the rest of
    the queue is not tried. Counts pgmigrate_success and pgmigrate_fail, and the same of THPs with
    those that were split. Mirrors migrate_pages(), mm/migrate.c, which has as many arguments:
    *room* is its get_new_folio() and put_new_folio(), *where* what it hands on to them.
    """
    call = _Call(machine, caller, where, reason, mode, room)
    if machine.busy and call.has_room(queue):
        check_waits(machine, queue, mode)
    stack_event(machine, mode, reason)
    call_event(machine, "mm_migrate_pages_start", mode_text(mode, reason))
    # What it has in hand must stay where it is.
    scope = machine.scope._replace(memalloc=True, off_lru=_off_lru(machine, queue))
    with telling(machine, scope), migrating(machine, reason):
        try:
            result = call.run(queue)
        finally:
            call.put_back()
    stats = call.stats
    counts = (
        f"nr_succeeded={stats.succeeded} nr_failed={stats.failed_pages}"
        f" nr_thp_succeeded={stats.thp_succeeded} nr_thp_failed={stats.thp_failed}"
        f" nr_thp_split={stats.thp_split} nr_split={stats.split}"
    )
    call_event(machine, "mm_migrate_pages", f"{counts} {mode_text(mode, reason)}")
    return MigrateResult(
        stats.succeeded,
        stats.failed_pages,
        max(result, 0),
        result == _ENOMEM,
        call.left,
        call.untried,
    )


def _off_lru(machine: Machine, queue: Sequence[Slice]) -> RunMap[Extent]:
    """What is off the LRU lists, with the base pages of *queue* if memory may be compacted for
    large folios among them.
    """
    others = machine.scope.off_lru
    if not any(part.run.order for part in queue):
        return others
    small = (extent for part in queue if not part.run.order for extent in part.extents())
    return RunMap(coalesce([*others.runs, *small]))


def _may_be_split(part: Slice) -> bool:
    """Whether folios of *part* wait to be split for what they hold in vain.

    What is isolated cannot be: it waits no more once room was looked for. So it is moved first.
    """
    waiting = FrameFlag.QUEUED | FrameFlag.PARTIALLY_MAPPED
    return any(frame.flags & waiting for frame in part.states.distinct)


class _Call:
    """One call of the engine."""

    def __init__(
        self,
        machine: Machine,
        caller: Task,
        where: Placement,
        reason: MigrateReason,
        mode: MigrateMode,
        room: Room,
    ) -> None:
        self.machine, self.caller, self.where = machine, caller, where
        self.reason, self.mode, self.room = reason, mode, room
        self.scope = machine.scope  # in which it is made
        self.stats = Stats()
        self.bulk = BulkMover(machine, caller, where, reason, self.stats)
        self.folios = FolioMover(machine, caller, where, reason, room)
        self.split: list[Work] = []  # pieces of split folios, to be tried once
        self.left: list[Work] = []  # what stays where it is
        self.untried: list[Slice] = []  # so does this, for memory ran out before

    @property
    def is_watched(self) -> bool:
        """Whether each folio is to go its own way, or to be seen, or met by others."""
        if isinstance(self.room, InFrames):
            return True
        if self.where is OWN_NODE or self.reason == MigrateReason.MEMORY_FAILURE:
            return True
        return self.machine.is_watched

    def run(self, queue: Sequence[Slice]) -> int:
        """How many folios stayed, or that memory ran out."""
        if not any(_may_be_split(part) for part in queue):
            self._make_room(queue)
        if not self.is_watched and all(is_plain(self.machine, part) for part in queue):
            if self.bulk.has_room(queue):
                self.bulk.move_all(queue)
                return 0
            if isinstance(self.where, ThisNode) and not any(part.run.order for part in queue):
                return self._move_until_full(queue)
        result = 0
        huge = [part for part in queue if is_hugetlb(part)]
        others = deque(batches(part for part in queue if not is_hugetlb(part)))
        if huge:
            result = self._hugetlb(works_of(huge))
        while result >= 0 and others:
            if not self.has_room(others[0]):
                self._make_room([part for batch in others for part in batch])
            rc = self._batch_of(others.popleft())
            result = rc if rc < 0 else result + rc
        if result < 0:
            self.untried += [part for batch in others for part in batch]
            return result
        return result if self.left else 0

    def _make_room(self, queue: Sequence[Slice]) -> bool:
        """Let there be room for *queue*, which is still to be moved; whether there is more now.

        Those of earlier batches are on the LRU lists again, and may give way.
        """
        stayed = [Extent(work.pfn, work.nr) for work in self.left]
        off_lru = RunMap(coalesce([*self.scope.off_lru.runs, *stayed]))
        with telling(self.machine, self.scope._replace(off_lru=off_lru)):
            return self.room.prepare(self.machine, self.caller, self.where, queue)

    def _move_until_full(self, queue: Sequence[Slice]) -> int:
        """Move base pages, with which nothing can go wrong, to one node until that is full.

        Before it is, what whole batches of this call have brought there gives way to others.
        """
        while not self.bulk.has_room(queue):
            room = self.bulk.room() // NR_MAX_BATCHED_MIGRATION * NR_MAX_BATCHED_MIGRATION
            if room:
                queue = self.bulk.move_until_full(queue, room)
            if not room or not self._make_room(queue):
                break
        if self.bulk.has_room(queue):
            self.bulk.move_all(queue)
            return 0
        self.untried = self.bulk.move_until_full(queue, self.bulk.room())
        self.stats.failed_pages = 1
        return _ENOMEM

    def _hugetlb(self, works: list[Work]) -> int:
        """Move hugetlb pages, each in one step. Mirrors migrate_hugetlbs()."""
        phase = _Phase(self.stats, self.left, counts_thps=False)
        for _ in range(ASYNC_PASSES + SYNC_PASSES):
            phase.begin_pass()
            again: list[Work] = []
            for i, work in enumerate(works):
                outcome = self._unmap_and_move_huge_page(work)
                if outcome == Outcome.NO_MEMORY:
                    self.stats.failed_pages += work.nr + phase.retried_pages
                    self.left += again + works[i:]
                    return _ENOMEM
                if phase.settle(work, outcome):
                    again.append(work)
            works = again
            if not works:
                break
        phase.give_up()
        self.left += works
        return phase.failed

    def _unmap_and_move_huge_page(self, work: Work) -> Outcome:
        outcome = self.folios.unmap(work, self.mode)
        if outcome != Outcome.DONE:
            return outcome
        self._flushed([work], self.mode)
        outcome = self.folios.move(work, self.mode)
        if outcome != Outcome.DONE:
            self.folios.undo(work)
        self.folios.commit()
        wake(self.machine)
        return outcome

    def has_room(self, queue: Sequence[Slice]) -> bool:
        """Whether every folio of *queue* surely gets a destination."""
        if isinstance(self.room, InFrames):
            return len(self.room.pfns) >= len(queue)
        if self.where is OWN_NODE or any(is_hugetlb(part) for part in queue):
            return False
        return self.bulk.has_room(queue)

    def put_back(self) -> None:
        """Let what did not move be where it was, and count what did; also if the call broke off.

        Pieces that nothing maps any more are freed. Mirrors putback_movable_pages().
        """
        self.left += self.folios.give_up()
        for work in (*self.left, *self.split):
            if work.is_piece:
                free_unmapped(self.machine, folio_of(self.machine, work.pfn))
        for name, nr in (
            ("pgmigrate_success", self.stats.succeeded),
            ("pgmigrate_fail", self.stats.failed_pages),
            ("thp_migration_success", self.stats.thp_succeeded),
            ("thp_migration_fail", self.stats.thp_failed),
            ("thp_migration_split", self.stats.thp_split),
        ):
            self.machine.counters.add(name, nr)

    def _batch_of(self, batch: list[Slice]) -> int:
        """Move one batch of the call; how many folios failed, or that memory ran out."""
        plain = all(is_plain(self.machine, part) for part in batch)
        if not self.is_watched and plain and self.bulk.has_room(batch):
            self.bulk.move_all(batch)
            return 0
        works = works_of(batch)
        if self.mode == MigrateMode.ASYNC:
            passes = ASYNC_PASSES + SYNC_PASSES
            rc = self._batch(works, self.mode, passes, self.stats, self.left)
        else:
            rc = self._sync(works)
        self.left += works
        if rc >= 0 and self.split:
            pieces, self.split = self.split, []
            self._batch(pieces, MigrateMode.ASYNC, 1, self.stats, self.left)
            self.left += pieces
        return rc

    def _sync(self, works: list[Work]) -> int:
        """Try a batch asynchronously, then what is left one by one. Mirrors migrate_pages_sync().

        Leaves in *works* what was never tried.
        """
        stats = Stats()
        failed: list[Work] = []
        rc = self._batch(works, MigrateMode.ASYNC, ASYNC_PASSES, stats, failed)
        self.stats.add(stats, "succeeded", "thp_succeeded", "thp_split", "split")
        if rc < 0:
            self.stats.add(stats, "failed_pages", "thp_failed")
            self.left += failed
            return rc
        self.stats.thp_failed += stats.thp_split
        rc = stats.split
        works += failed
        while works:
            single = [works.pop(0)]
            one = self._batch(single, self.mode, SYNC_PASSES, self.stats, self.left)
            self.left += single
            if one < 0:
                return one
            rc += one
        return rc

    def _batch(
        self, works: list[Work], mode: MigrateMode, passes: int, stats: Stats, left: list[Work]
    ) -> int:
        """Unmap the folios of *works*, and move those that could be unmapped.

        Those that may be tried again stay in *works*, others that failed go to *left*. Returns how
        many failed, or that memory ran out. Mirrors migrate_pages_batch().
        """
        unmap = _Phase(stats, left)
        unmapped: list[Work] = []
        is_full = self._unmap_all(works, mode, passes, unmap, unmapped)
        if not is_full:
            unmap.give_up()
        self._flushed(unmapped, mode)
        move = _Phase(stats, left)
        for _ in range(passes):
            move.begin_pass()
            again = []
            for work in unmapped:
                outcome = self.folios.move(work, mode)
                if outcome == Outcome.FAILED:
                    self.folios.undo(work)
                if move.settle(work, outcome):
                    again.append(work)
            unmapped = again
            if not unmapped:
                break
        move.give_up()
        self.folios.commit()
        for work in unmapped:
            self.folios.undo(work)
            left.append(work)
        wake(self.machine)
        return _ENOMEM if is_full else unmap.failed + move.failed

    def _flushed(self, unmapped: list[Work], mode: MigrateMode) -> None:
        """The TLB is flushed for *unmapped* folios; from now on whoever accesses one waits."""
        self.folios.progress.flushed(unmapped, mode)
        if work := wait_on(self.machine, unmapped):
            self.folios.progress.awaited(work)

    def _unmap_all(
        self,
        works: list[Work],
        mode: MigrateMode,
        passes: int,
        phase: _Phase,
        unmapped: list[Work],
    ) -> bool:
        """The passes of the unmap phase; True if it ended for want of memory."""
        for _ in range(passes):
            phase.begin_pass()
            again: list[Work] = []
            while works:
                work = works.pop(0)
                if self._split_partially_mapped(work, phase):
                    continue
                outcome = self.folios.unmap(work, mode)
                if outcome == Outcome.DONE:
                    unmapped.append(work)
                elif outcome == Outcome.NO_MEMORY:
                    outcome = self._split_for_want_of_memory(work, phase)
                    if outcome == Outcome.AGAIN:
                        again.append(work)
                    elif outcome == Outcome.NO_MEMORY:
                        works[:0] = [*again, work]
                        return True
                elif phase.settle(work, outcome):
                    again.append(work)
            works += again
            if not works:
                break
        return False

    def _split_partially_mapped(self, work: Work, phase: _Phase) -> bool:
        """Split a large folio of which a part was unmapped before."""
        if not work.order or not self.machine.release.splits_partially_mapped:
            return False
        folio = folio_of(self.machine, work.pfn)
        if not folio.flags & FrameFlag.PARTIALLY_MAPPED or not self._split(work):
            return False
        phase.count_split(work, is_failure=True)
        return True

    def _split_for_want_of_memory(self, work: Work, phase: _Phase) -> Outcome:
        """Split a large folio that finds no destination; if it cannot be, the phase ends.

        One that is to be pinned for long is tried again, if it could not be split for now.
        """
        if work.order and self.reason != MigrateReason.NUMA_MISPLACED:
            if self._split(work):
                phase.count_split(work, is_failure=False)
                phase.failed += 1
                phase.stats.thp_failed += 1
                return Outcome.DONE
            is_busy = folio_of(self.machine, work.pfn).flags & FrameFlag.WRITEBACK
            if self.reason == MigrateReason.LONGTERM_PIN and not is_busy:
                phase.settle(work, Outcome.AGAIN)
                return Outcome.AGAIN
        phase.failed += 1
        phase.stats.thp_failed += bool(work.order) + phase.retried_thps
        phase.stats.failed_pages += work.nr + phase.retried_pages
        return Outcome.NO_MEMORY

    def _split(self, work: Work) -> bool:
        """Mirrors try_split_folio(): the pieces are tried highest first, the head last."""
        if not split_folio(self.machine, folio_of(self.machine, work.pfn), work.page):
            return False
        self.folios.progress.split()
        for i in (*range(work.nr - 1, 0, -1), 0):
            piece = Work(work.page + i, work.pfn + i, 0, work.index + i, is_piece=True)
            self.split.append(piece)
        return True


class _Phase:
    """What the passes of one phase of a batch have come to."""

    def __init__(self, stats: Stats, left: list[Work], counts_thps: bool = True) -> None:
        self.stats, self.left, self.counts_thps = stats, left, counts_thps
        self.failed = 0  # folios
        self.retried = self.retried_thps = self.retried_pages = 0  # in this pass

    def begin_pass(self) -> None:
        """Forget what the last pass left to be retried."""
        self.retried = self.retried_thps = self.retried_pages = 0

    def settle(self, work: Work, outcome: Outcome) -> bool:
        """Count how a step ended; True if it is to be tried again."""
        is_thp = bool(work.order) and self.counts_thps
        if outcome in (Outcome.DONE, Outcome.FREED):
            self.stats.succeeded += work.nr
            self.stats.thp_succeeded += is_thp
        elif outcome == Outcome.AGAIN:
            self.retried += 1
            self.retried_thps += is_thp
            self.retried_pages += work.nr
            return True
        else:
            self.failed += 1
            self.stats.thp_failed += is_thp
            self.stats.failed_pages += work.nr
            self.left.append(work)
        return False

    def count_split(self, work: Work, is_failure: bool) -> None:
        """Count a large folio that was split; *is_failure*: as one that failed, too."""
        self.failed += is_failure
        self.stats.thp_failed += is_failure
        self.stats.thp_split += 1
        self.stats.split += 1

    def give_up(self) -> None:
        """What was to be tried again after the last pass has failed."""
        self.failed += self.retried
        self.stats.thp_failed += self.retried_thps
        self.stats.failed_pages += self.retried_pages


def check_waits(machine: Machine, queue: Sequence[Slice], mode: MigrateMode) -> None:
    """See that no folio of *queue*, for which there is memory, is waited for without end.

    Raises UnsupportedError.
    """
    stuck = {
        pfn: work.kind
        for pfn, work in machine.busy.items()
        if work.left < 0 and may_wait(mode, work.kind)
    }
    if not stuck:
        return
    for start, nr in (extent for part in queue for extent in part.extents()):
        for pfn, kind in stuck.items():
            if start <= pfn < start + nr and _waits(machine, pfn, kind, mode):
                raise endless(kind)


def _waits(machine: Machine, pfn: int, kind: Busy, mode: MigrateMode) -> bool:
    """Whether a folio gets so far: it is not freed, or split, or found held, before."""
    folio = folio_of(machine, pfn)
    if folio.is_anon and not folio.mapcount and not folio.is_held:
        return False
    if folio.flags & FrameFlag.PARTIALLY_MAPPED and machine.release.splits_partially_mapped:
        return False
    if kind != Busy.BUFFER:
        return True
    return holder(folio) is None and obstacle(machine, folio, mode) is not None
