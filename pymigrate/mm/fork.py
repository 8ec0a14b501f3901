"""Tasks come and go: fork with its copy-on-write page tables, and exit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pymigrate.mm.frames import FrameEdits, extents_of, uniform_parts
from pymigrate.mm.gup import unpin_all
from pymigrate.mm.machine import Task
from pymigrate.mm.memory import drop_unmapped_shm, map_anon, zap
from pymigrate.mm.mm import Mm
from pymigrate.mm.pte import Pte, PteRun
from pymigrate.mm.swap import lru_add_drain
from pymigrate.mm.vma import Vm, Vma

if TYPE_CHECKING:
    from pymigrate.mm.machine import Machine
    from pymigrate.mm.memmap import Frame

_ON_COPY = ~(Pte.WRITE | Pte.EXCLUSIVE)


def fork(machine: Machine, parent: Task, name: str) -> Task:
    """A child of *parent*. Mirrors dup_mmap() and copy_page_range().

    Only VMAs that have an anon_vma bring their entries; the others are faulted in anew.
    """
    mm = Mm(machine.new_id(), parent.mm.family, brk=parent.mm.brk)
    mm.start_stack = parent.mm.start_stack
    child = replace(parent, pid=machine.next_pid, name=name, mm=mm, parent=parent.name)
    machine.next_pid += 1
    machine.tasks[child.pid] = child
    machine.mms[mm.mm_id] = mm
    for vma in parent.mm.vmas:
        if vma.flags & Vm.DONTCOPY:
            continue
        copy = vma.part(vma.start, vma.end)
        copy.flags &= ~Vm.LOCKED
        mm.vmas.append(copy)
        if vma.anon_vma:
            copy.anon_vma, copy.anon_chained = machine.new_id(), True
            _copy_pages(machine, parent, child, vma, copy)
    return child


def exit_task(machine: Machine, task: Task) -> None:
    """The end of *task*: its memory is unmapped, its pid is free. Mirrors exit_mmap()."""
    lru_add_drain(machine, task.cpu)
    unpin_all(machine, task)
    spaces = {vma.space for vma in task.mm.vmas}
    for vma in task.mm.vmas:
        zap(machine, task, vma, vma.start, vma.end)
    task.mm.vmas.clear()
    del machine.tasks[task.pid]
    del machine.mms[task.mm.mm_id]
    drop_unmapped_shm(machine, spaces)


def _copy_pages(machine: Machine, parent: Task, child: Task, vma: Vma, copy: Vma) -> None:
    """Map the pages of *vma* in the child too, write-protected on both sides.

    Anonymous pages that are pinned and exclusive are copied, for the pin must keep its page.
    Mirrors copy_present_ptes().
    """
    edits = FrameEdits(machine)
    ours: list[PteRun] = []
    theirs: list[PteRun] = []
    pinned: list[PteRun] = []
    for run in parent.mm.page_table.between(vma.start, vma.end):
        if not run.lanes:
            theirs.append(run.with_flags(run.flags & ~Pte.YOUNG))
            continue
        for part, frames in uniform_parts(machine, run):
            if run.flags & Pte.EXCLUSIVE and any(frame.pins for frame in frames):
                copied, shared = _split_pinned(part, frames)
                pinned += copied
            else:
                shared = [(part, frames)]
            for piece, states in shared:
                flags = piece.flags & _ON_COPY
                ours.append(piece.with_flags(flags))
                theirs.append(piece.with_flags(flags & ~Pte.YOUNG))
                for lane_run, frame in _lanes(piece, states):
                    edits.set(lane_run, frame.mapped(1))
    edits.commit()
    parent.mm.page_table.edit([(run.start, run.end, (run,)) for run in ours])
    child.mm.page_table.edit([(run.start, run.end, (run,)) for run in theirs])
    for run in pinned:
        map_anon(machine, child, copy, run.start, run.end)


def _split_pinned(
    part: PteRun, frames: tuple[Frame, ...]
) -> tuple[list[PteRun], list[tuple[PteRun, tuple[Frame, ...]]]]:
    """The pinned entries of *part*, and the others, one by one."""
    copied: list[PteRun] = []
    shared: list[tuple[PteRun, tuple[Frame, ...]]] = []
    for i in range(part.nr):
        page = part.clip(part.start + i, part.start + i + 1)
        frame = frames[i % len(frames)]
        if frame.pins:
            copied.append(page)
        else:
            shared.append((page, (frame,)))
    return copied, shared


def _lanes(run: PteRun, frames: tuple[Frame, ...]) -> list[tuple[list[tuple[int, int]], Frame]]:
    """The extents of *run* with their frames."""
    if len(frames) == 1:
        return [([*extents_of(run)], frames[0])]
    return [([extent], frame) for extent, frame in zip(run.extents(), frames, strict=True)]
