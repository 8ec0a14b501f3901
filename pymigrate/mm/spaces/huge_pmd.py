"""Huge entries: where they may be, and where a VMA is cut through them."""

from __future__ import annotations

from collections.abc import Callable

from pymigrate.mm.base.memmap import Frame, FrameFlag
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.frames.frames import extents_of, update_frames
from pymigrate.mm.spaces.hugetlb_pool import check_split
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.units import HPAGE_PMD_NR, huge_ceil, huge_floor


def is_thp_allowed(machine: Machine, vma: Vma) -> bool:
    """Whether faults in *vma* may map huge pages. Mirrors thp_vma_allowable_order()."""
    if vma.space or vma.flags & (Vm.NOHUGEPAGE | Vm.SPECIAL):
        return False
    if machine.thp == "madvise":
        return bool(vma.flags & Vm.HUGEPAGE)
    return machine.thp == "always"


def nr_blocks(a: int, b: int) -> int:
    """How many huge pages' worth of pages [a, b) meets."""
    return (huge_ceil(b) - huge_floor(a)) // HPAGE_PMD_NR if a < b else 0


def split_huge_pmds(machine: Machine, mm: Mm, a: int, b: int) -> None:
    """Map what huge entries map in [a, b), and around its ends, page by page.

    Mirrors __split_huge_pmd(): a folio stays as it is.
    """
    for run in mm.page_table.between(a, b):
        if not run.order:
            continue
        low, high = max(run.start, huge_floor(a)), min(run.end, huge_ceil(b))
        machine.counters.add("thp_split_pmd", (high - low) >> run.order)
        if not run.lanes:
            mm.page_table.put(low, high, PteRun(low, high - low, (), 0, run.flags))
            continue
        part = run.clip(low, high)
        pages = [
            (
                page.start,
                page.end,
                (PteRun(page.start, page.nr, page.lanes, 0, run.flags & ~Pte.HINT),),
            )
            for page in part.entries()
        ]
        mm.page_table.edit(pages)
        update_frames(machine, extents_of(part), _SPLIT[bool(run.flags & Pte.DIRTY)])


def split_huge_pmd_at(machine: Machine, mm: Mm, page: int) -> None:
    """Let no huge entry reach across *page*. Mirrors split_huge_pmd_if_needed()."""
    run = mm.page_table.at(page) if page % HPAGE_PMD_NR else None
    if run is not None and run.order:
        split_huge_pmds(machine, mm, page, page + 1)


# What becomes of the frames that a huge entry maps, clean or dirty, when it is split.
_SPLIT: dict[bool, Callable[[Frame], Frame]] = {
    False: lambda frame: frame.mapped(1).pmd_mapped(-1),
    True: lambda frame: frame.mapped(1).pmd_mapped(-1).with_flags(FrameFlag.DIRTY),
}


def prepare_split(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> Vma:
    """Let *vma* be fit to be cut before pages *a* and *b*; return the part that has *a*.

    A huge entry that reaches across is split: vma_adjust_trans_huge(). Raises KernelError EINVAL
    for a cut inside a page of the hugetlb pools, with a good first cut made: vma_modify().
    """
    if vma.flags & Vm.HUGETLB:
        check_split(vma, a)
        if vma.start < a and b % HPAGE_PMD_NR:
            vma = task.mm.split(vma, a)
        check_split(vma, b)
        return vma
    for end in (a, b):
        split_huge_pmd_at(machine, task.mm, end)
    return vma
