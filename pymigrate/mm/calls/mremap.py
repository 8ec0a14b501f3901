"""Memory that goes to other addresses, with its policy and its pages. Mirrors mm/mremap.c."""

from __future__ import annotations

from pymigrate.errors import KernelError
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.calls.ksm import unmerge
from pymigrate.mm.spaces.anon_pages import Fault
from pymigrate.mm.spaces.huge_memory import split_huge_pmd_at, split_huge_pmds
from pymigrate.mm.spaces.hugetlb_pool import check_split
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.units import HPAGE_PMD_NR, huge_ceil, huge_floor


def move_vma(machine: Machine, task: Task, vma: Vma, old: Extent, new: Extent) -> None:
    """Map at *new*, where nothing is, what *vma* maps at *old*; all that is there goes along.

    What was mapped at *old* stays mapped, and empty, for the caller to unmap. Merged pages are
    copied first. Raises KernelError EINVAL for a cut inside a huge page of the pools; ENOMEM when
    memory runs out. Mirrors move_vma().
    """
    a, b = old.start, old.start + old.nr
    check_split(vma, a)
    check_split(vma, b)
    if vma.flags & Vm.MERGEABLE and vma.anon_vma:
        try:
            unmerge(machine, task, vma, a, b)
        except Fault as fault:
            raise KernelError("ENOMEM", f"no memory for a copy of {fault.page:#x}") from None
    copy_vma(machine, task.mm, vma, a, new)
    move_page_tables(machine, task.mm, vma, old, new.start)
    if vma.flags & Vm.HUGETLB and not vma.is_shared:
        # What was reserved belongs to the new mapping alone, also that of what stays behind.
        parts = task.mm.resv.between(a, b)
        task.mm.resv.put(vma.start, vma.end)
        task.mm.resv.edit(
            [
                (part.start + new.start - a, part.start + part.nr + new.start - a, (moved,))
                for part in parts
                for moved in (Extent(part.start + new.start - a, part.nr),)
            ]
        )
        vma.is_resv_owner = False


def copy_vma(machine: Machine, mm: Mm, vma: Vma, a: int, new: Extent) -> Vma:
    """A mapping at *new* that is like *vma* from page *a* on, merged with what is next to it.

    Where memory was not touched yet, its place in what is mapped becomes that of its new address.
    Mirrors copy_vma().
    """
    copy = vma.part(a, a + new.nr)
    copy.start, copy.end = new.start, new.start + new.nr
    if vma.anon_vma:
        copy.moved += new.start - a
        mm.has_moved = True
    else:
        copy.moved = 0
        if vma.is_anonymous:
            copy.pgoff = copy.start
    return mm.insert(machine.release, copy)


def move_page_tables(machine: Machine, mm: Mm, vma: Vma, old: Extent, to: int) -> None:
    """Let what is mapped at *old* be mapped from page *to* on.

    A huge entry goes as it is if it can lie there; else it is split. Page tables go whole where
    both places are aligned; else new ones are made, and the old ones stay. Mirrors
    move_page_tables().
    """
    a, b, shift = old.start, old.start + old.nr, to - old.start
    if a == b:
        return
    is_aligned = not shift % HPAGE_PMD_NR
    if vma.flags & Vm.HUGETLB or is_aligned:
        split_huge_pmd_at(machine, mm, a)
        split_huge_pmd_at(machine, mm, b)
    else:
        split_huge_pmds(machine, mm, a, b)
    runs = mm.page_table.between(a, b)
    tables = [(run.start, run.end) for run in runs if not run.order]
    tables += [(max(a, e.start), min(b, e.start + e.nr)) for e in mm.tables.between(a, b)]
    mm.page_table.put(a, b)
    moved = [run.moved(run.start + shift) for run in runs]
    mm.page_table.edit([(run.start, run.end, (run,)) for run in moved])
    mm.note_tables((low + shift, high + shift) for low, high in sorted(tables))
    mm.note_tables(sorted(tables))
    if is_aligned and huge_ceil(a) < huge_floor(b):
        mm.tables.put(huge_ceil(a), huge_floor(b))
