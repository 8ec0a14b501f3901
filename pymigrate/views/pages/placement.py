"""The node of each page of a range."""

from collections.abc import Iterator

from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm

NOT_PRESENT = -1


def runs(machine: Machine, task: Task, a: int, b: int) -> list[list[int]]:
    """Pages [a, b) as runs [count, node]; -1 for absent pages and the zero page."""
    out: list[list[int]] = []

    def add(nr: int, node: int) -> None:
        if out and out[-1][1] == node:
            out[-1][0] += nr
        else:
            out.append([nr, node])

    for low, high, run in _spans(machine, task, a, b):
        start, end = max(low, a), min(high, b)
        if run is None or not run.lanes or not run.flags & Pte.PRESENT:
            add(end - start, NOT_PRESENT)
        elif len(run.lanes) == 1:
            add(end - start, nid_of(run.lanes[0]))
        else:
            for entry in run.entries():
                add(min(entry.end, b) - max(entry.start, a), nid_of(entry.lanes[0]))
    return out


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
