"""What a migration tells: tracepoints, and the steps of each folio."""

from __future__ import annotations

from enum import IntEnum

from pymigrate.records import NamedTuple


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

    @property
    def text(self) -> str:
        """What the tracepoints call it."""
        return "syscall_or_cpuset" if self == MigrateReason.SYSCALL else self.name.lower()


def mode_text(mode: MigrateMode, reason: MigrateReason) -> str:
    """A mode and a reason as the tracepoints print them."""
    return f"mode=MIGRATE_{mode.name} reason={reason.text}"


class Event(NamedTuple):
    """A tracepoint: one about an entry names its page, the others bear their whole text."""

    name: str
    text: str
    page: int | None = None
    pid: int = 0  # the process in whose page table the entry stands; 0: of none
    pfn: int | None = None  # of the folio that the entry maps


class Name(NamedTuple):
    """What a folio is told of as: by its first page, of a process or of what else has it."""

    page: int  # at an address of the process *pid*, or by its number in the owner
    pid: int = 0  # of anonymous memory; 0: nobody maps it
    owner: int = 0  # of other memory: its address space, or its driver


class Step(NamedTuple):
    """One step of a folio's migration, as the kernel's documentation numbers and names them.

    They stand among the events if `Watch.steps` is set.
    """

    number: str  # "1" to "18", "0a", "0b", "4b", as STEPS of progress.py has them
    name: str  # what is done: "lock the old page"
    found: str  # what it found: "refcount 2, expected 1"
    failed: str  # "" if the migration goes on, else what comes of it: "EAGAIN"
    folio: Name
    pfn: int
    nr: int  # its base pages
    attempt: int  # of this folio in this call, from 1: one ends where the engine backs out
    function: str = ""  # the kernel's, which does it
    mode: MigrateMode | None = None  # in which this attempt is made
