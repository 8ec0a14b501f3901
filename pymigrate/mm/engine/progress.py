"""What becomes of each folio on its way, for those who watch: its steps, and what takes time."""

from __future__ import annotations

from pymigrate.mm.base.memmap import Busy, Folio, FrameFlag, nid_of
from pymigrate.mm.engine.migrate_ops import expected_refs, is_indexed, ops_of, refcount
from pymigrate.mm.engine.work import Work
from pymigrate.mm.frames.frames import folio_of
from pymigrate.mm.spaces.rmap import mapped_runs
from pymigrate.mm.state.cost import Tally
from pymigrate.mm.state.events import MigrateMode, Name, Step
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.trace import REMOVE, entry_events, pid_of, step_event
from pymigrate.units import counted

# The steps as the kernel's documentation numbers them, with those before and between its own, and
# the function of 6.12 that does each. Its step 15 ends a writeback that was queued meanwhile.
STEPS = {
    "0a": ("take off the LRU", "folio_isolate_lru"),
    "0b": ("choose the destination", "get_new_folio"),
    "1": ("lock the old folio", "folio_lock"),
    "2": ("writeback done", "folio_wait_writeback"),
    "3": ("lock the new folio", "folio_trylock"),
    "4": ("migration entries", "try_to_migrate"),
    "4b": ("flush the TLB", "try_to_unmap_flush"),
    "5": ("lock the index", "xas_lock_irq"),
    "6": ("count the references", "folio_ref_count"),
    "7": ("check the index entry", "folio_ref_freeze"),
    "8": ("prepare the new folio", "__folio_migrate_mapping"),
    "9": ("index entry", "xas_store"),
    "10": ("references move", "folio_ref_unfreeze"),
    "11": ("unlock the index", "xas_unlock"),
    "12": ("copy the contents", "folio_mc_copy"),
    "13": ("copy the flags", "folio_migrate_flags"),
    "14": ("clear the old flags", "folio_migrate_flags"),
    "15": ("start queued writeback", "folio_end_writeback"),
    "16": ("real entries again", "remove_migration_ptes"),
    "17": ("unlock both", "folio_unlock"),
    "18": ("new folio to the LRU", "folio_add_lru"),
}
# What else is told at a step, and the function that does it.
_ISOLATE = ("isolate", "isolate_movable_page")
_ENTRY_WAIT = ("fault on a migration entry", "migration_entry_wait")
_LOOK_UP = ("lookup in the index", "filemap_get_entry")
_SLEEP = ("lookup in the index", "folio_lock")
_WAKE = ("wake who waits", "folio_unlock")
_MIGRATE_PAGE = ("the driver moves it", "migrate_page")
_NO_INDEX = "skipped: anonymous, in no index"
_LOCKED = {Busy.LOCKED: "locked", Busy.READING: "locked, a read in flight"}
_COPIED = {  # the flags that step 13 names
    FrameFlag.DIRTY: "dirty",
    FrameFlag.MLOCKED: "mlocked",
    FrameFlag.SWAPBACKED: "swapbacked",
    FrameFlag.SWAPCACHE: "swapcache",
}


class Progress:
    """Is told how each step of a folio's migration ends."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def freed(self, work: Work) -> None:
        """It was free already, for nobody else held it."""
        self._step(work, "0a", "nobody else holds it: freed")

    def isolated(self, work: Work) -> None:
        """It is off the LRU lists, or its driver has let it go, since the first attempt."""
        if work.attempt > 1:
            return
        if work.is_movable:
            self._step(work, "0a", "isolated by the driver, PG_isolated set", what=_ISOLATE)
        elif self.machine.watch.steps:
            folio = folio_of(self.machine, work.pfn)
            count = refcount(self.machine, folio) + folio.mapcount
            self._step(work, "0a", f"isolated, refcount {count - 1} to {count}")

    def no_memory(self, work: Work) -> None:
        """There is no destination."""
        self._step(work, "0b", "no memory", "ENOMEM")

    def has_destination(self, work: Work) -> None:
        """There is one."""
        self._step(work, "0b", f"node {nid_of(work.dst)}")

    def busy(self, work: Work, kind: Busy) -> None:
        """Work of *kind* keeps it from being had."""
        if kind == Busy.WRITEBACK:
            self._step(work, "1", "free")
            self._step(work, "2", "under writeback", "EBUSY")
        else:
            self._step(work, "1", _LOCKED[kind], "EAGAIN")
        self._in_vain()

    def locked(self, work: Work) -> None:
        """It is locked with its destination, and no writeback goes on."""
        self._step(work, "1", "free")
        self._step(work, "2", "none")
        self._step(work, "3", "free")

    def pinned(self, work: Work) -> None:
        """An entry cannot become a migration entry."""
        self._step(work, "4", "pinned and exclusive", "EAGAIN")
        self._in_vain()

    def still_mapped(self, work: Work) -> None:
        """An entry is not found."""
        self._step(work, "4", "a parent's entry is not found", "EAGAIN")
        self._in_vain()

    def unmapped(self, work: Work) -> None:
        """Its entries are migration entries."""
        runs = f"{counted(len(work.entries), 'run')} of entries, mapcount 0"
        self._step(work, "4", "none: a driver's page" if work.is_movable else runs)

    def flushed(self, works: list[Work], mode: MigrateMode) -> None:
        """The TLB is flushed for all *works*, which a batch has unmapped."""
        if not works:
            return
        if self.machine.watch.tally is not None:
            self._count_flushes(self.machine.watch.tally, works, mode)
        self._step(works[0], "4b", f"once for {counted(len(works), 'folio')}")

    def awaited(self, work: Work) -> None:
        """A process has met one of its migration entries, or will look it up in its index."""
        other = self.machine.scope.meanwhile
        assert other is not None, "it is what waits"
        work.waiter = other.pid
        if not other.looks_up:
            found = f"process {other.pid} waits, asleep on the folio's lock"
            self._step(work, "4", found, what=_ENTRY_WAIT)

    def woken(self, work: Work) -> None:
        """Its lock is free again; who has waited for that goes on."""
        if work.waiter:
            found = f"process {work.waiter} is woken, and faults again"
            self._step(work, "17", found, what=_WAKE)
            work.waiter = 0

    def backed_out(self, work: Work) -> None:
        """Its attempts are over for now; it stays, and who has waited for it goes on."""
        if work.waiter:
            work.attempt -= 1  # the one that was the last
            self.woken(work)
            work.attempt += 1

    def held(self, work: Work, folio: Folio) -> None:
        """It has more references than it should."""
        self._count_references(work, folio, "EAGAIN")
        self._in_vain()

    def refused(self, work: Work, folio: Folio, errno: str) -> None:
        """Its address space does not move it."""
        self._count_references(work, folio)
        self._step(work, "12", ops_of(self.machine, folio).method.value, errno)
        self._in_vain()

    def moved(self, work: Work, folio: Folio) -> None:
        """It is at its destination, and mapped again; the steps come in the order of 6.12."""
        self._count_references(work, folio)
        self._step(work, "12", counted(folio.nr, "page"))
        if self.machine.watch.steps:
            self._tell_index(work, folio)
        self._step(work, "18", "added")
        self.remapped(work, folio)
        self._step(work, "16", f"{counted(len(work.entries), 'run')} of entries")
        self._step(work, "17", "unlocked")
        self.woken(work)

    def looked_up(self, work: Work, folio: Folio) -> None:
        """Somebody has got a reference from its index since they were counted."""
        self._count_references(work, folio)
        self._step(work, "12", counted(folio.nr, "page"))
        self._step(work, "5", "locked")
        if self.machine.watch.steps:
            expected = expected_refs(self.machine, folio)
            found = f"refcount {expected + 1}, expected {expected}: a lookup holds one"
            self._step(work, "7", found, "EAGAIN")
        self._in_vain()

    def remapped(self, work: Work, folio: Folio) -> None:
        """Its migration entries are real ones again, there or where it was."""
        if self.machine.watch.events is not None:
            for mm, run in work.entries:
                entry_events(self.machine, REMOVE, mm, [run], folio)

    def driver_answered(self, work: Work, errno: str, is_given_up: bool) -> None:
        """Its driver has moved it, or answered *errno*; or had given it up, and was not asked."""
        found = "0: the old page is cleared, the new one is marked as movable"
        if is_given_up:
            found = "not asked: it has cleared the page"
        self._step(work, "12", errno or found, errno, _MIGRATE_PAGE)
        if errno:
            self._in_vain()
        elif self.machine.watch.tally is not None:
            self.machine.watch.tally.pages[nid_of(work.pfn), nid_of(work.dst)] += 1

    def split(self) -> None:
        """A large folio was split."""
        if self.machine.watch.tally is not None:
            self.machine.watch.tally.splits += 1

    def _count_references(self, work: Work, folio: Folio, failed: str = "") -> None:
        if self.machine.watch.steps:
            count, expected = refcount(self.machine, folio), expected_refs(self.machine, folio)
            self._step(work, "6", f"refcount {count}, expected {expected}", failed)

    def _tell_index(self, work: Work, folio: Folio) -> None:
        if is_indexed(folio):
            nr = folio.nr if folio.is_anon else 1
            self._step(work, "5", "locked")
            self._step(work, "7", f"frozen at {expected_refs(self.machine, folio)}")
            self._wait_for_index(work, _LOOK_UP, "spins, because the count is frozen")
            self._step(work, "8", "index, mapping")
            self._step(work, "9", f"{counted(nr, 'slot')} of it for the new folio")
            self._step(work, "10", f"{folio.nr} from the old folio to the new one")
            self._step(work, "11", "unlocked")
            self._wait_for_index(work, _SLEEP, "finds the new folio, and sleeps on its lock")
        else:
            for number in ("5", "7"):
                self._step(work, number, _NO_INDEX)
            self._step(work, "8", "index, mapping")
            for number in ("9", "10", "11"):
                self._step(work, number, _NO_INDEX)
        flags = [name for flag, name in _COPIED.items() if folio.flags & flag]
        self._step(work, "13", ", ".join(flags) or "none")
        self._step(work, "14", "cleared")
        self._step(work, "15", "none")

    def _wait_for_index(self, work: Work, what: tuple[str, str], does: str) -> None:
        other = self.machine.scope.meanwhile
        if work.waiter and other is not None and other.looks_up:
            number = "7" if what is _LOOK_UP else "11"
            self._step(work, number, f"process {work.waiter} {does}", what=what)

    def _step(
        self,
        work: Work,
        number: str,
        found: str,
        failed: str = "",
        what: tuple[str, str] | None = None,
    ) -> None:
        if not self.machine.watch.steps:
            return
        if work.name is None:
            work.name = self._name(work)
        name, function = what or STEPS[number]
        about = work.name, work.pfn, work.nr, work.attempt
        step_event(self.machine, Step(number, name, found, failed, *about, function, work.mode))

    def _name(self, work: Work) -> Name:
        """What the folio is told of as: anonymous memory by the first process that maps it.

        A merged page is told of as the one that it was made of.
        """
        machine, page = self.machine, work.page
        run = machine.memmap_of(work.pfn).at(work.pfn)
        if run is None:
            return Name(page)
        if not run.frame.is_anon:
            return Name(page, owner=run.frame.owner)
        is_merged = run.frame.flags & FrameFlag.KSM
        item = machine.stable_tree.origin(run.frame.owner) if is_merged else None
        if item and item.mm_id in machine.mms:
            return Name(item.page, pid_of(machine, machine.mms[item.mm_id]))
        first = next(mapped_runs(machine, folio_of(machine, work.pfn), page), None)
        if first is None:
            return Name(page)
        at = first.run.start if is_merged else first.run.start - first.run.lanes[0] + work.pfn
        return Name(at, pid_of(machine, first.mm))

    def _in_vain(self) -> None:
        """An attempt has cost its time for nothing."""
        if self.machine.watch.tally is not None:
            self.machine.watch.tally.attempts += 1

    def _count_flushes(self, tally: Tally, works: list[Work], mode: MigrateMode) -> None:
        """An asynchronous batch defers the flush of base pages' entries to its end."""
        is_batched = mode == MigrateMode.ASYNC and self.machine.release.batches_flush
        small = [len(work.entries) for work in works if not work.order]
        if is_batched and any(small):
            tally.flushed(1, max(small))
        for work in works:
            if work.order or not is_batched:
                tally.flushed(len(work.entries))
