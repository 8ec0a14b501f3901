"""Faults in memory of the hugetlb pools. Mirrors hugetlb_fault() and what it calls."""

from __future__ import annotations

from pymigrate.mm.base.memmap import Frame, FrameFlag
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.faults.anon_fault import STORED, VmFault
from pymigrate.mm.frames.frames import folio_of, new_frames, update_folio
from pymigrate.mm.frames.placement import placement
from pymigrate.mm.reclaim.hugetlb import alloc_surplus_page
from pymigrate.mm.spaces.anon_pages import SIGBUS, Fault
from pymigrate.mm.spaces.hugetlb_pool import alloc_for_fault, use_reserve
from pymigrate.mm.spaces.rmap import anon_vma_prepare, mappings, remove_rmap
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm
from pymigrate.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER, huge_floor


def access_huge_page(vmf: VmFault, space: AddressSpace, page: int) -> bool:
    """Have the huge page that *page* lies in mapped, as hugetlb_fault() does if it is not."""
    entry = vmf.table.at(page)
    if entry is not None and entry.lanes and (not vmf.write or entry.flags & Pte.WRITE):
        return True
    vmf.count_faults()
    return hugetlb_fault(vmf, space, huge_floor(page))


def hugetlb_fault(vmf: VmFault, space: AddressSpace, page: int) -> bool:
    """Map the huge page at *page*, writable if the access is a store.

    False if there is none: beyond the end of a file, when the pools have none left, or where the
    owner of the memory has taken a page away. Raises Fault SIGBUS for a bad one. Mirrors
    hugetlb_fault().
    """
    entry = vmf.table.at(page)
    if entry is None:
        if not _hugetlb_no_page(vmf, space, page):
            return False
        entry = vmf.table.at(page)
        assert entry is not None
        if not vmf.write or entry.flags & Pte.WRITE:
            return True
    elif entry.flags & Pte.HWPOISON:
        raise Fault(SIGBUS, page, is_bad=True)
    return _hugetlb_wp(vmf, entry.clip(page, page + HPAGE_PMD_NR))


def _hugetlb_no_page(vmf: VmFault, space: AddressSpace, page: int) -> bool:
    """Map a huge page of the file, or a new one."""
    machine, task, vma = vmf.machine, vmf.task, vmf.vma
    index = vma.index(page)
    if vma.has_lost_page or index >= space.nr_pages:
        return False
    flags = Pte.PRESENT | Pte.YOUNG
    cached = space.pages.at(index)
    if cached is not None:
        pfn = cached.pfn(index)
        if folio_of(machine, pfn).flags & FrameFlag.HWPOISON:
            raise Fault(SIGBUS, page, is_bad=True)
        update_folio(machine, pfn, lambda frame: frame.pmd_mapped(1))
    else:
        if not vma.is_shared:
            anon_vma_prepare(machine, task, vma)
        found = _alloc(vmf, page)
        if found is None:
            return False
        pfn = found
        if vma.is_shared:
            _use(machine, pfn, space.space_id, FrameFlag.DIRTY)
            run = PteRun(index, HPAGE_PMD_NR, (pfn,), HPAGE_PMD_ORDER)
            space.pages.put(run.start, run.end, run)
        else:
            _use(machine, pfn, task.mm.family, FrameFlag.ANON)
            flags |= Pte.EXCLUSIVE
    if vma.is_shared and vma.flags & Vm.WRITE:
        flags |= Pte.WRITE | Pte.DIRTY
    _set_entry(vmf, page, pfn, flags)
    return True


def _hugetlb_wp(vmf: VmFault, entry: PteRun) -> bool:
    """Let a huge page of private memory be written, or a copy of it."""
    machine, task, vma = vmf.machine, vmf.task, vmf.vma
    pfn = entry.lanes[0]
    anon_vma_prepare(machine, task, vma)
    folio = folio_of(machine, pfn)
    if folio.is_anon and folio.mapcount > 1:
        # A copy of what was there before the fork must not use up what is reserved.
        copy = _alloc(vmf, entry.start, avoid_reserve=vma.is_resv_owner)
        if copy is None and vma.is_resv_owner:
            _unmap_elsewhere(machine, task, folio.pfn, entry.start)
            folio = folio_of(machine, pfn)
        elif copy is None:
            return False
    elif not folio.is_anon:
        copy = _alloc(vmf, entry.start)
        if copy is None:
            return False
    else:
        copy = None
    if copy is None:
        vmf.touch(entry.with_flags(entry.flags | Pte.EXCLUSIVE))
        return True
    _use(machine, copy, task.mm.family, FrameFlag.ANON)
    _set_entry(vmf, entry.start, copy, Pte.PRESENT | Pte.EXCLUSIVE | STORED)
    remove_rmap(machine, [entry.with_flags(0)])
    return True


def _alloc(vmf: VmFault, page: int, avoid_reserve: bool = False) -> int | None:
    """A huge page of the pools, else one of the surplus. Mirrors alloc_hugetlb_folio()."""
    machine, task, vma = vmf.machine, vmf.task, vmf.vma
    pfn = alloc_for_fault(machine, task, vma, page, avoid_reserve)
    if pfn is None and machine.nr_overcommit_huge_pages:
        turn = vma.index(page) >> HPAGE_PMD_ORDER
        where = placement(machine, task, vma.policy or task.policy, turn)
        pfn = alloc_surplus_page(machine, task, where)
        if pfn is not None:
            use_reserve(machine, task, vma, page, avoid_reserve)
    return pfn


def _unmap_elsewhere(machine: Machine, task: Task, pfn: int, page: int) -> None:
    """Take a huge page away from the children, for its owner has nothing to copy it to.

    Mirrors unmap_ref_private().
    """
    frame, own = folio_of(machine, pfn).frame, task.mm.find_vma(page)
    assert own is not None
    for mapping in mappings(machine, frame, own.name(page), own.name(page) + HPAGE_PMD_NR):
        if mapping.mm is None or mapping.mm is task.mm:
            continue
        page = mapping.start + mapping.shift
        run = mapping.table.at(page)
        vma = mapping.mm.find_vma(page)
        if vma is None or vma.is_resv_owner:
            continue
        if run is not None and run.lanes and run.pfn(page) == pfn:
            vma.has_lost_page = True
            mapping.table.put(page, page + HPAGE_PMD_NR)
            remove_rmap(machine, [run.clip(page, page + HPAGE_PMD_NR)])


def _use(machine: Machine, pfn: int, owner: int, flags: int) -> None:
    """Let the huge page at *pfn*, which one entry maps, be in use; it is dirty if it was."""
    flags |= folio_of(machine, pfn).flags & FrameFlag.DIRTY
    frame = Frame(owner, flags | FrameFlag.HUGETLB, 0, 1, HPAGE_PMD_ORDER)
    new_frames(machine, [PteRun(0, HPAGE_PMD_NR, (pfn,), HPAGE_PMD_ORDER)], frame)


def _set_entry(vmf: VmFault, page: int, pfn: int, flags: int) -> None:
    run = PteRun(page, HPAGE_PMD_NR, (pfn,), HPAGE_PMD_ORDER, flags)
    vmf.table.put(run.start, run.end, run)
