"""Faults of transparent huge pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.mm.base.gfp import Gfp, thp_fault
from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.frames.frames import new_frames, update_frames
from pymigrate.mm.frames.page_alloc import freed_on_error
from pymigrate.mm.frames.placement import Placement, Prefer, ThisNode, Within, placement
from pymigrate.mm.reclaim.direct_alloc import alloc_large_run
from pymigrate.mm.spaces.anon_pages import anon_page_state
from pymigrate.mm.state.vma import Vm
from pymigrate.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER, huge_ceil, huge_floor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymigrate.mm.state.machine import Machine
    from pymigrate.mm.state.mm import Mm
    from pymigrate.mm.state.policy import Mempolicy
    from pymigrate.mm.state.task import Task
    from pymigrate.mm.state.vma import Vma


def is_thp_allowed(machine: Machine, vma: Vma) -> bool:
    """Whether faults in *vma* may map huge pages. Mirrors thp_vma_allowable_order()."""
    if vma.space or vma.flags & (Vm.NOHUGEPAGE | Vm.SPECIAL):
        return False
    if machine.thp == "madvise":
        return bool(vma.flags & Vm.HUGEPAGE)
    return machine.thp == "always"


def may_compact(machine: Machine, vma: Vma) -> bool:
    """Whether a fault in *vma* that finds no huge page has some made free, by whomever."""
    gfp = thp_fault(machine.defrag, bool(vma.flags & Vm.HUGEPAGE))
    return bool(gfp & (Gfp.DIRECT_RECLAIM | Gfp.KSWAPD_RECLAIM))


def huge_parts(
    machine: Machine, mm: Mm, vma: Vma, a: int, b: int
) -> Iterator[tuple[int, int, bool]]:
    """Absent pages [a, b) of *vma* in parts: start, end, and whether faults there map huge pages.

    They do where a whole block lies in the VMA and has no page table yet.
    """
    if not is_thp_allowed(machine, vma):
        yield a, b, False
        return
    first = max(huge_floor(a), huge_ceil(vma.start))
    last = min(huge_ceil(b), huge_floor(vma.end))
    table = mm.page_table
    if first < a and first < last and table.between(first, a):
        first += HPAGE_PMD_NR
    if last > b and first < last and table.between(b, last):
        last -= HPAGE_PMD_NR
    if first >= last:
        yield a, b, False
        return
    if a < first:
        yield a, first, False
    for low, high, run in mm.tables.spans(first, last):
        yield max(low, a), min(high, b), run is None
    if last < b:
        yield last, b, False


def map_huge(
    machine: Machine, task: Task, vma: Vma, policy: Mempolicy | None, a: int, b: int, zeroed: bool
) -> int:
    """New huge pages for absent pages from *a* on, up to *b*; return the first page without one.

    Nobody stores into what they hold outside [a, b), nor anywhere if *zeroed*. Mirrors
    __do_huge_pmd_anonymous_page() and vma_alloc_folio().
    """
    low, high = huge_floor(a), huge_ceil(b)
    gfp = thp_fault(machine.defrag, bool(vma.flags & Vm.HUGEPAGE))
    where = placement(machine, task, policy, vma.turn(low, HPAGE_PMD_ORDER))
    flags, frame = anon_page_state(task, vma, HPAGE_PMD_ORDER, zeroed)
    wanted = PteRun(low, high - low, (), HPAGE_PMD_ORDER, flags)
    runs = _alloc_huge(machine, task, where, wanted, gfp)
    if not runs:
        return a
    end = runs[-1].end
    new_frames(machine, runs, frame)
    task.mm.page_table.edit([(run.start, run.end, (run,)) for run in runs])
    for start, stop in ((low, a), (min(b, end), end)):
        if start < stop and not zeroed:
            _set_zeroed(machine, task.mm, start, stop)
    machine.counters.add("thp_fault_alloc", (end - low) >> HPAGE_PMD_ORDER)
    return min(b, end)


def _alloc_huge(
    machine: Machine, task: Task, where: Placement, wanted: PteRun, gfp: Gfp
) -> list[PteRun]:
    """Frames for the huge pages *wanted*, or for the first of them.

    Without interleaving the node that the policy prefers is asked alone; only if the allocation
    may reclaim the others are asked behind it. Mirrors alloc_pages_mpol().
    """
    if not (isinstance(where, Prefer) or (isinstance(where, Within) and where.nid in where.nodes)):
        return alloc_large_run(machine, task, where, wanted, gfp)
    alone = ThisNode(where.nid)
    runs: list[PteRun] = []
    at = wanted.start
    while at < wanted.end:
        with freed_on_error(machine, (run.extents() for run in runs)):
            rest = wanted.clip(at, wanted.end)
            runs += alloc_large_run(machine, task, alone, rest, gfp | Gfp.NORETRY)
            at = runs[-1].end if runs else at
            if at == wanted.end or not gfp & Gfp.DIRECT_RECLAIM:
                break
            one = wanted.clip(at, at + HPAGE_PMD_NR)
            others = alloc_large_run(machine, task, where, one, gfp)
        if not others:
            break
        runs += others
        at += HPAGE_PMD_NR
    return runs


def map_huge_zero(machine: Machine, mm: Mm, a: int, b: int) -> None:
    """Map the huge zero page at the blocks that meet [a, b)."""
    low, high = huge_floor(a), huge_ceil(b)
    if not machine.counters["thp_zero_page_alloc"]:
        machine.counters.add("thp_zero_page_alloc")
    flags = Pte.PRESENT | Pte.YOUNG
    mm.page_table.put(low, high, PteRun(low, high - low, (), HPAGE_PMD_ORDER, flags))


def _set_zeroed(machine: Machine, mm: Mm, a: int, b: int) -> None:
    """Note that nobody has stored into pages [a, b), which lie in one huge entry."""
    run = mm.page_table.at(a)
    assert run is not None
    extent = (run.pfn(a), b - a)
    update_frames(machine, [extent], lambda frame: frame.with_flags(FrameFlag.ZEROED))
