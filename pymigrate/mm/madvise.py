"""Advice that changes pages: MADV_FREE and MADV_PAGEOUT. Mirrors mm/madvise.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.mm.frames import extents_of, frame_of, update_frames
from pymigrate.mm.memmap import FrameFlag
from pymigrate.mm.memory import zap
from pymigrate.mm.pte import Pte

if TYPE_CHECKING:
    from pymigrate.mm.machine import Machine, Task
    from pymigrate.mm.memmap import Frame
    from pymigrate.mm.vma import Vma


def madvise_free(machine: Machine, task: Task, a: int, b: int) -> None:
    """Let the kernel take back anonymous pages [a, b) until they are written again.

    A page whose folio is dirty and shared stays as it is. Mirrors madvise_free_pte_range().
    """
    table = task.mm.page_table

    def lazyfree(frame: Frame) -> Frame:
        return frame.without_flags(FrameFlag.DIRTY | FrameFlag.SWAPBACKED)

    for run in table.between(a, b):
        if not run.lanes:
            continue
        for page in run.tables():
            for i, pfn in enumerate(page.lanes):
                frame = frame_of(machine, pfn)
                if frame.flags & FrameFlag.DIRTY and frame.mapcount != 1:
                    continue
                entry = page.clip(page.start + i, page.start + i + 1)
                flags = entry.flags & ~(Pte.DIRTY | Pte.YOUNG)
                table.put(entry.start, entry.end, entry.with_flags(flags))
                update_frames(machine, [(pfn, 1)], lazyfree)


def pageout(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> None:
    """Reclaim pages [a, b) of *vma* that only one entry maps.

    There is no swap, so anonymous memory stays unless it is lazily freed and clean. Pages of
    disk files are unmapped, and dropped where they are clean. Mirrors
    madvise_cold_or_pageout_pte_range() and shrink_folio_list().
    """
    for run in task.mm.page_table.between(a, b):
        if not run.lanes:
            continue
        for entry in (run.clip(page, page + 1) for page in range(run.start, run.end)):
            pfn = entry.lanes[0]
            frame = frame_of(machine, pfn)
            if frame.mapcount != 1 or frame.is_held or frame.flags & FrameFlag.SWAPBACKED:
                continue
            dirty = bool(entry.flags & Pte.DIRTY or frame.flags & FrameFlag.DIRTY)
            if frame.is_anon and dirty:
                continue
            zap(machine, task, vma, entry.start, entry.end, keep_tables=True)
            if not frame.is_anon and not dirty:
                space = machine.spaces[frame.owner]
                index = vma.index(entry.start)
                space.pages.put(index, index + 1)
                update_frames(machine, extents_of(entry), lambda _: None)
