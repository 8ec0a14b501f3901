"""What else moves pages, as methods of a Machine: balancing, reclaim, compaction, hotplug; time."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from pymigrate.api.arguments import task_of
from pymigrate.mm.clock import balance as balancing
from pymigrate.mm.state.cost import Estimate
from pymigrate.mm.state.machine import watching
from pymigrate.mm.state.tally import Tally
from pymigrate.syscalls import compact, memory_blocks, reclaim
from pymigrate.units import parse_size
from pymigrate.views.told import accesses, balance, cost
from pymigrate.views.told.accesses import AccessRow as Reach
from pymigrate.views.told.balance import BalanceRow as Balanced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymigrate.api.arguments import Size, Who
    from pymigrate.mm.state import machine as core
    from pymigrate.mm.state import task as core_task


class Compacted(NamedTuple):
    """A run of compaction: the zone, how it ended ("complete", ...), and the pages that moved."""

    node: int
    zone: str
    result: str
    moved: int


class Block(NamedTuple):
    """A memory block that was to go offline, or to come back; *errno* is None if it did."""

    number: int
    errno: str | None
    why: str


_NO_TIME = Estimate(0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(slots=True)
class Timed:
    """The estimated time of what happened, in microseconds; filled when the `with` block ends."""

    time: Estimate = _NO_TIME

    @property
    def total(self) -> float:
        """All parts together."""
        return self.time.total


class Movers:
    """The part of Machine that others than system calls are asked by."""

    __slots__ = ("_core",)

    def __init__(self, machine: core.Machine) -> None:
        self._core = machine

    def _task(self, who: Who) -> core_task.Task:
        return task_of(self._core, who)

    def _caller(self, caller: Who | None, uid: int) -> core_task.Task:
        """Who makes a call on a process."""
        if caller is not None:
            return self._task(caller)
        return self._core.shell_of(uid)

    def balance(self, seconds: float) -> list[Balanced]:
        """Let time pass while tasks use their memory by their `access`, and NUMA balancing works.

        A row for each task that ran.
        """
        if not seconds >= 0:
            raise ValueError(f"{seconds} seconds; expected some")
        done = balancing.balance(self._core, ceil(seconds * 1000))
        return balance.rows(self._core, done)

    def accesses(self) -> list[Reach]:
        """How far tasks reach with their declared accesses: a row for each that declares any."""
        return accesses.rows(self._core)

    def reclaim(
        self, size: Size, *, node: int | None = None, tasks: list[Who] | None = None, uid: int = 0
    ) -> int:
        """Reclaim *size*, of *node* and of what *tasks* map, if given; how many base pages.

        Raises KernelError EAGAIN if there was less.
        """
        who = None if tasks is None else [self._task(each) for each in tasks]
        return reclaim.reclaim(self._core, self._caller(None, uid), parse_size(size), node, who)

    def compact(
        self, node: int | None = None, *, order: int | None = None, uid: int = 0
    ) -> list[Compacted]:
        """Compact a node, or all: whole zones, or until a block of 2**order pages is free."""
        found = compact.compact(self._core, self._caller(None, uid), node, order)
        return [Compacted(run.node, run.zone, run.result.name.lower(), run.moved) for run in found]

    def offline(self, node: int, blocks: list[int] | None = None, *, uid: int = 0) -> list[Block]:
        """Take memory blocks of a node away, or all that are online; what became of each."""
        shell = self._caller(None, uid)
        return _blocks(memory_blocks.offline(self._core, shell, node, blocks))

    def online(self, node: int, blocks: list[int] | None = None, *, uid: int = 0) -> list[Block]:
        """Give memory blocks of a node back, or all that are offline; what became of each."""
        shell = self._caller(None, uid)
        return _blocks(memory_blocks.online(self._core, shell, node, blocks))

    @contextmanager
    def timed(self) -> Iterator[Timed]:
        """Estimate the time of the migrations that happen while the block runs."""
        machine, found, tally = self._core, Timed(), Tally()
        try:
            with watching(machine, machine.watch._replace(tally=tally)):
                yield found
        finally:
            found.time = cost.taken(machine, tally) or found.time


def _blocks(outcomes: list[memory_blocks.Outcome]) -> list[Block]:
    return [
        Block(number, error.errno if error else None, error.why if error else "")
        for number, error in outcomes
    ]
