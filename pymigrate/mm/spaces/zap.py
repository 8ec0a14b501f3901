"""Pages that are unmapped, and objects that nobody maps any more. Mirrors zap_page_range()."""

from __future__ import annotations

from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.frames.frames import extents_of, folio_of, update_frames
from pymigrate.mm.spaces.huge_memory import split_huge_pmd_at
from pymigrate.mm.spaces.hugetlb_pool import unreserve
from pymigrate.mm.spaces.rmap import remove_rmap
from pymigrate.mm.state.address_space import UNNAMED
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.units import HPAGE_PMD_NR


def zap(machine: Machine, task: Task, vma: Vma, a: int, b: int, keep_tables: bool = False) -> None:
    """Unmap pages [a, b) of *vma*; anonymous folios that nobody else holds are freed.

    *keep_tables*: the range stays mapped, so that its page tables remain. Mirrors
    zap_page_range_single(), zap_pte_range() and zap_huge_pmd().
    """
    for end in (a, b):
        split_huge_pmd_at(machine, task.mm, end)
    table = task.mm.page_table
    runs = table.between(a, b)
    if not runs:
        return
    table.put(a, b)
    if keep_tables:
        task.mm.note_tables((run.start, run.end) for run in runs if not run.order)
    remove_rmap(machine, runs, unlock=bool(vma.flags & Vm.LOCKED))


def drop_unmapped_shm(machine: Machine, space_ids: set[int]) -> None:
    """Free the objects of anonymous memory that nobody maps any more.

    Mirrors shmem_evict_inode() and hugetlbfs_evict_inode().
    """
    gone = {sid for sid in space_ids if sid and machine.spaces[sid].fs in UNNAMED}
    for mm in machine.mms.values():
        gone -= {vma.space for vma in mm.vmas}
    for sid in gone:
        space = machine.spaces.pop(sid)
        extents = [extent for run in space.pages.runs for extent in extents_of(run)]
        if space.is_hugetlb:
            update_frames(machine, extents, lambda frame: frame.without_flags(FrameFlag.DIRTY))
            pages = [p for start, nr in extents for p in range(start, start + nr, HPAGE_PMD_NR)]
            extents = [Extent(p, HPAGE_PMD_NR) for p in pages if not folio_of(machine, p).is_held]
        update_frames(machine, extents, lambda frame: None if not frame.is_held else frame)
        unreserve(machine, space.resv, 0, space.nr_pages)
