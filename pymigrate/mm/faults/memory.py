"""Page faults: what an access makes of absent and write-protected pages. Mirrors mm/memory.c."""

from __future__ import annotations

from pymigrate.mm.balance.hint_fault import hint_fault, hint_faults
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.faults import filemap
from pymigrate.mm.faults.anon_fault import Access, VmFault, counted, fill_anon, map_anon
from pymigrate.mm.faults.file_fault import cow_fault, fault_beyond_end, read_fault, shared_fault
from pymigrate.mm.faults.huge_fault import (
    do_huge_pmd_anonymous_page,
    do_huge_pmd_wp_page,
    huge_entries,
    huge_parts,
)
from pymigrate.mm.faults.hugetlb_fault import access_huge_page
from pymigrate.mm.faults.migrate_device import migrate_to_ram
from pymigrate.mm.faults.wp_fault import do_wp_page, stored
from pymigrate.mm.frames.placement import placement
from pymigrate.mm.reclaim.slowpath import alloc_run_above_low, have_room_to_copy, reclaimed
from pymigrate.mm.spaces.anon_pages import NEW, SIGBUS, SIGSEGV, Fault, vma_policies
from pymigrate.mm.spaces.huge_memory import is_thp_allowed, split_huge_pmds
from pymigrate.mm.spaces.rmap import anon_vma_prepare
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine, as_task, because
from pymigrate.mm.state.task import Meanwhile, Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.units import HPAGE_PMD_NR, huge_floor

_MIN_STRIDED = 16  # pages at strides; fewer are faulted in one by one


@because("fault")
def access(
    machine: Machine,
    task: Task,
    a: int,
    b: int,
    write: bool,
    how: Access = Access.LOAD_STORE,
) -> None:
    """Load from, or store into, pages [a, b) of *task*, one after the other.

    Raises Fault at the first page that cannot be had; those before it are done.
    Mirrors handle_mm_fault() for each page.
    """
    at = a
    for vma, start, end in list(task.mm.parts(a, b)):
        if start > at:
            break
        if not is_accessible(vma, write):
            raise Fault(SIGSEGV, start)
        vmf = VmFault(machine, task, vma, write, how)
        space = machine.spaces[vma.space] if vma.space else None
        if space and space.is_hugetlb:
            _access_hugetlb(vmf, space, start, end)
        elif space:
            _access_file(vmf, space, start, end)
        else:
            if task.numa.scans and not how.is_pin:
                hint_faults(machine, task, vma, start, end)
            _access_anon(vmf, start, end)
        at = end
    if at < b:
        raise Fault(SIGSEGV, at)


def is_accessible(vma: Vma, write: bool) -> bool:
    """Whether the VMA's protection allows the access. Mirrors x86's access_error()."""
    return bool(vma.flags & (Vm.WRITE if write else Vm.ACCESS))


def _access_anon(vmf: VmFault, a: int, b: int) -> None:
    """Pages [a, b) of private anonymous memory; they may come to lie elsewhere meanwhile."""
    machine = vmf.machine
    at = a
    while at < b:
        for low, high, run in vmf.table.spans(at, b):
            before = reclaimed(machine)
            if not have_room_to_copy(machine, vmf.task, vmf.vma, run, vmf.write):
                if run is None:
                    _do_anonymous_page(vmf, low, high)
                else:
                    _access_present(vmf, run, a, b)
                at = high
            if reclaimed(machine) != before:
                break


def _do_anonymous_page(vmf: VmFault, a: int, b: int) -> None:
    """Absent private anonymous pages. Mirrors do_anonymous_page()."""
    for start, end, is_huge in list(huge_parts(vmf.machine, vmf.task.mm, vmf.vma, a, b)):
        at = do_huge_pmd_anonymous_page(vmf, start, end) if is_huge else start
        if at == end:
            continue
        with counted(vmf.machine, at, end):
            if vmf.write:
                map_anon(vmf, at, end, zeroed=not vmf.is_store)
            else:
                vmf.table.put(at, end, PteRun(at, end - at, (), 0, NEW))


def _access_present(vmf: VmFault, run: PteRun, a: int, b: int) -> None:
    """The pages of *run*, which are mapped; of huge entries only those in [a, b).

    Raises Fault SIGBUS where they are bad. Mirrors do_swap_page(), too.
    """
    if run.flags & Pte.HWPOISON:
        vmf.count_faults()
        raise Fault(SIGBUS, max(run.start, a), is_bad=True)
    for there in _after_fault(vmf, run):
        if there.order:
            _present_huge(vmf, there, max(there.start, a), min(there.end, b))
        else:
            _present(vmf, there)


def _after_fault(vmf: VmFault, run: PteRun) -> list[PteRun]:
    """What is mapped where *run* was, once its pages have come to the task, if they may.

    Its pages may be on a device, or wait to be seen used.
    """
    if run.flags & Pte.DEVICE:
        migrate_to_ram(vmf.machine, vmf.task, run)
    elif run.flags & Pte.HINT and not vmf.how.is_pin:
        hint_fault(vmf.machine, vmf.task, vmf.vma, run)
    else:
        return [run]
    return vmf.table.between(run.start, run.end)


def _present(vmf: VmFault, run: PteRun) -> None:
    """Pages that have an entry."""
    if vmf.write and not run.lanes:
        with counted(vmf.machine, run.start, run.end):
            map_anon(vmf, run.start, run.end, zeroed=not vmf.is_store)
    elif vmf.write and not run.flags & Pte.WRITE:
        with counted(vmf.machine, run.start, run.end):
            do_wp_page(vmf, run)
    elif vmf.how == Access.LOAD_STORE:
        vmf.touch(run)
        if vmf.write:
            stored(vmf.machine, run, run.start, run.end)
    elif vmf.how != Access.PIN and vmf.write and not run.flags & Pte.DIRTY:
        # follow_page_pte() with FOLL_TOUCH and FOLL_WRITE dirties the folio, not the entry.
        filemap.dirty_frames(vmf.machine, [run])


def _present_huge(vmf: VmFault, run: PteRun, a: int, b: int) -> None:
    """Pages [a, b) of huge entries. Mirrors wp_huge_pmd() and touch_pmd()."""
    if vmf.write and not run.flags & Pte.WRITE:
        for entry in huge_entries(run):
            low, high = max(a, entry.start), min(b, entry.end)
            if not do_huge_pmd_wp_page(vmf, entry, low, high):
                split_huge_pmds(vmf.machine, vmf.task.mm, low, high)
                for base in vmf.table.between(low, high):
                    _present(vmf, base)
        return
    if vmf.how != Access.PIN:
        vmf.touch(run)
    if vmf.is_store:
        stored(vmf.machine, run, a, b)


def _access_hugetlb(vmf: VmFault, space: AddressSpace, a: int, b: int) -> None:
    """Pages [a, b) of the hugetlb pools."""
    at = a
    while at < b:
        if not access_huge_page(vmf, space, at):
            raise Fault(SIGBUS, at)
        run = vmf.table.at(at)
        assert run is not None
        entry = run.clip(huge_floor(at), huge_floor(at) + HPAGE_PMD_NR)
        if vmf.how == Access.LOAD_STORE:
            vmf.touch(entry)
        at = entry.end


def _access_file(vmf: VmFault, space: AddressSpace, a: int, b: int) -> None:
    """Pages [a, b) of a mapped object."""
    machine, task, vma = vmf.machine, vmf.task, vmf.vma
    limit = vma.start + space.nr_pages - vma.pgoff  # the first page beyond the object's end
    at = a
    while at < b:
        run = vmf.table.at(at)
        if run is not None:
            run = run.clip(at, min(run.end, b))
            if not have_room_to_copy(machine, task, vma, run, vmf.write):
                at = run.end
                _access_present(vmf, run, a, b)
            continue
        if at >= limit:
            fault_beyond_end(vmf, space, at)
            raise Fault(SIGBUS, at)
        end = _absent_end(vmf, at, min(b, limit))
        bad = filemap.first_bad(machine, space, vma.index(at), vma.index(end))
        if bad is not None:
            end = bad + vma.start - vma.pgoff
        if at == end:  # it is cached, and not to be used: __do_fault()
            fault_beyond_end(vmf, space, at)
            raise Fault(SIGBUS, at, is_bad=True)
        if not vmf.write:
            at = read_fault(vmf, space, at, end)
        elif vma.is_shared:
            at = shared_fault(vmf, space, at, end)
        else:
            at = cow_fault(vmf, space, at, end)


def _absent_end(vmf: VmFault, a: int, b: int) -> int:
    """Where the absent pages that begin at *a* end."""
    found = vmf.table.between(a, b)
    return found[0].start if found else b


def access_strided(machine: Machine, task: Task, pages: range, write: bool) -> None:
    """Load from, or store into, each of *pages* in ascending order.

    Raises Fault as memory.access() does.
    """
    at = 0
    while at < len(pages):
        done = _store_into_gap(machine, task, pages[at:]) if write else 0
        if not done:
            access(machine, task, pages[at], pages[at] + 1, write)
        at += done or 1


@because("fault")
def _store_into_gap(machine: Machine, task: Task, pages: range) -> int:
    """Fault in the pages that lie in one gap of an anonymous VMA; return how many it did."""
    vma = task.mm.find_vma(pages[0])
    if vma is None or vma.space or not vma.flags & Vm.WRITE or is_thp_allowed(machine, vma):
        return 0
    start, end, run = task.mm.page_table.spans(pages[0], vma.end)[0]
    nr = len(range(start, end, pages.step))
    if run is not None or min(nr, len(pages)) < _MIN_STRIDED:
        return 0
    anon_vma_prepare(machine, task, vma)
    pages = pages[: min(nr, len(pages))]
    _, _, policy, index = next(vma_policies(machine, task, vma, start, end))  # it is the only one
    where = placement(machine, task, policy, index, pages.step)
    vmf = VmFault(machine, task, vma)
    got = fill_anon(vmf, pages, where, zeroed=False, take=alloc_run_above_low)
    vmf.count_faults(got)
    return got


def finish(machine: Machine, other: Meanwhile) -> None:
    """Make an access that is still to be made."""
    if other.is_made:
        return
    other.is_made = True
    task = machine.tasks.get(other.pid)
    if task is None:
        return
    try:
        with as_task(machine, task):
            access(machine, task, other.page, other.page + 1, other.write)
    except Fault as fault:
        other.signal = fault.signal
