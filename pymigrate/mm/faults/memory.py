"""Page faults: what an access makes of absent and write-protected pages. Mirrors mm/memory.c."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from pymigrate.mm.balance.hint_fault import hint_fault
from pymigrate.mm.balance.scattered_faults import hint_faults
from pymigrate.mm.base.memmap import Frame, FrameFlag
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.faults import filemap
from pymigrate.mm.faults.anon_fault import map_anon, wp_page_copy
from pymigrate.mm.faults.file_fault import cow_fault, read_fault, shared_fault
from pymigrate.mm.faults.huge_fault import huge_parts, map_huge, map_huge_zero, may_compact
from pymigrate.mm.faults.hugetlb_fault import access_huge_page
from pymigrate.mm.faults.migrate_device import migrate_to_ram
from pymigrate.mm.frames.frames import (
    alike_parts,
    extents_between,
    extents_of,
    folio_of,
    update_frames,
)
from pymigrate.mm.frames.lru_batches import lru_add_drain
from pymigrate.mm.reclaim.slowpath import have_room_to_copy, reclaimed
from pymigrate.mm.spaces.anon_pages import NEW, SIGBUS, SIGSEGV, Fault
from pymigrate.mm.spaces.huge_pmd import nr_blocks, split_huge_pmds
from pymigrate.mm.spaces.rmap import anon_vma_prepare
from pymigrate.mm.state.vma import Vm
from pymigrate.units import HPAGE_PMD_NR, huge_ceil, huge_floor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymigrate.mm.state.address_space import AddressSpace
    from pymigrate.mm.state.machine import Machine
    from pymigrate.mm.state.task import Task
    from pymigrate.mm.state.vma import Vma

_STORED = Pte.WRITE | Pte.DIRTY | Pte.YOUNG


class Access(Enum):
    """What a page that is there already notices of an access."""

    LOAD_STORE = 1  # its entry becomes young, or dirty
    POPULATE = 2  # FOLL_TOUCH: its folio becomes dirty
    PIN = 3  # nothing


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
        space = machine.spaces[vma.space] if vma.space else None
        if space and space.is_hugetlb:
            _access_hugetlb(machine, task, vma, space, (start, end), write, how)
        elif space:
            _access_file(machine, task, vma, space, start, end, write, how)
        else:
            if task.numa.scans and how != Access.PIN:
                _take_hint_faults(machine, task, vma, start, end)
            _access_anon(machine, task, vma, (start, end), write, how)
        at = end
    if at < b:
        raise Fault(SIGSEGV, at)


def _access_anon(
    machine: Machine, task: Task, vma: Vma, part: tuple[int, int], write: bool, how: Access
) -> None:
    """Pages *part* of private anonymous memory; they may come to lie elsewhere meanwhile."""
    at = part[0]
    while at < part[1]:
        for span in task.mm.page_table.spans(at, part[1]):
            before = reclaimed(machine)
            if not have_room_to_copy(machine, task, vma, span[2], write):
                _access_span(machine, task, vma, part, span, write, how)
                at = span[1]
            if reclaimed(machine) != before:
                break


def _access_span(
    machine: Machine,
    task: Task,
    vma: Vma,
    part: tuple[int, int],
    span: tuple[int, int, PteRun | None],
    write: bool,
    how: Access,
) -> None:
    """Pages of private anonymous memory that are absent, or alike; only those in *part* count."""
    low, high, run = span
    if run is None:
        _anonymous_page(machine, task, vma, low, high, write, how)
        return
    runs = [run]
    if _is_inaccessible(run, how):
        runs = _after_fault(machine, task, vma, run)
    for there in runs:
        if there.order:
            inside = max(there.start, part[0]), min(there.end, part[1])
            _present_huge(machine, task, vma, there, inside, write, how)
        else:
            _present(machine, task, vma, there, write, how)


def is_accessible(vma: Vma, write: bool) -> bool:
    """Whether the VMA's protection allows the access. Mirrors x86's access_error()."""
    return bool(vma.flags & (Vm.WRITE if write else Vm.ACCESS))


def _anonymous_page(
    machine: Machine, task: Task, vma: Vma, a: int, b: int, write: bool, how: Access
) -> None:
    """Absent private anonymous pages.

    Mirrors do_anonymous_page() and do_huge_pmd_anonymous_page().
    """
    for start, end, is_huge in list(huge_parts(machine, task.mm, vma, a, b)):
        at = start
        if is_huge:
            anon_vma_prepare(machine, task, vma)
            if write:
                at = _map_huge(machine, task, vma, start, end, how)
            else:
                at = end
                map_huge_zero(machine, task.mm, start, end)
            machine.counters.add("pgfault", nr_blocks(start, at))
        if at == end:
            continue
        machine.counters.add("pgfault", end - at)
        if write:
            map_anon(machine, task, vma, at, end, zeroed=how != Access.LOAD_STORE)
        else:
            task.mm.page_table.put(at, end, PteRun(at, end - at, (), 0, NEW))


def _map_huge(machine: Machine, task: Task, vma: Vma, a: int, b: int, how: Access) -> int:
    """Huge pages for [a, b) as long as there are any; return the first page that has none.

    Where nodes take turns, or memory is compacted, base pages fill such a block; others are tried.
    """
    zeroed = how != Access.LOAD_STORE
    policy = vma.policy or task.policy
    at = a
    while True:
        at = map_huge(machine, task, vma, policy, at, b, zeroed)
        if at == b or not (may_compact(machine, vma) or (policy and policy.is_interleaving)):
            machine.counters.add("thp_fault_fallback", nr_blocks(at, b))
            return at
        machine.counters.add("thp_fault_fallback")
        end = min(huge_ceil(at + 1), b)
        machine.counters.add("pgfault", end - at)
        map_anon(machine, task, vma, at, end, zeroed)
        at = end
        if at == b:
            return at


def _is_inaccessible(run: PteRun, how: Access) -> bool:
    """Whether its pages are on a device, or wait to be seen used."""
    return bool(run.flags & Pte.DEVICE or (run.flags & Pte.HINT and how != Access.PIN))


def _take_hint_faults(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> None:

    hint_faults(machine, task, vma, a, b)


def _after_fault(machine: Machine, task: Task, vma: Vma, run: PteRun) -> list[PteRun]:
    """What is mapped where *run* was, once its pages have come to the task, if they may."""

    if run.flags & Pte.DEVICE:
        migrate_to_ram(machine, task, run)
    else:
        hint_fault(machine, task, vma, run)
    return task.mm.page_table.between(run.start, run.end)


def _present(machine: Machine, task: Task, vma: Vma, run: PteRun, write: bool, how: Access) -> None:
    """Pages that have an entry."""
    table = task.mm.page_table
    if write and not run.lanes:
        machine.counters.add("pgfault", run.nr)
        map_anon(machine, task, vma, run.start, run.end, zeroed=how != Access.LOAD_STORE)
    elif write and not run.flags & Pte.WRITE:
        machine.counters.add("pgfault", run.nr)
        _wp_page(machine, task, vma, run, how)
    elif how == Access.LOAD_STORE:
        flags = run.flags | (_STORED if write else Pte.YOUNG)
        if flags != run.flags:
            table.put(run.start, run.end, run.with_flags(flags))
        if write:
            stored(machine, run, run.start, run.end)
    elif how == Access.POPULATE and write and not run.flags & Pte.DIRTY:
        # follow_page_pte() with FOLL_TOUCH and FOLL_WRITE dirties the folio, not the entry.
        filemap.dirty_frames(machine, [run])


def _present_huge(
    machine: Machine,
    task: Task,
    vma: Vma,
    run: PteRun,
    part: tuple[int, int],
    write: bool,
    how: Access,
) -> None:
    """Pages [a, b), *part*, of huge entries. Mirrors do_huge_pmd_wp_page() and touch_pmd()."""
    a, b = part
    table = task.mm.page_table
    if write and not run.flags & Pte.WRITE:
        for entry in _entries(run):
            low, high = max(a, entry.start), min(b, entry.end)
            if not _wp_huge(machine, task, vma, entry, (low, high), how):
                split_huge_pmds(machine, task.mm, low, high)
                for base in table.between(low, high):
                    _present(machine, task, vma, base, write, how)
        return
    if how != Access.PIN:
        flags = run.flags | (_STORED if write else Pte.YOUNG)
        if flags != run.flags:
            table.put(run.start, run.end, run.with_flags(flags))
    if how == Access.LOAD_STORE and write:
        stored(machine, run, a, b)


def _wp_huge(
    machine: Machine, task: Task, vma: Vma, entry: PteRun, part: tuple[int, int], how: Access
) -> bool:
    """Make a huge entry writable; False if it has to be split. Mirrors do_huge_pmd_wp_page()."""
    table = task.mm.page_table
    if not entry.lanes:
        if not machine.release.huge_zero_becomes_thp:
            return False
        table.put(entry.start, entry.end)
        if _map_huge(machine, task, vma, *part, how) == part[1]:
            machine.counters.add("pgfault")
            return True
        table.put(entry.start, entry.end, entry)
        return False
    folio = folio_of(machine, entry.lanes[0])
    if not entry.flags & Pte.EXCLUSIVE and (folio.mapcount > 1 or folio.is_held):
        return False
    machine.counters.add("pgfault")
    table.put(entry.start, entry.end, entry.with_flags(entry.flags | _STORED | Pte.EXCLUSIVE))
    if how == Access.LOAD_STORE:
        stored(machine, entry, *part)
    return True


def _entries(run: PteRun) -> Iterator[PteRun]:
    """The huge entries of *run*, be it of the zero page."""
    if run.lanes:
        yield from run.entries()
        return
    for start in range(run.start, run.end, HPAGE_PMD_NR):
        yield PteRun(start, HPAGE_PMD_NR, (), run.order, run.flags)


def stored(machine: Machine, run: PteRun, a: int, b: int) -> None:
    """Note that something was stored into pages [a, b) of *run*."""
    for start, nr in extents_between(run, a, b):
        memmap = machine.memmap_of(start)
        found = memmap.between(start, start + nr)
        if any(part.frame.flags & FrameFlag.ZEROED for part in found):
            extent = [(start, nr)]
            update_frames(machine, extent, lambda f: f.without_flags(FrameFlag.ZEROED))


def _wp_page(machine: Machine, task: Task, vma: Vma, run: PteRun, how: Access) -> None:
    """Stores into pages that are mapped read-only. Mirrors do_wp_page()."""
    table = task.mm.page_table
    is_stored = how == Access.LOAD_STORE
    if vma.flags & Vm.SHARED:
        table.put(run.start, run.end, run.with_flags(run.flags | _STORED))
        filemap.dirty_frames(machine, [run])
        return
    if run.flags & Pte.EXCLUSIVE:
        table.put(run.start, run.end, run.with_flags(run.flags | _STORED))
        if is_stored:
            stored(machine, run, run.start, run.end)
        return
    anon_vma_prepare(machine, task, vma)
    for piece, frame in alike_parts(machine, run):
        if frame.is_anon and _can_reuse(machine, task, piece, frame):
            flags = piece.flags | _STORED | Pte.EXCLUSIVE
            table.put(piece.start, piece.end, piece.with_flags(flags))
            if is_stored:
                stored(machine, piece, piece.start, piece.end)
        else:
            zeroed = bool(frame.flags & FrameFlag.ZEROED) and not is_stored
            if frame.flags & FrameFlag.KSM:
                machine.counters.add("cow_ksm", piece.nr)
            wp_page_copy(machine, task, vma, piece, zeroed)


def _can_reuse(machine: Machine, task: Task, run: PteRun, frame: Frame) -> bool:
    """Whether the only holder of anonymous pages is this entry.

    Mirrors wp_can_reuse_anon_folio(): a page that waits in this CPU's LRU batch is put on its
    list first; one that waits on another CPU is held.
    """
    if frame.order or frame.mapcount > 1 or frame.is_held or frame.flags & FrameFlag.KSM:
        return False
    if frame.flags & FrameFlag.SWAPCACHE:  # its place in swap is given up: folio_free_swap()
        gone = FrameFlag.SWAPCACHE
        update_frames(machine, extents_of(run), lambda f: f.without_flags(gone))
    for cpu, batch in list(machine.lru_batches.items()):
        queued = {*batch.waiting, *batch.mlocked}
        if queued and any(
            start <= pfn < start + nr for start, nr in extents_of(run) for pfn in queued
        ):
            if cpu != task.cpu:
                return False
            lru_add_drain(machine, cpu)
    return True


def _access_hugetlb(
    machine: Machine,
    task: Task,
    vma: Vma,
    space: AddressSpace,
    part: tuple[int, int],
    write: bool,
    how: Access,
) -> None:
    """Pages of the hugetlb pools."""
    at, end = part
    table = task.mm.page_table
    while at < end:
        if not access_huge_page(machine, task, vma, space, at, write):
            raise Fault(SIGBUS, at)
        run = table.at(at)
        assert run is not None
        flags = run.flags | (_STORED if write else Pte.YOUNG)
        entry = run.clip(huge_floor(at), huge_floor(at) + HPAGE_PMD_NR)
        if how == Access.LOAD_STORE and flags != run.flags:
            table.put(entry.start, entry.end, entry.with_flags(flags))
        at = entry.end


def _access_file(
    machine: Machine,
    task: Task,
    vma: Vma,
    space: AddressSpace,
    a: int,
    b: int,
    write: bool,
    how: Access,
) -> None:
    """Pages [a, b) of a mapped object."""
    table = task.mm.page_table
    limit = vma.start + space.nr_pages - vma.pgoff  # the first page beyond the object's end
    at = a
    while at < b:
        run = table.at(at)
        if run is not None:
            run = run.clip(at, min(run.end, b))
            if have_room_to_copy(machine, task, vma, run, write):
                continue
            at = run.end
            if _is_inaccessible(run, how):
                for there in _after_fault(machine, task, vma, run):
                    _present(machine, task, vma, there, write, how)
            else:
                _present(machine, task, vma, run, write, how)
            continue
        if at >= limit:
            if write and not vma.is_shared:
                anon_vma_prepare(machine, task, vma)  # docow_fault() begins with it
            raise Fault(SIGBUS, at)
        hi = _absent_end(task, at, min(b, limit))
        if not write:
            at = read_fault(machine, task, vma, space, at, hi)
        elif vma.flags & Vm.SHARED:
            at = shared_fault(machine, task, vma, space, at, hi)
        else:
            at = cow_fault(machine, task, vma, space, at, hi)


def _absent_end(task: Task, a: int, b: int) -> int:
    """Where the absent pages that begin at *a* end."""
    found = task.mm.page_table.between(a, b)
    return found[0].start if found else b
