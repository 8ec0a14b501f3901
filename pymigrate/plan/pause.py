"""How long a page, a thread and mmap_lock wait while calls move memory. A model, as cost.py is."""

from __future__ import annotations

from collections.abc import Mapping

from pymigrate.mm.state.cost import NR_MAX_BATCHED_MIGRATION, Kind, Tally, estimate
from pymigrate.mm.state.machine import Machine
from pymigrate.plan.calls import Call, Mbind, MigratePages, MovePages, SetMems
from pymigrate.records import NamedTuple

LOW, HIGH = 0.5, 2.0  # an estimate may be so many times too long, or too short
WALK_US = 0.1  # a folio that a walk finds and isolates while it holds mmap_lock


class Wait(NamedTuple):
    """Folios of a kind that are unmapped, flushed and moved together: microseconds."""

    order: int
    folios: int  # at once
    maps: int
    time: float


class Pause(NamedTuple):
    """The longest waits of a plan, in microseconds, as estimated."""

    waits: tuple[Wait, ...]  # of each order the longest
    page: float  # an access to a page that is being moved
    thread: float  # a thread that meets all that one call moves
    mmap_lock: float  # who wants it while a call has it
    is_write: bool  # a call has it for writing: page faults wait, too


def batch_of(machine: Machine, order: int) -> int:
    """How many folios of that order are unmapped before the first is mapped again.

    Mirrors migrate_pages(): batches of 512 base pages. Where TLB flushes are not batched, folios
    go one by one.
    """
    if not machine.release.batches_flush:
        return 1
    return max(NR_MAX_BATCHED_MIGRATION >> order, 1)


def folio_time(machine: Machine, kind: Kind, nr: int, cpus: int) -> float:
    """Microseconds that *nr* folios of a kind take together, with one flush to *cpus*."""
    tally = Tally(flushes=1, flushed_cpus=max(cpus - 1, 0), ptes=kind.more * nr)
    if kind.order:
        tally.folios[kind[:3]] = nr
    else:
        tally.pages[kind[:2]] = nr
    return estimate(tally, machine.costs, machine.distances).total


def waits(
    machine: Machine, kinds: Mapping[Kind, int], threads: int, most: int = NR_MAX_BATCHED_MIGRATION
) -> list[Wait]:
    """The longest wait for each order of *kinds*, moved for a process of so many *threads*.

    No call moves more than *most* base pages, but for one folio.
    """
    found: dict[int, Wait] = {}
    nr_cpus = len(machine.cpus)
    for kind, there in kinds.items():
        nr = min(batch_of(machine, kind.order), there, max(most >> kind.order, 1))
        cpus = min(max(kind.maps, 1) - 1 + max(threads, 1), nr_cpus)
        wait = Wait(kind.order, nr, kind.maps, folio_time(machine, kind, nr, cpus))
        known = found.get(kind.order)
        found[kind.order] = max(known, wait, key=lambda each: each.time) if known else wait
    return [wait for _, wait in sorted(found.items())]


def locked(machine: Machine, call: Call, tally: Tally, time: float) -> float:
    """How long *call*, which took *time* and moved *tally*, has mmap_lock at a stretch.

    migrate_pages() has it for each pair of nodes while it lists pages, mbind() for its range, and
    move_pages() for one page. Kernels that migrate under it have it to the end.
    """
    pairs: dict[tuple[int, int], int] = {}
    for kind, nr in tally.kinds.items():
        pairs[kind[:2]] = pairs.get(kind[:2], 0) + nr
    match call:
        case MovePages():
            return WALK_US if pairs else 0.0
        case MigratePages() | SetMems():
            walk = max(pairs.values(), default=0) * WALK_US
        case Mbind():
            walk = sum(pairs.values()) * WALK_US
        case _:
            return 0.0
    return walk if machine.release.migrates_unlocked else walk + time
