"""One folio's migration: unmapping it, moving it, or putting it back. Mirrors mm/migrate.c.

Entries that were turned into migration entries stay in the page tables as they were: nothing else
runs between the two, and what the kernel would write there is told to those who watch.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum

from pymigrate.mm.base.memmap import (
    POISON_FRAME,
    Busy,
    Folio,
    Frame,
    FrameFlag,
    States,
    is_movable,
    nid_of,
)
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.base.why import Why
from pymigrate.mm.engine.migrate_bulk import Moves
from pymigrate.mm.engine.migrate_ops import holder, refusal, try_to_freeze, try_to_have
from pymigrate.mm.engine.movable_ops import migrate_movable_page, moved_frame
from pymigrate.mm.engine.progress import Progress
from pymigrate.mm.engine.room import AS_IT_IS, Room
from pymigrate.mm.engine.work import Work
from pymigrate.mm.frames.busy import end
from pymigrate.mm.frames.frames import folio_of, update_folio
from pymigrate.mm.frames.mlock import mapped_again, migrated
from pymigrate.mm.frames.page_alloc import free_pages
from pymigrate.mm.frames.placement import OWN_NODE, Placement, Prefer, from_index
from pymigrate.mm.spaces.hugetlb_pool import give_back, settle_temporary
from pymigrate.mm.spaces.rmap import defer_split, is_found, mapped_runs
from pymigrate.mm.state.events import MigrateMode, MigrateReason
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.trace import SET, entry_events

# Reasons that may break the pools' shares of nodes: htlb_allow_alloc_fallback().
_FALLS_BACK = (
    MigrateReason.MEMORY_HOTPLUG,
    MigrateReason.MEMORY_FAILURE,
    MigrateReason.SYSCALL,
    MigrateReason.MEMPOLICY_MBIND,
)


class Outcome(Enum):
    """How a step of a folio's migration ends."""

    DONE = "done"
    FREED = "freed"  # nobody held it any more: counts as moved
    AGAIN = "EAGAIN"
    NO_MEMORY = "ENOMEM"
    FAILED = "another error"


class FolioMover:
    """Takes single folios through their steps; what has moved is edited in by commit()."""

    def __init__(
        self,
        machine: Machine,
        caller: Task,
        where: Placement,
        reason: MigrateReason = MigrateReason.SYSCALL,
        room: Room = AS_IT_IS,
    ) -> None:
        self.machine, self.caller, self.where = machine, caller, where
        self.reason, self.room = reason, room
        self.moves, self.progress = Moves(machine, reason), Progress(machine)
        self.in_hand: dict[int, Work] = {}  # what has a destination and has not moved

    @property
    def _freed(self) -> Frame | None:
        """What becomes of a base page that has moved: None, it is freed; or it is taken for bad."""
        return POISON_FRAME if self.reason == MigrateReason.MEMORY_FAILURE else None

    def commit(self) -> None:
        """Let what has moved be seen."""
        self.moves.commit()

    def give_up(self) -> list[Work]:
        """Let what has moved be seen, and undo what has not; that stays where it is."""
        self.commit()
        stayed = list(self.in_hand.values())
        for work in stayed:
            self.undo(work)
        return stayed

    def unmap(self, work: Work, mode: MigrateMode) -> Outcome:
        """Find a destination and unmap the folio. Mirrors migrate_folio_unmap()."""
        folio = folio_of(self.machine, work.pfn)
        work.mode = mode
        if folio.is_anon and not folio.mapcount and not folio.is_held:
            self.progress.freed(work)
            update_folio(self.machine, work.pfn, lambda _: self._freed)
            return Outcome.FREED
        self.progress.isolated(work)
        if not self._allocate(work):
            self.progress.no_memory(work)
            work.back_out(Why.FULL)
            return Outcome.NO_MEMORY
        self.progress.has_destination(work)
        outcome = self._lock(work, mode)
        if outcome == Outcome.DONE and not self._try_to_migrate(work):
            self.progress.pinned(work)
            work.back_out(Why.PINNED)
            outcome = Outcome.AGAIN
        elif outcome == Outcome.DONE and not is_found(self.machine, folio, work.page):
            self.progress.still_mapped(work)
            work.back_out(Why.MAPPED)
            outcome = Outcome.AGAIN
        if outcome == Outcome.DONE:
            self.progress.unmapped(work)
        else:
            self.undo(work)
        return outcome

    def _lock(self, work: Work, mode: MigrateMode) -> Outcome:
        """Lock the folio, and see that no writeback goes on."""
        for kind in (Busy.LOCKED, Busy.READING, Busy.WRITEBACK):
            verdict = try_to_have(self.machine, work.pfn, kind, mode)
            if verdict.errno:
                self.progress.busy(work, kind)
                work.back_out(verdict.why)
                return Outcome.FAILED if kind == Busy.WRITEBACK else Outcome.AGAIN
        self.progress.locked(work)
        return Outcome.DONE

    def move(self, work: Work, mode: MigrateMode) -> Outcome:
        """Let an unmapped folio be at its destination. Mirrors migrate_folio_move()."""
        work.mode = mode
        if work.is_movable:
            return self._move_drivers_page(work)
        folio = folio_of(self.machine, work.pfn)
        why = holder(folio)
        if why:
            self.progress.held(work, folio)
            work.back_out(why)
            return Outcome.AGAIN
        verdict = refusal(self.machine, folio, mode)
        if verdict.errno:
            self.progress.refused(work, folio, verdict.errno)
            work.back_out(verdict.why)
            return Outcome.AGAIN if verdict.errno == "EAGAIN" else Outcome.FAILED
        verdict = try_to_freeze(self.machine, folio, mode)
        if verdict.errno:
            self.progress.looked_up(work, folio)
            work.back_out(verdict.why)
            return Outcome.AGAIN
        end(self.machine, work.pfn)
        self._replace(work, folio_of(self.machine, work.pfn))
        self.progress.moved(work, folio)
        return Outcome.DONE

    def _move_drivers_page(self, work: Work) -> Outcome:
        """Let the driver move its page; one that it has given up is freed, with success."""
        frame = folio_of(self.machine, work.pfn).frame
        errno = migrate_movable_page(self.machine, work.page, work.pfn, work.dst)
        self.progress.driver_answered(work, errno, is_given_up=not is_movable(frame))
        if errno:
            work.back_out(Why.DRIVER)
            return Outcome.AGAIN if errno == "EAGAIN" else Outcome.FAILED
        end(self.machine, work.pfn)
        del self.in_hand[work.pfn]
        if is_movable(frame):
            self.moves.frames.set([Extent(work.dst, 1)], moved_frame(frame))
        else:
            free_pages(self.machine, [(work.dst, 1)])
        if self._freed:
            self.moves.frames.set([Extent(work.pfn, 1)], self._freed)
        else:
            self.moves.frames.free([(work.pfn, 1)])
        return Outcome.DONE

    def _replace(self, work: Work, folio: Folio) -> None:
        """Note that the folio lies at its destination now."""
        del self.in_hand[work.pfn]
        dirty = FrameFlag.DIRTY if any(m.run.flags & Pte.DIRTY for m in work.entries) else 0
        stale, lost = 0, FrameFlag.HWPOISON  # a bad page stays where it is
        if not self.machine.release.splits_partially_mapped:
            lost |= FrameFlag.PARTIALLY_MAPPED
        if work.is_hugetlb and not work.is_temporary:
            stale = folio_of(self.machine, work.dst).flags & FrameFlag.DIRTY
        for run in folio.runs:
            extent = (work.dst + run.start - work.pfn, run.nr)
            frame = run.frame.without_flags(lost)
            (frame,) = migrated(self.machine, States.same(frame), Counter({frame: run.nr}))
            frame = self.moves.arrived(work.pfn, work.dst, frame)
            self.moves.frames.set([extent], frame.with_flags(dirty | stale))
        if work.is_hugetlb:
            self._leave_pool(work, folio.flags | dirty)
        elif self._freed:
            self.moves.frames.set([Extent(work.pfn, work.nr)], self._freed)
        else:
            self.moves.old.append(Extent(work.pfn, work.nr))
        old = PteRun(work.page, work.nr, (work.pfn,), work.order)
        new = PteRun(work.page, work.nr, (work.dst,), work.order)
        self.moves.add(old, new, folio.frame)
        if folio.flags & FrameFlag.PARTIALLY_MAPPED & ~lost:
            self.machine.counters.add("thp_deferred_split_page")

    def undo(self, work: Work) -> None:
        """Map a folio again that was unmapped and cannot move, and give its destination back."""
        if work.entries:
            self.progress.remapped(work, folio_of(self.machine, work.pfn))
            mapped_again(self.machine, folio_of(self.machine, work.pfn))
        self.progress.backed_out(work)
        work.entries = []
        if work.is_hugetlb:
            give_back(self.machine, work.dst, work.is_temporary)
        else:
            self.room.put(self.machine, work.dst, work.nr)
        work.dst = -1
        del self.in_hand[work.pfn]

    def _allocate(self, work: Work) -> bool:
        """Take a frame, or a block, for the folio; False if there is none."""
        where = from_index(self.where, work.index >> work.order)
        if where is OWN_NODE:
            where = Prefer(nid_of(work.pfn))
        if work.is_hugetlb:
            falls_back = self.reason in _FALLS_BACK
            found = self.room.alloc_huge_page(self.machine, self.caller, where, falls_back)
            pfn, work.is_temporary = found or (None, False)
        else:
            pfn = self.room.alloc(self.machine, self.caller, where, work.order)
        if pfn is None:
            return False
        work.dst = pfn
        self.in_hand[work.pfn] = work
        return True

    def _leave_pool(self, work: Work, flags: int) -> None:
        """Let the old huge page, which had *flags*, be free in its pool, or no longer of it."""
        if work.is_temporary:
            settle_temporary(self.machine, work.pfn, work.dst)
            self.moves.old.append(Extent(work.pfn, work.nr))
        else:
            self.moves.frames.free([(work.pfn, work.nr)], flags)

    def _try_to_migrate(self, work: Work) -> bool:
        """Turn the entries that map the folio into migration entries; False if one cannot be.

        A folio is dirty once one of its dirty entries is gone, and partially mapped once a page
        of it is unmapped while others are not. Mirrors try_to_migrate_one().
        """
        machine = self.machine
        if work.is_movable:
            return True  # nothing maps a driver's page
        folio = folio_of(machine, work.pfn)
        is_pinned = folio.is_anon and folio.pins > 0
        left = _MapCounts(folio)
        is_partial = False
        for mapped in mapped_runs(machine, folio, work.page):
            run = mapped.run
            is_dirty = run.flags & Pte.DIRTY and not folio.flags & FrameFlag.DIRTY
            if is_pinned and run.flags & Pte.EXCLUSIVE:
                if is_dirty and (work.is_hugetlb or not run.order):
                    update_folio(machine, folio.pfn, _dirtied)
                return False
            entry_events(machine, SET, mapped.mm, [run], folio)
            work.entries.append(mapped)
            is_partial = is_partial or left.remove(run)
            if is_dirty:
                update_folio(machine, folio.pfn, _dirtied)
                folio = folio_of(machine, folio.pfn)
        if is_partial:
            defer_split(machine, folio)
        return True


def _dirtied(frame: Frame) -> Frame:
    return frame.with_flags(FrameFlag.DIRTY)


class _MapCounts:
    """How many entries still map each page of a folio that is being unmapped."""

    def __init__(self, folio: Folio) -> None:
        self.folio, self.entire = folio, folio.pmd_maps
        self.pages: Counter[int] = Counter()
        if folio.order and folio.pte_maps:
            for run in folio.runs:
                if run.frame.pte_maps:
                    pages = range(run.start, run.start + run.nr)
                    self.pages.update(dict.fromkeys(pages, run.frame.pte_maps))

    def remove(self, run: PteRun) -> bool:
        """Take the entries of *run* away; whether that makes the folio partially mapped.

        Mirrors __folio_remove_rmap().
        """
        if not self.folio.order:
            return False
        if run.order:
            self.entire -= 1
            return not self.entire and 0 < len(self.pages) < self.folio.nr
        is_partial = False
        for pfn in run.pfns():
            self.pages[pfn] -= 1
            if not self.pages[pfn]:
                del self.pages[pfn]
                is_partial = is_partial or bool(self.pages and not self.entire)
        return is_partial
