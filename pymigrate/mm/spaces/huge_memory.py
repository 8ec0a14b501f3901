"""Huge entries and large folios: where they may be, and how they are split.

Mirrors what of mm/huge_memory.c knows no faults.
"""

from __future__ import annotations

from collections.abc import Callable

from pymigrate.mm.base.memmap import POISON_FRAME, Folio, Frame, FrameFlag
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.frames.frames import FrameEdits, extents_of, folio_of, update_frames
from pymigrate.mm.frames.mlock import mlock_folios, munlock_folios
from pymigrate.mm.spaces.hugetlb_pool import check_split
from pymigrate.mm.spaces.rmap import mappings
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.trace import REMOVE, SET, entry_events
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
        if machine.release.split_pmd_munlocks:
            munlock_folios(machine, extents_of(part))


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


# The entry of a bad anonymous page. Mirrors make_hwpoison_entry().
POISONED_ANON = Pte.HWPOISON | Pte.ANON | Pte.DIRTY

_OF_LARGE = FrameFlag.PARTIALLY_MAPPED | FrameFlag.QUEUED | FrameFlag.MLOCKED


def split_folio(machine: Machine, folio: Folio, page: int) -> bool:
    """Make base pages of an anonymous folio whose first page is *page*, as rmap.mappings() counts.

    False, and counted as failed, if somebody holds it (or just False if it is locked). Pages that
    nobody has stored anything into become the zero page, unless they are mlocked. Pages that
    nothing maps then stay in use, for the caller to free.

    Mirrors split_huge_page_to_list_to_order().
    """
    if folio.flags & FrameFlag.LOCKED:
        return False
    if folio.is_held or folio.flags & FrameFlag.WRITEBACK:
        machine.counters.add("thp_split_page_failed")
        return False
    machine.counters.add("thp_split_page")
    found = mappings(machine, folio.frame, page, page + folio.nr)
    places = {(m.mm.mm_id, m.shift): (m.mm, page + m.shift) for m in found if m.mm}.values()
    for mm, at in places:
        entry_events(machine, SET, mm, _entries(mm, folio, at, is_huge=False), folio)
        if _entries(mm, folio, at, is_huge=True):
            split_huge_pmds(machine, mm, at, at + folio.nr)
    edits = FrameEdits(machine)
    for run in folio_of(machine, folio.pfn).runs:
        frame = run.frame.without_flags(_OF_LARGE)
        edits.set([(run.start, run.nr)], frame._replace(order=0))
    edits.commit()
    for mm, at in places:
        _remap(machine, mm, folio, at)
    return True


def split_huge_page(machine: Machine, folio: Folio, page: int) -> bool:
    """Split *folio* as split_folio() does, and free those of its pages that nobody has."""
    if not split_folio(machine, folio, page):
        return False
    free_unmapped(machine, folio)
    return True


def free_unmapped(machine: Machine, folio: Folio) -> None:
    """Free the base pages of what was *folio* that nobody holds, and that are in use at all."""

    def change(frame: Frame) -> Frame | None:
        is_kept = frame.mapcount or frame.is_held or frame == POISON_FRAME
        return frame if is_kept else None

    update_frames(machine, [(folio.pfn, folio.nr)], change)


def _entries(mm: Mm, folio: Folio, page: int, is_huge: bool) -> list[PteRun]:
    """The entries of *mm* that map *folio*, or pages of it, whose first page is at *page*."""
    return [
        part
        for run in mm.page_table.between(page, page + folio.nr)
        if bool(run.order) == is_huge
        for part in ([run] if len(run.lanes) < 2 else run.entries())
        if part.lanes and part.lanes[0] - folio.pfn == part.start - page
    ]


def _remap(machine: Machine, mm: Mm, folio: Folio, page: int) -> None:
    """Let the entries of *mm* fit the split folio. Mirrors remove_migration_pte()."""
    shift = page - folio.pfn
    for run in _entries(mm, folio, page, is_huge=False):
        memmap = machine.memmap_of(folio.pfn)
        for part in memmap.between(run.lanes[0], run.pfn(run.end - 1) + 1):
            is_zeroed = part.frame.flags & FrameFlag.ZEROED and machine.release.split_drops_zeroed
            for vma, start, end in mm.parts(part.start + shift, part.start + part.nr + shift):
                locked = part.frame.flags & FrameFlag.MLOCKED or vma.flags & Vm.LOCKED
                extent = Extent(start - shift, end - start)
                is_bad = part.frame.flags & FrameFlag.HWPOISON  # there is no way back to it
                if is_bad or (is_zeroed and not locked):
                    flags = POISONED_ANON if is_bad else Pte.PRESENT
                    mm.page_table.put(start, end, PteRun(start, end - start, (), 0, flags))
                    update_frames(machine, [extent], lambda frame: frame.mapped(-1))
                    continue
                part_folio = folio._replace(order=0)
                entry_events(machine, REMOVE, mm, [run.clip(start, end)], part_folio)
                if vma.flags & Vm.LOCKED:
                    mlock_folios(machine, [extent])
