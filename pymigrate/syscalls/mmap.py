"""mmap(2), munmap(2), mprotect(2), mlock(2), munlock(2): what an address space consists of."""

from contextlib import suppress

from pymigrate.errors import KernelError
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.faults.anon_fault import Access
from pymigrate.mm.faults.memory import access, is_accessible
from pymigrate.mm.frames.frames import extents_of_all, whole_folios
from pymigrate.mm.frames.lru_batches import lru_add_drain
from pymigrate.mm.frames.mlock import mlock_folios, munlock_folios
from pymigrate.mm.reclaim.hugetlb import gather_surplus_pages
from pymigrate.mm.spaces.anon_pages import Fault
from pymigrate.mm.spaces.huge_memory import prepare_split
from pymigrate.mm.spaces.hugetlb_pool import (
    check_split,
    reserve,
    reserve_again,
    unreserve,
    unreserved,
)
from pymigrate.mm.spaces.pins import is_secretmem
from pymigrate.mm.spaces.zap import drop_unmapped_shm, zap
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Region, Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.syscalls.checks import checked_range, system_call
from pymigrate.uapi import MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT
from pymigrate.units import (
    END_OF_MEMORY,
    HPAGE_PMD_ORDER,
    HPAGE_SIZE,
    PAGE_SHIFT,
    PAGE_SIZE,
    page_range,
    pages_of,
)

TASK_SIZE = (1 << 47) - PAGE_SIZE
PROT = {"r": Vm.READ, "w": Vm.WRITE, "x": Vm.EXEC}


def prot_flags(prot: str) -> int:
    """VM flags of a protection such as "rw"; "" or "none" is PROT_NONE.

    Raises KernelError EINVAL.
    """
    bits = 0
    for letter in "" if prot == "none" else prot:
        if letter not in PROT and letter != "-":
            raise KernelError("EINVAL", f"{prot!r} is not a protection")
        bits |= PROT.get(letter, 0)
    return bits


def place_region(
    machine: Machine, task: Task, name: str, length: int, align: int, over: int | None = None
) -> int:
    """The address for a new region of *length* bytes, which gets a name: behind all regions.

    A page stays free between two, so that they never merge; but a region may lie *over* what is at
    an address. Raises KernelError ENOMEM where the address space ends; the name is that of
    addresses then at which nothing is.
    """
    step = max(align >> PAGE_SHIFT, 1)
    addr = -(-machine.next_region // step) * step << PAGE_SHIFT if over is None else over
    name_region(machine, task, name, addr, length)
    if over is None and addr + length > TASK_SIZE:
        raise KernelError("ENOMEM", "the address space has no room for it")
    return addr


def name_region(machine: Machine, task: Task, name: str, addr: int, length: int) -> None:
    """Give *length* bytes from *addr* a name; regions that are placed later lie behind them."""
    owner, start, nr = machine.process_of(task).name, addr >> PAGE_SHIFT, pages_of(length)
    machine.regions[owner, name] = Region(owner, name, start, nr)
    if addr + length <= TASK_SIZE:
        machine.next_region = max(machine.next_region, start + nr + 1)


@system_call
def mmap(
    machine: Machine,
    task: Task,
    addr: int,
    length: int,
    prot: str,
    *,
    is_shared: bool = False,
    space: AddressSpace | None = None,
    offset: int = 0,
    populate: bool = False,
    hugetlb: bool = False,
    noreplace: bool = False,
) -> Vma:
    """Map *length* bytes at the address *addr*; without a *space* anonymous memory.

    Memory of the *hugetlb* pools is mapped in whole huge pages. What was mapped there goes, but
    with *noreplace*.

    Raises KernelError EINVAL; EEXIST where something stays in the way; ENOMEM if the pools have not
    enough. Faults while populating are ignored, as MAP_POPULATE does. Mirrors do_mmap() and
    mmap_region(); the arguments are the call's own, with MAP_SHARED, MAP_POPULATE, MAP_HUGETLB and
    MAP_FIXED_NOREPLACE of its flags by name.
    """
    if not length:
        raise KernelError("EINVAL", "the length is 0")
    if addr % PAGE_SIZE or offset % PAGE_SIZE:
        raise KernelError("EINVAL", "address or offset is not page aligned")
    if hugetlb and space is not None and not space.is_hugetlb:
        drop_unmapped_shm(machine, {space.space_id})
        raise KernelError("EINVAL", "MAP_HUGETLB is for files of hugetlbfs, or for none")
    flags = prot_flags(prot) | (Vm.SHARED if is_shared else 0)
    if hugetlb or (space is not None and space.is_hugetlb):
        if (addr | offset) % HPAGE_SIZE:
            raise KernelError("EINVAL", "address or offset is not that of a huge page")
        length = -(-length // HPAGE_SIZE) * HPAGE_SIZE
        flags |= Vm.HUGETLB | Vm.DONTEXPAND
    elif flags & Vm.WRITE and not is_shared:
        flags |= Vm.ACCOUNT
    flags = _check_secretmem(machine, space, flags)
    a, b = checked_range(addr, length)
    if task.mm.vmas_between(a, b):
        if noreplace:
            raise KernelError("EEXIST", "something is mapped there")
        munmap(machine, task, addr, length)
    vma = _new_vma(machine, task, a, b, flags, space, offset >> PAGE_SHIFT)
    vma = task.mm.insert(machine.release, vma)
    if populate or task.mm.def_flags:
        with suppress(Fault):
            populate_range(machine, task, a, b)
    return vma


def _new_vma(
    machine: Machine,
    task: Task,
    a: int,
    b: int,
    flags: int,
    space: AddressSpace | None,
    pgoff: int,
) -> Vma:
    """A VMA of [a, b), with an object of its own if it needs one. Raises KernelError ENOMEM."""
    flags |= 0 if flags & Vm.SPECIAL else task.mm.def_flags
    if space is None and not flags & (Vm.SHARED | Vm.HUGETLB):
        return Vma(a, b, flags, a)
    if space is None:
        kind = "hugetlb" if flags & Vm.HUGETLB else "shm"
        space = AddressSpace(machine.new_id(), "", kind, (b - a) * PAGE_SIZE)
        machine.spaces[space.space_id] = space
    vma = Vma(a, b, flags, pgoff, space.space_id)
    if space.is_hugetlb:
        _reserve(machine, task, space, vma)
    return vma


def _reserve(machine: Machine, task: Task, space: AddressSpace, vma: Vma) -> None:
    """Reserve a mapping's huge pages; its file grows to it. Mirrors hugetlbfs_file_mmap()."""
    try:
        wanted = sum(extent.nr for extent in unreserved(machine, vma)) >> HPAGE_PMD_ORDER
        gather_surplus_pages(machine, task, wanted)
        reserve(machine, task, vma)
    except KernelError:
        if space.is_transient:
            del machine.spaces[space.space_id]
        raise
    vma.is_resv_owner = not vma.is_shared
    if vma.flags & Vm.WRITE:
        space.size = max(space.size, (vma.pgoff + vma.nr) << PAGE_SHIFT)


@system_call
def hugetlb_file_setup(machine: Machine, task: Task, name: str, length: int) -> AddressSpace:
    """A shared object of *length* bytes of huge pages, all of which are reserved.

    Raises KernelError ENOMEM if the pools have not enough. Mirrors hugetlb_file_setup().
    """
    space = AddressSpace(machine.new_id(), name, "hugetlbfs", length)
    machine.spaces[space.space_id] = space
    try:
        vma = Vma(0, pages_of(length), Vm.SHARED | Vm.HUGETLB, 0, space.space_id)
        _reserve(machine, task, space, vma)
    except KernelError:
        machine.spaces.pop(space.space_id, None)
        raise
    return space


def memfd_secret(machine: Machine, length: int) -> AddressSpace:
    """An object of *length* bytes that the kernel itself does not map. Mirrors memfd_secret()."""
    space = AddressSpace(machine.new_id(), "", "secretmem", pages_of(length) * PAGE_SIZE)
    machine.spaces[space.space_id] = space
    return space


def _check_secretmem(machine: Machine, space: AddressSpace | None, flags: int) -> int:
    """The flags of a mapping of *space*: secret memory is locked. Mirrors secretmem_mmap().

    Raises KernelError EINVAL.
    """
    if space is None or space.fs != "secretmem":
        return flags
    if not flags & Vm.SHARED:
        drop_unmapped_shm(machine, {space.space_id})
        raise KernelError("EINVAL", "secret memory is mapped shared only")
    return flags | Vm.LOCKED


@system_call
def munmap(machine: Machine, task: Task, addr: int, length: int) -> None:
    """Unmap *length* bytes from *addr*. Raises KernelError EINVAL. Mirrors __vm_munmap()."""
    if addr % PAGE_SIZE or not length or addr + length > TASK_SIZE:
        raise KernelError("EINVAL", "address or length is not that of a range of pages")
    a, b = checked_range(addr, length)
    parts = list(task.mm.parts(a, b))
    if not parts:
        return
    _split_vmas(task, parts)
    parts = list(task.mm.parts(a, b))
    lru_add_drain(machine, task.cpu)
    for vma, start, end in parts:
        if machine.pins:  # of what nobody holds just what was reserved would be given back
            reserve_again(machine, task, vma, start, end)
        zap(machine, task.mm, vma, start, end)
    unreserve(machine, task.mm.resv, a, b)
    task.mm.remove(a, b)
    drop_unmapped_shm(machine, {vma.space for vma, _, _ in parts})


def _split_vmas(task: Task, parts: list[tuple[Vma, int, int]]) -> None:
    """Cut VMAs at the ends of *parts*, of which some may refuse. Mirrors do_vmi_align_munmap()."""
    for vma, start, end in parts:
        if not vma.flags & Vm.HUGETLB:
            continue
        check_split(vma, start)
        if vma.start < start:
            vma = task.mm.split(vma, start)
        check_split(vma, end)


@system_call
def mprotect(machine: Machine, task: Task, addr: int, length: int, prot: str) -> None:
    """Change the protection of *length* bytes from *addr*.

    Raises KernelError EINVAL; ENOMEM at a hole, with what lies before it changed. Mirrors
    do_mprotect_pkey() and mprotect_fixup().
    """
    if addr % PAGE_SIZE:
        raise KernelError("EINVAL", f"address {addr:#x} is not page aligned")
    if not length:
        return
    bits = prot_flags(prot)
    try:
        a, b = checked_range(addr, length)
    except KernelError as error:
        raise KernelError("ENOMEM", error.why) from None
    at = a
    for vma, start, end in list(task.mm.parts(a, b)):
        if start > at:
            break
        flags = _protected_flags(vma, bits)
        if flags != vma.flags:
            was_locked = vma.flags & (Vm.WRITE | Vm.SHARED | Vm.LOCKED) == Vm.LOCKED
            vma = set_vma_flags(machine, task, vma, start, end, flags)
            _change_protection(machine, task, vma, start, end)
            if was_locked and bits & Vm.WRITE:
                # Locked private memory that becomes writable is copied now, not at a store.
                with suppress(Fault):
                    populate_range(machine, task, start, end)
        at = end
    if at < b:
        raise KernelError("ENOMEM", f"nothing is mapped at {at << PAGE_SHIFT:#x}")


@system_call
def mlock(machine: Machine, task: Task, addr: int, length: int) -> None:
    """Lock *length* bytes from *addr* in memory, and fault them in.

    Raises KernelError ENOMEM for a hole (what lies before it is locked, nothing is faulted in)
    and for pages that cannot be had. Mirrors do_mlock().
    """
    a, b = _set_locked(machine, task, addr, length, Vm.LOCKED)
    try:
        populate_range(machine, task, a, b)
    except Fault as fault:
        raise KernelError("ENOMEM", f"page {fault.page:#x} cannot be had") from None


@system_call
def munlock(machine: Machine, task: Task, addr: int, length: int) -> None:
    """Unlock *length* bytes from *addr*. Raises KernelError ENOMEM for a hole.

    Mirrors sys_munlock().
    """
    _set_locked(machine, task, addr, length, 0)


@system_call
def mlockall(machine: Machine, task: Task, flags: int) -> None:
    """Lock all that is mapped (MCL_CURRENT), or will be (MCL_FUTURE), in memory.

    It is faulted in at once, but with MCL_ONFAULT; what cannot be had is passed over. Raises
    KernelError EINVAL. Mirrors sys_mlockall().
    """
    if not flags or flags == MCL_ONFAULT or flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT):
        raise KernelError("EINVAL", "expected current or future, and perhaps onfault")
    locked = Vm.LOCKED_MASK if flags & MCL_ONFAULT else Vm.LOCKED
    task.mm.def_flags = locked if flags & MCL_FUTURE else 0
    if flags & MCL_CURRENT:
        _lock_all(machine, task, locked)
        for vma in list(task.mm.vmas):
            with suppress(Fault):
                populate_range(machine, task, vma.start, vma.end)


@system_call
def munlockall(machine: Machine, task: Task) -> None:
    """Unlock all that is mapped, and lock nothing that will be. Mirrors sys_munlockall()."""
    task.mm.def_flags = 0
    _lock_all(machine, task, 0)


def _lock_all(machine: Machine, task: Task, locked: int) -> None:
    """Mirrors apply_mlockall_flags()."""
    for vma, start, end in list(task.mm.parts(0, END_OF_MEMORY)):
        _mlock_fixup(machine, task, vma, start, end, locked)


def set_vma_flags(machine: Machine, task: Task, vma: Vma, a: int, b: int, flags: int) -> Vma:
    """Let pages [a, b) of *vma* have *flags*; return the VMA that covers them now.

    A huge entry that reaches across an end of the range is split: vma_adjust_trans_huge().
    """
    vma = prepare_split(machine, task, vma, a, b)
    new = vma.part(a, b)
    new.flags = flags
    return task.mm.modify(machine.release, vma, a, b, new)


def populate_range(machine: Machine, task: Task, a: int, b: int) -> None:
    """Fault in pages [a, b): for writing where private memory is writable, else for reading.

    Raises Fault. Mirrors __mm_populate() and populate_vma_page_range().
    """
    try:
        for vma, start, end in list(task.mm.parts(a, b)):
            if vma.flags & Vm.LOCKONFAULT:
                continue
            if not vma.flags & Vm.ACCESS or is_secretmem(machine, vma):
                raise Fault("SIGSEGV", start)
            write = vma.flags & (Vm.WRITE | Vm.SHARED) == Vm.WRITE
            assert is_accessible(vma, write)
            access(machine, task, start, end, write, how=Access.POPULATE)
    finally:
        lru_add_drain(machine, task.cpu)


def _protected_flags(vma: Vma, bits: int) -> int:
    """The flags of *vma* with the protection *bits*; memory is accounted once it is writable."""
    flags = vma.flags & ~Vm.ACCESS | bits
    if bits & Vm.WRITE:
        if not vma.flags & (Vm.ACCOUNT | Vm.WRITE | Vm.HUGETLB | Vm.SHARED):
            flags |= Vm.ACCOUNT
    elif vma.flags & Vm.ACCOUNT and vma.is_anonymous and not vma.anon_vma:
        flags &= ~Vm.ACCOUNT
    return flags


def _set_locked(
    machine: Machine, task: Task, addr: int, length: int, locked: int
) -> tuple[int, int]:
    """Set or clear VM_LOCKED. Mirrors apply_vma_lock_flags()."""
    a, b = page_range(addr, length)
    at = a
    for vma, start, end in list(task.mm.parts(a, b)):
        if start > at:
            break
        _mlock_fixup(machine, task, vma, start, end, locked)
        at = end
    if at < b:
        raise KernelError("ENOMEM", f"nothing is mapped at {at << PAGE_SHIFT:#x}")
    return a, b


def _mlock_fixup(machine: Machine, task: Task, vma: Vma, a: int, b: int, locked: int) -> None:
    """Let pages [a, b) of *vma* be *locked*, or not; some memory never is."""
    flags = vma.flags & ~Vm.LOCKED_MASK | locked
    if flags == vma.flags or vma.flags & Vm.SPECIAL or is_secretmem(machine, vma):
        return
    was_locked = vma.flags & Vm.LOCKED
    set_vma_flags(machine, task, vma, a, b, flags)
    if not (was_locked and locked):
        lru_add_drain(machine, task.cpu)
        _mlock_pages(machine, task, a, b, bool(locked))


def _mlock_pages(machine: Machine, task: Task, a: int, b: int, locked: bool) -> None:
    """Mark the pages that are there as mlocked, or no longer.

    A large folio is only locked whole, and unlocked by any part. Mirrors mlock_pte_range() and
    allow_mlock_munlock().
    """
    there = task.mm.page_table.between(a, b)
    runs = [run for run in there if run.lanes and run.flags & Pte.PRESENT]
    extents = extents_of_all(runs)
    if not locked:
        munlock_folios(machine, whole_folios(machine, extents))
        return
    fitting = []
    for start, nr in extents:
        for found in machine.memmap_of(start).between(start, start + nr):
            size = 1 << found.frame.order
            low, high = -(-start // size) * size, (start + nr) // size * size
            low, high = max(low, found.start), min(high, found.start + found.nr)
            if low < high:
                fitting.append(Extent(low, high - low))
    mlock_folios(machine, fitting)


def _change_protection(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> None:
    """Let the entries of [a, b) fit the protection of *vma*.

    An entry becomes writable at once where no store needs to be noticed any more. Mirrors
    change_pte_range() and can_change_pte_writable().
    """
    edits = []
    release = machine.release
    no_notice = bool(vma.space) and not machine.spaces[vma.space].is_disk
    for run in task.mm.page_table.between(a, b):
        if not run.lanes:
            continue
        if run.flags & Pte.DEVICE:  # whatever the protection is, the next store is noticed
            edits.append((run.start, run.end, (run.with_flags(run.flags & ~Pte.WRITE),)))
            continue
        flags = run.flags & ~(Pte.WRITE | Pte.HINT)
        if vma.flags & Vm.WRITE:
            if vma.is_shared:
                writable = no_notice or bool(flags & Pte.DIRTY)
            else:
                writable = bool(flags & Pte.EXCLUSIVE) and not vma.flags & Vm.HUGETLB
                if release.mprotect_needs_dirty and not flags & Pte.DIRTY:
                    writable = False
            flags |= Pte.WRITE if writable else 0
        if flags != run.flags:
            edits.append((run.start, run.end, (run.with_flags(flags),)))
    task.mm.page_table.edit(edits)
