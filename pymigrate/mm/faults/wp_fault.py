"""Stores into base pages that are mapped read-only: they are used again, or copied.

Mirrors do_wp_page() and what it calls, mm/memory.c.
"""

from __future__ import annotations

from pymigrate.mm.base.memmap import Frame, FrameFlag
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.faults import filemap
from pymigrate.mm.faults.anon_fault import STORED, VmFault, counted, map_anon
from pymigrate.mm.frames.frames import alike_parts, extents_between, extents_of, update_frames
from pymigrate.mm.frames.lru_batches import in_batches, lru_add_drain
from pymigrate.mm.frames.page_alloc import alloc_run
from pymigrate.mm.spaces.anon_pages import Fault
from pymigrate.mm.spaces.rmap import anon_vma_prepare, remove_rmap
from pymigrate.mm.state.machine import Machine


def do_wp_page(vmf: VmFault, run: PteRun) -> None:
    """Let the task write to the pages of *run*, or to copies. Raises Fault SIGKILL."""
    if vmf.vma.is_shared:
        vmf.touch(run)
        filemap.dirty_frames(vmf.machine, [run])
        return
    if run.flags & Pte.EXCLUSIVE:
        _wp_page_reuse(vmf, run)
        return
    anon_vma_prepare(vmf.machine, vmf.task, vmf.vma)
    for piece, frame in alike_parts(vmf.machine, run):
        if frame.is_anon and _can_reuse_anon(vmf, piece, frame):
            _wp_page_reuse(vmf, piece)
            continue
        zeroed = bool(frame.flags & FrameFlag.ZEROED) and not vmf.is_store
        if frame.flags & FrameFlag.KSM:
            with counted(vmf.machine, piece.start, piece.end, "cow_ksm"):
                wp_page_copy(vmf, piece, zeroed)
        else:
            wp_page_copy(vmf, piece, zeroed)


def wp_page_copy(vmf: VmFault, run: PteRun, zeroed: bool) -> None:
    """Give the task private copies in place of the pages of *run*, as if it had stored into them.

    They hold something unless *zeroed*. Room was made before: nothing is reclaimed while the pages
    are being copied.

    Raises Fault SIGKILL. Mirrors wp_page_copy().
    """
    end = run.end
    try:
        map_anon(vmf, run.start, run.end, zeroed, alloc_run)
    except Fault as fault:
        end = fault.page  # the end of the task has unmapped the others
        raise
    finally:
        if run.start < end:
            gone = run.clip(run.start, end).with_flags(run.flags & Pte.KSM)
            remove_rmap(vmf.machine, [gone])


def stored(machine: Machine, run: PteRun, a: int, b: int) -> None:
    """Note that something was stored into pages [a, b) of *run*."""
    extents = extents_between(run, a, b)
    update_frames(machine, extents, lambda frame: frame.without_flags(FrameFlag.ZEROED))


def _wp_page_reuse(vmf: VmFault, run: PteRun) -> None:
    """Let the task write to pages that nobody else has. Mirrors wp_page_reuse()."""
    vmf.table.put(run.start, run.end, run.with_flags(run.flags | STORED | Pte.EXCLUSIVE))
    if vmf.is_store:
        stored(vmf.machine, run, run.start, run.end)


def _can_reuse_anon(vmf: VmFault, run: PteRun, frame: Frame) -> bool:
    """Whether the only holder of anonymous pages is this entry.

    Mirrors wp_can_reuse_anon_folio(): where few have a page, and one that has it may be a batch
    for the LRU lists, this CPU's batch is emptied first; a page that waits on another CPU is held.
    """
    machine = vmf.machine
    if frame.order or frame.mapcount > 2 or frame.is_held or frame.flags & FrameFlag.KSM:
        return False
    if _waits(machine, run):
        lru_add_drain(machine, vmf.task.cpu)
    if frame.mapcount > 1 or _waits(machine, run):
        return False
    if frame.flags & FrameFlag.SWAPCACHE:  # its place in swap is given up: folio_free_swap()
        gone = FrameFlag.SWAPCACHE
        update_frames(machine, extents_of(run), lambda f: f.without_flags(gone))
    return True


def _waits(machine: Machine, run: PteRun) -> bool:
    """Whether a page of *run* waits in some CPU's batch."""
    waiting = in_batches(machine)
    extents = extents_of(run) if waiting else []
    return any(start <= pfn < start + nr for start, nr in extents for pfn in waiting)
