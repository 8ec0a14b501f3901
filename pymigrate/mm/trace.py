"""The kernel's migration tracepoints, for who wants to watch."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from pymigrate.mm.memmap import FrameFlag
from pymigrate.mm.pte import Pte

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pymigrate.mm.machine import Machine
    from pymigrate.mm.memmap import Folio
    from pymigrate.mm.pte import PteRun

SET, REMOVE = "set_migration", "remove_migration"


class MigrateMode(IntEnum):
    """How far a migration goes to get hold of a folio (linux/migrate_mode.h)."""

    ASYNC = 0
    SYNC_LIGHT = 1
    SYNC = 2


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


def mode_text(mode: MigrateMode, reason: MigrateReason) -> str:
    """How the tracepoints name them."""
    name = "syscall_or_cpuset" if reason == MigrateReason.SYSCALL else reason.name.lower()
    return f"mode=MIGRATE_{mode.name} reason={name}"


class Event(NamedTuple):
    """A tracepoint: one about an entry names its page, the others bear their whole text."""

    name: str
    text: str
    page: int | None = None


class Step(NamedTuple):
    """One step of a folio's migration, as the kernel's documentation numbers and names them.

    They stand among the events if `Machine.traces_steps` is set.
    """

    number: str  # "1" to "18", "0a", "0b", "4b": section "the 18 documented steps"
    name: str  # what is done: "lock the old page"
    found: str  # what it found: "refcount 2, expected 1"
    failed: str  # "" if the migration goes on, else what comes of it: "EAGAIN"
    page: int  # the folio's first page, as rmap.mappings() counts
    pfn: int
    nr: int  # its base pages
    attempt: int  # of this folio in this call, from 1
    space: int = 0  # whose page that is, in a file: its address space; 0: anonymous memory


def step_event(machine: Machine, step: Step) -> None:
    """Note a step of a folio's migration, if somebody wants to see them."""
    if machine.events is not None and machine.traces_steps:
        machine.events.append(step)


def call_event(machine: Machine, name: str, text: str) -> None:
    """Note an event of a whole call."""
    if machine.events is not None:
        machine.events.append(Event(name, text))


def entry_events(machine: Machine, kind: str, runs: Iterable[PteRun], folio: Folio) -> None:
    """Note that the entries *runs* of *folio* become migration entries (SET), or real ones again.

    An entry that becomes a real one again is told with the folio's order only if it maps the
    folio's first page.
    """
    if machine.events is None:
        return
    is_hugetlb = bool(folio.flags & FrameFlag.HUGETLB)
    for run in runs:
        value = _value(run.flags) if kind == SET else ""
        for entry in run.entries():
            if entry.order and not is_hugetlb:
                machine.events.append(Event(f"{kind}_pmd", value and f"pmd={value}", entry.start))
                continue
            order = folio.order if kind == SET or entry.lanes[0] == folio.pfn else 0
            text = f"pte={value} order={order}" if kind == SET else f"order={order}"
            machine.events.append(Event(f"{kind}_pte", text, entry.start))


def _value(flags: int) -> str:
    """What kind of migration entry one with *flags* becomes."""
    kind = "write" if flags & Pte.WRITE else "read-exclusive" if flags & Pte.EXCLUSIVE else "read"
    young = ",young" if flags & Pte.YOUNG else ""
    return kind + young + (",dirty" if flags & Pte.DIRTY else "")
