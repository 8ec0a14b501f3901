"""Tasks that access their memory as was declared, while time passes.

A model: the accesses to alike pages sweep over them in the order of addresses, at an even rate that
began with the machine, and whole sweeps store. So what is accessed in a time is a run of pages,
nothing is random, and nothing has to be remembered.
"""

from __future__ import annotations

from collections.abc import Iterator

from pymigrate.mm.balance.promotion import decided_until
from pymigrate.mm.faults.memory import access
from pymigrate.mm.frames.hot_pages import TIERING
from pymigrate.mm.spaces.anon_pages import Fault
from pymigrate.mm.state.machine import Machine, region_of
from pymigrate.mm.state.task import AccessPattern, Task, accessed
from pymigrate.records import NamedTuple, field, record

_SHARES = 1000  # the whole, where shares are whole numbers
_UNIT = 1_000_000  # rates are in so many parts of an access a ms
_NEVER = 1 << 62


class Sweep(NamedTuple):
    """Accesses to *nr* pages from page *start*; of 1000 sweeps over them *writes* store."""

    start: int
    nr: int
    rate: int  # accesses in 1000 seconds
    writes: int

    def made_by(self, time: int) -> int:
        """How many accesses there were until *time* (ms)."""
        return self.rate * time // _UNIT

    def time_of(self, number: int) -> int:
        """When access *number*, counted from 0, is made."""
        return -(-_UNIT * (number + 1) // self.rate)

    def stores(self, sweep: int) -> bool:
        """Whether the accesses of that sweep are stores."""
        return (sweep + 1) * self.writes // _SHARES > sweep * self.writes // _SHARES

    def next_store(self, sweep: int) -> int:
        """The first sweep from this one on that stores."""
        if not self.writes:
            return _NEVER
        return -(-_SHARES * (sweep * self.writes // _SHARES + 1) // self.writes) - 1


@record
class Accessing:
    """A program that uses memory as its task has declared."""

    task: Task
    signals: dict[str, str] = field(default_factory=dict)  # that ended the use of a region

    def run(self, machine: Machine, start: int, end: int) -> None:
        """Make the accesses from time *start* to *end*, pattern by pattern."""
        for pattern in self.task.accesses:
            if pattern.region in self.signals or self.task.pid not in machine.tasks:
                continue
            try:
                for sweep in sweeps(machine, self.task, pattern):
                    run_sweep(machine, self.task, sweep, start, end)
            except Fault as fault:
                self.signals[pattern.region] = fault.signal


def sweeps(machine: Machine, task: Task, pattern: AccessPattern) -> Iterator[Sweep]:
    """The sweeps that *pattern* means: none if its region is not mapped."""
    region = region_of(machine, task, pattern.region)
    if region is None:
        return
    for part in accessed(pattern, region.start, region.nr):
        rate = round(part.rate * 1000)
        if rate:
            writes = round(pattern.writes * _SHARES)
            yield Sweep(part.start, part.end - part.start, rate, writes)


def run_sweep(machine: Machine, task: Task, sweep: Sweep, begin: int, end: int) -> None:
    """Make the accesses of *sweep* from time *begin* to *end* (ms), as far as they can matter.

    A page that was accessed notices nothing of further accesses, but of the first store. Raises
    Fault.
    """
    nr = sweep.nr
    at, stop = sweep.made_by(begin), sweep.made_by(end)
    seen = at + nr  # by then each page has been accessed
    while at < min(stop, seen):
        number = at // nr
        last = min(stop, seen, (number + 1) * nr)
        _access(machine, task, sweep, at, last, sweep.stores(number))
        at = last
    while at < stop:
        number = sweep.next_store(at // nr)
        low, high = max(number * nr, at), min((number + 1) * nr, stop)
        if low >= stop:
            return
        _access(machine, task, sweep, low, high, is_store=True)
        at = high if high - low < nr else stop


def _access(machine: Machine, task: Task, sweep: Sweep, at: int, last: int, is_store: bool) -> None:
    """Make the accesses from number *at* to *last*, which are of one sweep.

    Where pages may be promoted it matters when each is accessed: time passes piece by piece.
    """
    shift = sweep.start - at // sweep.nr * sweep.nr  # from an access to its page
    while at < last:
        machine.now = sweep.time_of(at)
        stop = last
        if machine.numa_balancing & TIERING:
            page, until = decided_until(machine, task, at + shift, last + shift)
            stop = max(min(page - shift, sweep.made_by(until - 1)), at + 1)
        access(machine, task, at + shift, stop + shift, is_store)
        at = stop
