"""Hint faults at scattered base pages, many at once where that makes no difference."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

from pymigrate.mm.balance.hint_fault import (
    balanced_room,
    hint_fault,
    is_used_from,
    may_follow,
    may_write,
    migrate_misplaced,
    note_fault,
)
from pymigrate.mm.balance.placement import HintFault, cpupid_of, is_placement_due, task_numa_fault
from pymigrate.mm.base.memmap import Frame, nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import coalesce
from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.frames.frames import extents_of, folio_of, uniform_parts, update_frames
from pymigrate.mm.frames.hot_pages import TIERING

if TYPE_CHECKING:
    from collections.abc import Iterator

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

    The others are left to hint_fault(). It is asked before a whole range is accessed.
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
    for alike, parts in groups.items():
        _fault(machine, task, vma, alike, parts)


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


def _fault(machine: Machine, task: Task, vma: Vma, alike: _Alike, parts: list[PteRun]) -> None:
    """The faults of pages that are alike. Mirrors do_numa_page() for each."""
    here, folio = machine.local_node(task), folio_of(machine, parts[0].lanes[0])
    nr, is_local = sum(part.nr for part in parts), alike.nid == here
    extents = coalesce(extent for part in parts for extent in extents_of(part))
    frame, may_move = alike.frame, False
    if may_follow(machine, task, vma, parts[0].start, here) and machine.nodes[here].nr_pages:
        may_move = is_used_from(machine, task, folio, here)
        frame = frame._replace(cpupid=cpupid_of(task))
        update_frames(machine, extents, lambda _: frame)
    machine.counters.add("numa_hint_faults", nr)
    machine.counters.add("numa_hint_faults_local", nr * is_local)
    if machine.watch.tally is not None:
        machine.watch.tally.hint_faults += nr
    machine.counters.add("pgfault", nr)
    can_write = may_write(vma, parts[0])
    flags = alike.flags & ~Pte.HINT | (Pte.WRITE if can_write else 0)
    parts = [part.with_flags(flags) for part in parts]
    task.mm.page_table.edit([(part.start, part.end, (part,)) for part in parts])
    moved = 0
    if may_move and not is_local:
        queue = [Slice.whole(part, frame, vma.index(part.start)) for part in parts]
        moved = migrate_misplaced(machine, task, queue, here)
    machine.counters.add("numa_pages_migrated", moved)
    fault = HintFault(alike.frame.cpupid, alike.nid, 0, is_local, False, can_write)
    if moved:
        task_numa_fault(machine, task, fault._replace(nid=here, pages=moved, has_moved=True))
    if nr > moved:
        has_failed = may_move and not is_local
        task_numa_fault(machine, task, fault._replace(pages=nr - moved, has_failed=has_failed))
