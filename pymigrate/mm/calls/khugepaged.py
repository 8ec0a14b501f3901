"""Base pages that become a huge page on demand: MADV_COLLAPSE. Mirrors mm/khugepaged.c."""

from __future__ import annotations

from collections import Counter

from pymigrate.errors import KernelError
from pymigrate.mm.base.gfp import TRANSHUGE
from pymigrate.mm.base.memmap import FrameFlag, nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.compact.direct import alloc_large_folio
from pymigrate.mm.faults.migrate_device import migrate_from_device
from pymigrate.mm.frames.frames import folio_of, frame_of, new_frames, update_frames
from pymigrate.mm.frames.page_alloc import free_pages
from pymigrate.mm.frames.placement import Within
from pymigrate.mm.spaces.anon_pages import anon_page_state
from pymigrate.mm.spaces.rmap import remove_rmap
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vma
from pymigrate.nodemask import Nodemask
from pymigrate.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER, huge_ceil, huge_floor

_PMD_TABLE = HPAGE_PMD_NR * HPAGE_PMD_NR  # base pages


class ScanError(Exception):
    """Why a block cannot be collapsed, and whether the call ends with it."""

    def __init__(self, errno: str, why: str, ends: bool = False) -> None:
        super().__init__(why)
        self.errno, self.why, self.ends = errno, why, ends


def madvise_collapse(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> None:
    """Make huge pages of the whole blocks in [a, b), which lies in the anonymous *vma*.

    Raises KernelError with those that could be made left made: ENOMEM without a huge page, EAGAIN
    for a page that somebody holds, EINVAL for a block without a writable page.
    """
    if huge_ceil(a) > huge_floor(b):  # in the middle of a block: less than none of them
        raise KernelError("EINVAL", "the range lies within a block")
    error: ScanError | None = None
    for block in range(huge_ceil(a), huge_floor(b), HPAGE_PMD_NR):
        try:
            _collapse(machine, task, vma, block)
        except ScanError as failure:
            error = failure
            if error.ends:
                break
    if error:
        raise KernelError(error.errno, error.why)


def _collapse(machine: Machine, task: Task, vma: Vma, block: int) -> None:
    """Mirrors hpage_collapse_scan_pmd() and collapse_huge_page()."""
    end = block + HPAGE_PMD_NR
    runs = task.mm.page_table.between(block, end)
    if runs and runs[0].order:
        return
    if not runs and task.mm.tables.at(block) is None:
        ends = not machine.release.collapse_passes_gaps and _has_pmd_table(task.mm, block)
        raise ScanError("EINVAL", "nothing is mapped in a block", ends)
    load = _load(machine, [run for run in runs if run.flags & Pte.PRESENT])
    for run in runs:  # as __collapse_huge_page_swapin() does, what is on a device comes back
        is_away = run.flags & Pte.DEVICE
        if is_away and migrate_from_device(machine, task, run.start, run.end).migrated < run.nr:
            raise ScanError("EINVAL", "there is no memory for a page that is on a device")
    pfn = _alloc(machine, task, load)
    if any(run.flags & Pte.HWPOISON for run in runs):
        free_pages(machine, [(pfn, HPAGE_PMD_NR)])
        raise ScanError("EINVAL", "a page of a block is bad", ends=True)
    runs = task.mm.page_table.between(block, end)  # not before: memory may have been compacted
    zeroed = _zeroed(machine, task, block)
    task.mm.page_table.put(block, end)
    remove_rmap(machine, runs)
    task.mm.tables.put(block, end)
    _map(machine, task, vma, block, pfn)
    for start, stop in zeroed:
        extent = [(pfn + start - block, stop - start)]
        update_frames(machine, extent, lambda frame: frame.with_flags(FrameFlag.ZEROED))


def _has_pmd_table(mm: Mm, block: int) -> bool:
    """Whether something in the GiB of *block* is mapped: then its PMD is none (SCAN_PMD_NONE).

    Else there is no PMD (SCAN_PMD_NULL). Mirrors find_pmd_or_thp_or_none().
    """
    start = block // _PMD_TABLE * _PMD_TABLE
    end = start + _PMD_TABLE
    return bool(mm.page_table.between(start, end) or mm.tables.between(start, end))


def _load(machine: Machine, present: list[PteRun]) -> Counter[int]:
    """How many pages of a block lie on each node, if it can be collapsed."""
    load: Counter[int] = Counter()
    for run in present:
        for pfn in run.pfns() if run.lanes else ():
            folio = folio_of(machine, pfn)
            if not folio.is_anon:
                raise ScanError("EINVAL", "a page of a block belongs to a file", ends=True)
            if folio.is_held:
                raise ScanError("EAGAIN", "somebody holds a page of a block")
            load[nid_of(pfn)] += 1
    if not any(run.flags & Pte.WRITE for run in present):
        raise ScanError("EINVAL", "no page of a block can be written")
    return load


def _alloc(machine: Machine, task: Task, load: Counter[int]) -> int:
    """A huge page on the node that most pages lie on. Mirrors alloc_charge_folio()."""
    most = max(load.values())
    nodes = sorted(nid for nid, nr in load.items() if nr == most)
    where = Within(nodes[0], Nodemask.collect(nodes))
    pfn = alloc_large_folio(machine, task, where, HPAGE_PMD_ORDER, TRANSHUGE)
    if pfn is None:
        machine.counters.add("thp_collapse_alloc_failed")
        raise ScanError("ENOMEM", f"node {nodes[0]} has no huge page", ends=True)
    machine.counters.add("thp_collapse_alloc")
    return pfn


def _zeroed(machine: Machine, task: Task, block: int) -> list[tuple[int, int]]:
    """The pages of a block that hold nothing: absent ones, and those nobody stored into."""
    found: list[tuple[int, int]] = []
    for start, end, run in task.mm.page_table.spans(block, block + HPAGE_PMD_NR):
        if run is None or not run.lanes:
            found.append((start, end))
        else:
            found += [
                (entry.start, entry.end)
                for entry in run.entries()
                if frame_of(machine, entry.lanes[0]).flags & FrameFlag.ZEROED
            ]
    return found


def _map(machine: Machine, task: Task, vma: Vma, block: int, pfn: int) -> None:
    """Map the new huge page as one that was just written."""
    flags, frame = anon_page_state(task, vma, HPAGE_PMD_ORDER)
    run = PteRun(block, HPAGE_PMD_NR, (pfn,), HPAGE_PMD_ORDER, flags)
    new_frames(machine, [run], frame)
    task.mm.page_table.put(run.start, run.end, run)
