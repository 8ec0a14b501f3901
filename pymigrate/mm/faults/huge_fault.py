"""Faults of transparent huge pages. Mirrors mm/huge_memory.c."""

from __future__ import annotations

from collections.abc import Iterator

from pymigrate.mm.base.gfp import Gfp, thp_fault
from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.compact.direct import alloc_large_run
from pymigrate.mm.faults.anon_fault import VmFault, counted, map_anon
from pymigrate.mm.faults.wp_fault import stored
from pymigrate.mm.frames.frames import folio_of, new_frames, update_frames
from pymigrate.mm.frames.mlock import count_mlocked
from pymigrate.mm.frames.page_alloc import freed_on_error
from pymigrate.mm.frames.placement import Placement, Prefer, ThisNode, Within, placement
from pymigrate.mm.spaces.anon_pages import anon_page_state
from pymigrate.mm.spaces.huge_memory import is_thp_allowed, nr_blocks
from pymigrate.mm.spaces.rmap import anon_vma_prepare
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER, huge_ceil, huge_floor


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


def do_huge_pmd_anonymous_page(vmf: VmFault, a: int, b: int) -> int:
    """Huge pages for absent pages from *a* on, up to *b*; the first page that has none.

    To read, the huge zero page is mapped: get_huge_zero_folio() allocates it once, where the first
    task that needs it may.
    """
    anon_vma_prepare(vmf.machine, vmf.task, vmf.vma)
    if vmf.write:
        return _map_huge_or_small(vmf, a, b)
    machine, nr = vmf.machine, nr_blocks(a, b)
    if not machine.counters["thp_zero_page_alloc"]:
        if not vmf.task.mems_allowed & machine.normal_nodes:  # it cannot be moved
            machine.counters.add("thp_zero_page_alloc_failed", nr)
            machine.counters.add("thp_fault_fallback", nr)
            return a
        machine.counters.add("thp_zero_page_alloc")
    _map_huge_zero(vmf, a, b)
    vmf.count_faults(nr)
    return b


def do_huge_pmd_wp_page(vmf: VmFault, entry: PteRun, a: int, b: int) -> bool:
    """Let the task store into pages [a, b) of a huge entry; False if it has to be split."""
    machine = vmf.machine
    if not entry.lanes:
        if not machine.release.huge_zero_becomes_thp:
            return False
        vmf.table.put(entry.start, entry.end)
        if _map_huge_or_small(vmf, a, b) == b:
            return True
        vmf.table.put(entry.start, entry.end, entry)
        return False
    folio = folio_of(machine, entry.lanes[0])
    if not entry.flags & Pte.EXCLUSIVE and (folio.mapcount > 1 or folio.is_held):
        return False
    vmf.count_faults()
    vmf.touch(entry.with_flags(entry.flags | Pte.EXCLUSIVE))
    if vmf.is_store:
        stored(machine, entry, a, b)
    return True


def huge_entries(run: PteRun) -> Iterator[PteRun]:
    """The huge entries of *run*, of the zero page, too."""
    if run.lanes:
        yield from run.entries()
        return
    for start in range(run.start, run.end, HPAGE_PMD_NR):
        yield PteRun(start, HPAGE_PMD_NR, (), run.order, run.flags)


def _map_huge_or_small(vmf: VmFault, a: int, b: int) -> int:
    """Huge pages for [a, b) as long as there are any; the first page that has none.

    Where nodes take turns, or memory is compacted, base pages fill such a block; others are tried.
    """
    machine = vmf.machine
    policy = vmf.vma.policy or vmf.task.policy
    at = a
    while True:
        start, at = at, _map_huge(vmf, policy, at, b)
        vmf.count_faults(nr_blocks(start, at))
        if at == b or not (_may_compact(vmf) or (policy and policy.is_interleaving)):
            machine.counters.add("thp_fault_fallback", nr_blocks(at, b))
            return at
        machine.counters.add("thp_fault_fallback")
        end = min(huge_ceil(at + 1), b)
        with counted(machine, at, end):
            map_anon(vmf, at, end, zeroed=not vmf.is_store)
        at = end
        if at == b:
            return at


def _may_compact(vmf: VmFault) -> bool:
    """Whether a fault that finds no huge page has some made free, by whomever."""
    return bool(_gfp(vmf) & (Gfp.DIRECT_RECLAIM | Gfp.KSWAPD_RECLAIM))


def _gfp(vmf: VmFault) -> Gfp:
    return thp_fault(vmf.machine.defrag, bool(vmf.vma.flags & Vm.HUGEPAGE))


def _map_huge(vmf: VmFault, policy: Mempolicy | None, a: int, b: int) -> int:
    """New huge pages for absent pages from *a* on, up to *b*; return the first page without one.

    Nobody stores into what they hold outside [a, b), nor anywhere if nothing is stored. Mirrors
    __do_huge_pmd_anonymous_page() and vma_alloc_folio().
    """
    machine, task, vma = vmf.machine, vmf.task, vmf.vma
    low, high = huge_floor(a), huge_ceil(b)
    where = placement(machine, task, policy, vma.turn(low, HPAGE_PMD_ORDER))
    flags, frame = anon_page_state(task, vma, HPAGE_PMD_ORDER, zeroed=not vmf.is_store)
    wanted = PteRun(low, high - low, (), HPAGE_PMD_ORDER, flags)
    runs = _alloc_huge(machine, task, where, wanted, _gfp(vmf))
    if not runs:
        return a
    end = runs[-1].end
    new_frames(machine, runs, frame)
    vmf.table.edit([(run.start, run.end, (run,)) for run in runs])
    for start, stop in ((low, a), (min(b, end), end)):
        if start < stop and vmf.is_store:
            _set_zeroed(vmf, start, stop)
    machine.counters.add("thp_fault_alloc", (end - low) >> HPAGE_PMD_ORDER)
    if frame.flags & FrameFlag.MLOCKED:
        count_mlocked(machine, end - low)
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


def _map_huge_zero(vmf: VmFault, a: int, b: int) -> None:
    """Map the huge zero page at the blocks that meet [a, b). Mirrors set_huge_zero_folio()."""
    low, high = huge_floor(a), huge_ceil(b)
    flags = Pte.PRESENT | Pte.YOUNG
    vmf.table.put(low, high, PteRun(low, high - low, (), HPAGE_PMD_ORDER, flags))


def _set_zeroed(vmf: VmFault, a: int, b: int) -> None:
    """Note that nobody has stored into pages [a, b), which lie in one huge entry."""
    run = vmf.table.at(a)
    assert run is not None
    extent = (run.pfn(a), b - a)
    update_frames(vmf.machine, [extent], lambda frame: frame.with_flags(FrameFlag.ZEROED))
