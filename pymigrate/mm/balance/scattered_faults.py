"""Hint faults at scattered base pages, many at once where that makes no difference."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import NamedTuple

from pymigrate.mm.balance.hint_fault import balanced_room, fault_alike, hint_fault, note_fault
from pymigrate.mm.balance.placement import is_placement_due
from pymigrate.mm.base.memmap import Frame, nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.frames.frames import uniform_parts
from pymigrate.mm.frames.hot_pages import TIERING
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vma

_FEW = 4  # runs, for which it does not pay


class _Alike(NamedTuple):
    """What pages have in common whose faults end alike."""

    nid: int
    frame: Frame
    flags: int  # of the entry


def hint_faults(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> None:
    """Take the hint faults of private pages [a, b), if they are many, and none can fail.

    The others are left to hint_fault(). It is asked before a whole range is accessed. The order of
    the faults shows only where they meet a limit: of memory, of a rate of promotion, or of faults
    before tasks and memory are placed anew. Where none does, those that are alike come together.
    """
    if vma.space or machine.watch.events is not None or machine.numa_balancing & TIERING:
        return
    runs = _hinted(task, a, b)
    if len(runs) <= _FEW and all(len(run.lanes) == 1 for run in runs):
        return
    here = machine.local_node(task)
    if sum(run.nr for run in runs) > balanced_room(machine.nodes[here], 1):
        return
    if is_placement_due(machine, task):
        first = runs[0].start
        hint_fault(machine, task, vma, runs[0].clip(first, first + 1))
        runs = _hinted(task, first + 1, b)
    note_fault(vma)
    groups: dict[_Alike, list[PteRun]] = {}
    for run in runs:
        for part, alike in _parts(machine, run):
            groups.setdefault(alike, []).append(part)
    for parts in groups.values():
        fault_alike(machine, task, vma, parts)


def _hinted(task: Task, a: int, b: int) -> list[PteRun]:
    """The entries of base pages that a scan has made inaccessible."""
    found = task.mm.page_table.between(a, b)
    return [run for run in found if run.flags & Pte.HINT and run.lanes and not run.order]


def _parts(machine: Machine, run: PteRun) -> Iterator[tuple[PteRun, _Alike]]:
    """*run* in parts of base pages that lie on one node and are alike."""
    for part, states in uniform_parts(machine, run):
        is_alike = states.is_alike and len({nid_of(pfn) for pfn in part.lanes}) == 1
        pieces = iter((part,)) if is_alike else part.entries()
        for piece, frame in zip(pieces, cycle(states.each), strict=False):
            if not frame.order:
                yield piece, _Alike(nid_of(piece.lanes[0]), frame, piece.flags)
