"""Faults of mappings of files: what is cached is mapped, or copied. Mirrors mm/memory.c."""

from __future__ import annotations

from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.faults import filemap
from pymigrate.mm.faults.anon_fault import VmFault, counted, map_anon
from pymigrate.mm.frames.frames import extents_of, update_frames
from pymigrate.mm.frames.mlock import mlock_folios
from pymigrate.mm.frames.page_alloc import room_for
from pymigrate.mm.frames.placement import placement
from pymigrate.mm.spaces.anon_pages import NEW, kill_for_memory, vma_policies
from pymigrate.mm.spaces.rmap import anon_vma_prepare
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.vma import Vm

# A fault that reads a disk's page in, or the next ones ahead, is tried again, for it has let go of
# the lock of the address space meanwhile. Another one finds then what the first would have done.
_TRIES = 2
_AT_ONCE = 512  # pages whose faults are looked at together


def read_fault(vmf: VmFault, space: AddressSpace, a: int, b: int) -> int:
    """Map absent pages from *a* on for reading; return the first one not looked at.

    Mirrors do_read_fault(): cached pages around are mapped with it.
    """
    machine, vma = vmf.machine, vmf.vma
    if space.is_shmem:
        # Page by page this ends the same: [a, b), and what was cached around both ends.
        vmf.count_faults()
        map_cached(vmf, filemap.fault_around(machine, vma, space, a))
        b = _have_cached(vmf, space, a, b)
        vmf.count_faults((b - a - 1) // filemap.FAULT_AROUND)
        last = max(a, b - 1 - (b - 1) % filemap.FAULT_AROUND)
        faults = any(run is None for _, _, run in vmf.table.spans(last, b))
        map_cached(vmf, space.pages.between(vma.index(a), vma.index(b)))
        if faults:
            map_cached(vmf, filemap.fault_around(machine, vma, space, b - 1))
        return b
    end = _map_around(vmf, space, a, min(b, a + 1 if vma.flags & Vm.LOCKED else a + _AT_ONCE))
    if end > a:
        return end
    vmf.count_faults()
    for _ in range(_TRIES):
        map_cached(vmf, filemap.fault_around(machine, vma, space, a))
        if vmf.table.at(a) is not None:
            return a + 1
        _have_cached(vmf, space, a, a + 1)
    map_cached(vmf, space.pages.between(vma.index(a), vma.index(a + 1)))
    return a + 1


def _map_around(vmf: VmFault, space: AddressSpace, a: int, b: int) -> int:
    """Faults of absent pages from *a* on that find theirs cached; return where that ends.

    Each maps what is cached around it, so that the next one is behind that.
    """
    vma = vmf.vma
    first, last = filemap.window(vma, a)
    faults = [(a, last)]  # where each is, and where what it maps ends
    while last < b:
        at, (_, last) = last, filemap.window(vma, last)
        faults.append((at, last))
    cached = filemap.cached_around(vmf.machine, vma, space, first, last)
    end = a
    for run in cached:
        if run.start <= vma.index(end) < run.end:
            end = min(run.end + vma.start - vma.pgoff, b)
    done = [last for at, last in faults if at < end]
    if done:
        vmf.count_faults(len(done))
        limit = vma.index(done[-1])
        map_cached(vmf, [run.clip(run.start, limit) for run in cached if run.start < limit])
    return end


def fault_beyond_end(vmf: VmFault, space: AddressSpace, page: int) -> None:
    """What a fault at *page*, beyond the object's end or bad, does before it fails.

    One that reads maps what is cached around: do_read_fault(). One that would copy prepares for
    that: do_cow_fault().
    """
    vmf.count_faults()
    if not vmf.write:
        map_cached(vmf, filemap.fault_around(vmf.machine, vmf.vma, space, page))
    elif not vmf.vma.is_shared:
        anon_vma_prepare(vmf.machine, vmf.task, vmf.vma)


def shared_fault(vmf: VmFault, space: AddressSpace, a: int, b: int) -> int:
    """Map absent pages of a shared mapping for writing. Mirrors do_shared_fault()."""
    vmf.count_faults()
    end = _have_cached(vmf, space, a, b if space.is_shmem else a + 1, _TRIES)
    vmf.count_faults(end - a - 1)
    cached = space.pages.between(vmf.vma.index(a), vmf.vma.index(end))
    map_cached(vmf, cached, Pte.WRITE | Pte.DIRTY)
    filemap.dirty_frames(vmf.machine, cached)
    return end


def cow_fault(vmf: VmFault, space: AddressSpace, a: int, b: int) -> int:
    """Give a private mapping copies of absent pages. Mirrors do_cow_fault().

    Each fault finds a page for the copy before the one that is copied. It is the same in any order
    where there is room for all of them.
    """
    if not space.is_shmem:
        vmf.count_faults()
        _have_cached(vmf, space, a, a + 1, _TRIES)
        map_anon(vmf, a, a + 1)
        return a + 1
    end = min(b, a + max(_room_for_copies(vmf, a, b) // 2, 1))
    with counted(vmf.machine, a, end):
        map_anon(vmf, a, end)
        at = a
        while at < end:
            at = _have_cached(vmf, space, at, end)
    return end


def _room_for_copies(vmf: VmFault, a: int, b: int) -> int:
    """How many pages there surely is room for where the first ones of [a, b) are placed."""
    machine, task = vmf.machine, vmf.task
    _, _, policy, first = next(vma_policies(machine, task, vmf.vma, a, b))
    return room_for(machine, task, placement(machine, task, policy, first))


def _have_cached(vmf: VmFault, space: AddressSpace, a: int, b: int, tries: int = 1) -> int:
    """Have pages [a, b) of the mapping in the page cache, and return b.

    Those of disk files are asked for *tries* times. Of shared memory they end where memory must be
    reclaimed for the next page: by then the others are mapped.
    """
    machine, task, vma = vmf.machine, vmf.task, vmf.vma
    lo, hi = vma.index(a), vma.index(b)
    if space.is_shmem:
        for start, end, run in space.pages.spans(lo, hi):
            if run is not None:
                continue
            while not (got := filemap.add_to_page_cache(machine, task, space, start, end)):
                if start > lo:
                    return a + start - lo
                kill_for_memory(machine, task, a)
            if start + got < end:
                return a + start + got - lo
        return b
    for index in [index for index in range(lo, hi) for _ in range(tries)]:
        while not filemap.fault_in_page(machine, task, vma, space, index):
            kill_for_memory(machine, task, a)
    return b


def map_cached(vmf: VmFault, cached: list[PteRun], flags: int = 0) -> None:
    """Map pages of the page cache where the task has none yet. Mirrors set_pte_range()."""
    machine, vma = vmf.machine, vmf.vma
    flags |= cached_entry_flags(vmf)
    shift = vma.start - vma.pgoff
    runs = []
    for run in filemap.without_bad(machine, cached):
        there = run.moved(run.start + shift)
        for start, end, present in vmf.table.spans(there.start, there.end):
            if present is None:
                runs.append(there.clip(start, end).with_flags(flags))
    extents = [extent for run in runs for extent in extents_of(run)]
    update_frames(machine, extents, lambda frame: frame.mapped(1))
    if vma.flags & Vm.LOCKED:
        mlock_folios(machine, extents)
    vmf.table.edit([(run.start, run.end, (run,)) for run in runs])


def cached_entry_flags(vmf: VmFault) -> int:
    """The flags of new entries for pages of the page cache. Mirrors set_pte_range()."""
    vma = vmf.vma
    is_stored = vma.flags & Vm.SHARED and vma.flags & Vm.WRITE
    if is_stored and not vmf.machine.spaces[vma.space].is_disk:
        return NEW | Pte.WRITE  # no need to be told of the first store
    return NEW
