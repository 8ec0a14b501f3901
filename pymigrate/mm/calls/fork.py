"""fork: a child whose page tables are copies, for copy-on-write. Mirrors kernel/fork.c."""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import cycle

from pymigrate.errors import KernelError
from pymigrate.mm.base.memmap import Frame, States
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.faults.anon_fault import VmFault, map_anon
from pymigrate.mm.faults.hugetlb_fault import hugetlb_fault
from pymigrate.mm.frames.frames import (
    FrameEdits,
    extents_of,
    folio_of,
    uniform_parts,
    update_folio,
    update_frames,
)
from pymigrate.mm.frames.page_alloc import alloc_run
from pymigrate.mm.spaces.anon_pages import Fault
from pymigrate.mm.spaces.exit import free_mm
from pymigrate.mm.spaces.huge_memory import split_huge_pmds
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.numa import TICK, NumaMm, NumaTask
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.records import replaced

_ON_COPY = ~(Pte.WRITE | Pte.EXCLUSIVE)


def fork(machine: Machine, parent: Task, name: str, pid: int = 0) -> Task:
    """A child of *parent* with the number *pid*, or the next one. Mirrors copy_process().

    Raises KernelError ENOMEM where a pinned page cannot be copied; *parent* may be gone then, if
    it was killed for memory.
    """
    delay = machine.numa_knobs.scan_delay_ms
    child = replaced(
        parent,
        numa=NumaTask(delay),
        numa_faults={},
        pid=pid or machine.take_pid(),
        name=name,
        parent=machine.process_of(parent).name,
        thread_of=0,
    )
    dup_mmap(machine, parent, child)
    machine.tasks[child.pid] = child
    return child


def dup_mmap(machine: Machine, parent: Task, child: Task) -> None:
    """Give *child* a copy of *parent*'s memory. Mirrors dup_mm() and dup_mmap().

    Only VMAs that have an anon_vma bring their entries; the others are faulted in anew.

    Raises KernelError ENOMEM as fork() does; *child* has no memory then.
    """
    mm = Mm(machine.new_id(), parent.mm.family, brk=parent.mm.brk)
    mm.ancestors = (*parent.mm.ancestors, parent.mm.mm_id)
    mm.start_stack, mm.has_moved = parent.mm.start_stack, parent.mm.has_moved
    mm.numa = NumaMm(machine.now + machine.numa_knobs.scan_delay_ms)
    machine.add_mm(mm)
    vmas, child.mm = parent.mm.vmas, mm
    for vma in vmas:
        if vma.flags & Vm.DONTCOPY:
            continue
        copy = vma.part(vma.start, vma.end)
        copy.flags &= ~Vm.LOCKED_MASK
        copy.is_resv_owner = copy.has_lost_page = False
        mm.add(copy)
        if vma.anon_vma:
            copy.anon_vma, copy.anon_chained = machine.new_id(), True
            if not _copy_pages(machine, parent, child, vma, copy):
                free_mm(machine, child)
                raise KernelError("ENOMEM", "there is no memory for a copy of a pinned page")


def clone(machine: Machine, task: Task, name: str, pid: int = 0) -> Task:
    """Another thread of *task*'s process, to be called *name*, with *task*'s policy and CPUs.

    It has the number *pid*, or the next one. It keeps *task*'s preferred node, but scans are
    staggered. Mirrors copy_process() with CLONE_THREAD, and init_numa_balancing().
    """
    numa = NumaTask(
        machine.numa_knobs.scan_delay_ms,
        stamp=2 * TICK,
        preferred=task.numa.preferred,
        seq=task.mm.numa.seq,
    )
    thread = replaced(
        task,
        pid=pid or machine.take_pid(),
        name=name,
        numa=numa,
        numa_faults={},
        accesses=[],
        thread_of=task.tgid,
    )
    machine.tasks[thread.pid] = thread
    return thread


def _copy_pages(machine: Machine, parent: Task, child: Task, vma: Vma, copy: Vma) -> bool:
    """Map the pages of *vma* in the child too, write-protected on both sides.

    Anonymous pages that are pinned and exclusive are copied, for the pin must keep its page; a
    huge entry is split for that. False if there is no memory for it. Mirrors copy_present_ptes(),
    copy_huge_pmd() and copy_hugetlb_page_range().
    """
    _split_pinned_pmds(machine, parent, vma)
    tables = parent.mm.tables.between(vma.start, vma.end)
    child.mm.note_tables((extent.start, extent.start + extent.nr) for extent in tables)
    edits = FrameEdits(machine)
    ours: list[PteRun] = []
    theirs: list[PteRun] = []
    pinned: list[PteRun] = []
    huge: list[Extent] = []
    for run in _copy_merged(machine, parent, child, vma):
        if not run.lanes:
            theirs.append(run.with_flags(run.flags & ~Pte.YOUNG))
            continue
        if run.order:
            young = run.flags & Pte.YOUNG if vma.flags & Vm.HUGETLB else 0
            for piece in _unpinned(machine, run, pinned):
                huge += extents_of(piece)
                ours.append(piece.with_flags(run.flags & _ON_COPY))
                theirs.append(piece.with_flags(run.flags & _ON_COPY & ~Pte.YOUNG | young))
            continue
        for part, found in uniform_parts(machine, run):
            if run.flags & Pte.EXCLUSIVE and _has_pins(machine, part, found):
                copied, shared = _split_pinned(machine, part, found)
                pinned += copied
            else:
                shared = [(part, found)]
            for piece, states in shared:
                flags = piece.flags & _ON_COPY
                ours.append(piece.with_flags(flags))
                theirs.append(piece.with_flags(flags & ~Pte.YOUNG))
                for lane_run, frame in _lanes(piece, states):
                    edits.set(lane_run, frame.mapped(1))
    edits.commit()
    update_frames(machine, huge, lambda frame: frame.pmd_mapped(1))
    parent.mm.page_table.edit([(run.start, run.end, (run,)) for run in ours])
    child.mm.page_table.edit([(run.start, run.end, (run,)) for run in theirs])
    return all(_copy_pinned(machine, parent, child, copy, run) for run in pinned)


def _copy_merged(machine: Machine, parent: Task, child: Task, vma: Vma) -> list[PteRun]:
    """Map the merged pages of *vma* in the child too; give the entries of all others."""
    runs = parent.mm.page_table.between(vma.start, vma.end)
    merged = [run for run in runs if run.flags & Pte.KSM]
    if not merged:
        return runs
    theirs = [run.with_flags(run.flags & ~Pte.YOUNG) for run in merged]
    child.mm.page_table.edit([(run.start, run.end, (run,)) for run in theirs])
    for pfn, times in Counter([pfn for run in merged for pfn in run.pfns()]).items():
        update_folio(machine, pfn, partial(Frame.mapped, times=times))
    return [run for run in runs if not run.flags & Pte.KSM]


def _unpinned(machine: Machine, run: PteRun, pinned: list[PteRun]) -> list[PteRun]:
    """The huge entries of *run* but those of pinned hugetlb pages, which go to *pinned*."""
    if not run.flags & Pte.EXCLUSIVE or not any(pin.is_long for pin in machine.pins):
        return [run]
    entries = list(run.entries())
    held = [entry for entry in entries if folio_of(machine, entry.lanes[0]).pins]
    pinned += held
    return [entry for entry in entries if entry not in held] if held else [run]


def _copy_pinned(machine: Machine, parent: Task, child: Task, copy: Vma, run: PteRun) -> bool:
    """Give the child copies of pinned pages; False if there is no memory, even by killing."""
    vmf = VmFault(machine, child, copy)
    if run.order:
        space = machine.spaces[copy.space]
        return hugetlb_fault(vmf, space, run.start)
    try:
        map_anon(vmf, run.start, run.end, take=alloc_run)
    except Fault:
        return False
    return parent.pid in machine.tasks


def _split_pinned_pmds(machine: Machine, parent: Task, vma: Vma) -> None:
    """Split the huge entries of *vma* whose folios are pinned."""
    if not any(pin.is_long for pin in machine.pins):
        return
    for run in parent.mm.page_table.between(vma.start, vma.end):
        if run.order and run.lanes and run.flags & Pte.EXCLUSIVE and not vma.flags & Vm.HUGETLB:
            for entry in run.entries():
                if folio_of(machine, entry.lanes[0]).pins:
                    split_huge_pmds(machine, parent.mm, entry.start, entry.end)


def _has_pins(machine: Machine, part: PteRun, states: States) -> bool:
    """Whether some page of *part*, or of its folios, is pinned."""
    if not states.first.order:
        return any(frame.pins for frame in states.distinct)
    return any(_is_pinned(machine, pfn, states.first) for pfn in part.pfns())


def _is_pinned(machine: Machine, pfn: int, frame: Frame) -> bool:
    """Mirrors folio_maybe_dma_pinned()."""
    return bool(frame.pins or (frame.order and folio_of(machine, pfn).pins))


def _split_pinned(
    machine: Machine, part: PteRun, states: States
) -> tuple[list[PteRun], list[tuple[PteRun, States]]]:
    """The entries of *part* whose folios are pinned, and the others, one by one."""
    copied: list[PteRun] = []
    shared: list[tuple[PteRun, States]] = []
    for page, frame in zip(part.entries(), cycle(states.each), strict=False):
        if _is_pinned(machine, page.lanes[0], frame):
            copied.append(page)
        else:
            shared.append((page, States.same(frame)))
    return copied, shared


def _lanes(run: PteRun, states: States) -> list[tuple[list[Extent], Frame]]:
    """The extents of *run* with their frames."""
    if states.is_alike:
        return [(extents_of(run), states.first)]
    return [([extent], frame) for extent, frame in zip(run.extents(), states.each, strict=True)]
