"""What the kernel's migration tracepoints would say, for who wants to watch."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from pymigrate.mm.pte import Pte
from pymigrate.mm.rmap import mappings
from pymigrate.units import HPAGE_PMD_NR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pymigrate.mm.machine import Machine
    from pymigrate.mm.migrate import MigrateResult, Slice

BATCH = HPAGE_PMD_NR  # NR_MAX_BATCHED_MIGRATION


class MigrateReason(IntEnum):
    """Who asks for a migration (linux/migrate_mode.h)."""

    COMPACTION = 0
    MEMORY_FAILURE = 1
    MEMORY_HOTPLUG = 2
    SYSCALL = 3
    MEMPOLICY_MBIND = 4
    NUMA_MISPLACED = 5
    CONTIG_RANGE = 6
    LONGTERM_PIN = 7
    DEMOTION = 8
    DAMON = 9


_REASONS = {
    MigrateReason.SYSCALL: "syscall_or_cpuset",
    MigrateReason.MEMPOLICY_MBIND: "mempolicy_mbind",
}
SET, REMOVE = "set_migration_pte", "remove_migration_pte"


class Event(NamedTuple):
    """A tracepoint: one about an entry names its page, the others bear their whole text."""

    name: str
    text: str
    page: int | None = None


class Entry(NamedTuple):
    """An entry that maps a folio: its virtual page and its flags."""

    page: int
    flags: int


class Watched(NamedTuple):
    """A folio of a queue as it was before the migration."""

    entries: tuple[Entry, ...]
    is_held: bool
    is_pinned: bool  # so that not even its entries can be taken away


def watch(machine: Machine, queue: Iterable[Slice]) -> list[Watched]:
    """The folios of *queue* with the entries that map them, in the order of the rmap walk."""
    return [_watched(machine, page) for part in queue for page in part.pages()]


def call_events(
    folios: Sequence[Watched], result: MigrateResult, reason: MigrateReason
) -> list[Event]:
    """The events of one call of the engine. Mirrors migrate_pages() and migrate_pages_batch().

    Each batch is unmapped and moved in asynchronous mode first; what is left is tried again
    folio by folio. Where memory ran out, the batch ends before the folio that found none.
    """
    tail = f"mode=MIGRATE_SYNC reason={_REASONS.get(reason, reason.name.lower())}"
    events = [Event("mm_migrate_pages_start", tail)]
    for start in range(0, min(result.tried + 1, len(folios)), BATCH):
        batch = folios[start : min(start + BATCH, result.tried)]
        unmapped = [folio for folio in batch if not folio.is_pinned]
        stuck = [folio for folio in unmapped if folio.is_held]
        events += [event for folio in unmapped for event in _set(folio)]
        events += [event for folio in unmapped if not folio.is_held for event in _remove(folio)]
        events += [event for folio in stuck for event in _remove(folio)]
        if start + len(batch) == result.tried and result.is_enomem:
            break
        events += [event for folio in stuck for event in (*_set(folio), *_remove(folio))]
    counts = f"nr_succeeded={result.succeeded} nr_failed={result.failed}"
    thp = "nr_thp_succeeded=0 nr_thp_failed=0 nr_thp_split=0 nr_split=0"
    return [*events, Event("mm_migrate_pages", f"{counts} {thp} {tail}")]


def _watched(machine: Machine, part: Slice) -> Watched:
    frame = part.frames[0]
    page = part.run.start
    entries = []
    for mapping in mappings(machine, frame, page, page + 1):
        run = mapping.table.at(page + mapping.shift)
        if not mapping.is_cache and run is not None and run.lanes:
            at = page + mapping.shift
            if run.pfn(at) == part.run.lanes[0]:
                entries.append(Entry(at, run.flags))
    is_pinned = bool(frame.pins and frame.is_anon and part.run.flags & Pte.EXCLUSIVE)
    return Watched(tuple(entries), frame.is_held, is_pinned)


def _set(folio: Watched) -> Iterator[Event]:
    for page, flags in folio.entries:
        kind = "write" if flags & Pte.WRITE else "read-exclusive"
        if not flags & (Pte.WRITE | Pte.EXCLUSIVE):
            kind = "read"
        young = ",young" if flags & Pte.YOUNG else ""
        dirty = ",dirty" if flags & Pte.DIRTY else ""
        yield Event(SET, f"pte={kind}{young}{dirty} order=0", page)


def _remove(folio: Watched) -> Iterator[Event]:
    for page, _ in folio.entries:
        yield Event(REMOVE, "order=0", page)
