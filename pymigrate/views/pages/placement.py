"""The node of each page of a range."""

from collections import Counter
from collections.abc import Iterator

from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm
from pymigrate.records import NamedTuple

NOT_PRESENT = -1


class Turns(NamedTuple):
    """Pages [start, end), whose entries of ``1 << order`` pages from *first* on take turns on
    *nodes*; these are NOT_PRESENT for absent pages and the zero page.
    """

    start: int
    end: int
    first: int
    order: int
    nodes: tuple[int, ...]

    def by_node(self) -> dict[int, int]:
        """How many of the pages lie on each node."""
        k, a, b = len(self.nodes), self.start - self.first, self.end - self.first
        low, high = a >> self.order, -(-b >> self.order)
        nr: Counter[int] = Counter()
        for lane, node in enumerate(self.nodes):
            nr[node] += ((high - lane + k - 1) // k - (low - lane + k - 1) // k) << self.order
        nr[self.nodes[low % k]] -= a - (low << self.order)
        nr[self.nodes[(high - 1) % k]] -= (high << self.order) - b
        return nr

    def each(self) -> Iterator[tuple[int, int, int]]:
        """The entries, or all at once if they lie on one node: (start, end, node)."""
        if len(set(self.nodes)) == 1:
            yield self.start, self.end, self.nodes[0]
            return
        k, size = len(self.nodes), 1 << self.order
        at = self.start
        while at < self.end:
            entry = at - self.first >> self.order
            end = min(self.first + (entry << self.order) + size, self.end)
            yield at, end, self.nodes[entry % k]
            at = end


def runs(machine: Machine, task: Task, a: int, b: int) -> list[list[int]]:
    """Pages [a, b) as runs [count, node]; -1 for absent pages and the zero page."""
    out: list[list[int]] = []
    for part in turns(machine, task, a, b):
        for start, end, node in part.each():
            if out and out[-1][1] == node:
                out[-1][0] += end - start
            else:
                out.append([end - start, node])
    return out


def turns(machine: Machine, task: Task, a: int, b: int) -> Iterator[Turns]:
    """Pages [a, b), as the runs of their entries lie on nodes."""
    for low, high, run in _spans(machine, task, a, b):
        start, end = max(low, a), min(high, b)
        if run is None or not run.lanes or not run.flags & Pte.PRESENT:
            yield Turns(start, end, low, 0, (NOT_PRESENT,))
        else:
            yield Turns(start, end, low, run.order, tuple([nid_of(pfn) for pfn in run.lanes]))


def _spans(
    machine: Machine, task: Task, a: int, b: int
) -> Iterator[tuple[int, int, PteRun | None]]:
    """The entries of [a, b); where PROT_NONE hides them, as if there were none."""
    at = a
    if machine.release.prot_none_is_absent:
        for vma, start, end in task.mm.parts(a, b):
            if not vma.flags & Vm.ACCESS:
                yield from task.mm.page_table.spans(at, start)
                yield start, end, None
                at = end
    yield from task.mm.page_table.spans(at, b)
