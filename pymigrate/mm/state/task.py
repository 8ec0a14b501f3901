"""Tasks, and what they hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from pymigrate.mm.base.cred import CAP_FULL, CAP_NONE, Cap
from pymigrate.mm.base.why import Stay
from pymigrate.mm.state.access import AccessPattern
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.numa import FaultTable, NumaTask
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.nodemask import Cpumask, Nodemask


class Region(NamedTuple):
    """A name for an address range: what a scenario calls memory that a task maps."""

    task: str
    name: str
    start: int  # base pages
    nr: int


@dataclass(slots=True, eq=False)
class Cpuset:
    """A group of tasks that share nodes and CPUs.

    Tasks begin in the one called "", the parent of all others, which has all there is.
    """

    name: str
    cpus: Cpumask
    mems: Nodemask
    memory_migrate: bool
    old_mems: Nodemask  # those that its tasks' memory was last moved to


class Pin(NamedTuple):
    """The frames that a task holds: for long (FOLL_PIN), or by plain references in a pipe."""

    pid: int
    start: int  # the first page of the range that was named
    nr: int
    is_long: bool
    pfns: tuple[int, ...]


class Left(NamedTuple):
    """*nr* pages of a mapping, on one node, that a call left behind; *why* is a word for it."""

    pid: int
    mapping: str
    node: int
    nr: int
    why: str


FindLeft = Callable[[list[Stay]], list[Left]]


@dataclass(slots=True, eq=False)
class Task:
    """A process with one thread, and its credentials."""

    pid: int
    name: str
    comm: str
    uid: int
    cpus: Cpumask
    mm: Mm
    mems_allowed: Nodemask
    policy: Mempolicy | None = None
    il_prev: int = -1  # where a cursor-driven interleave stands
    il_weight: int = 0
    parent: str = ""
    cpuset: str = ""
    user_cpus: Cpumask = field(default_factory=Cpumask)  # what sched_setaffinity() asked for
    caps: int | None = None  # Cap bits; None: all for uid 0, none for others
    is_dumpable: bool = True  # others of its uid may inspect it
    numa: NumaTask = field(default_factory=NumaTask)
    accesses: list[AccessPattern] = field(default_factory=list)  # that it goes on making
    numa_faults: FaultTable = field(default_factory=dict)

    @property
    def cpu(self) -> int:
        """The CPU it runs on: the lowest of its affinity."""
        return self.cpus.first

    @property
    def capabilities(self) -> int:
        """The bits of the capabilities that it has."""
        if self.caps is not None:
            return self.caps
        return CAP_FULL if self.uid == 0 else CAP_NONE

    def has(self, cap: Cap) -> bool:
        """Whether it has the capability *cap*. Mirrors capable()."""
        return bool(self.capabilities & cap)


@dataclass(slots=True, eq=False)
class Meanwhile:
    """An access that a task makes in the middle of a migration."""

    pid: int
    page: int
    write: bool
    make: Callable[..., None]  # makes it, given the machine and itself
    is_made: bool = False
    waited: bool = False  # for the page was unmapped
    signal: str | None = None  # that it got
