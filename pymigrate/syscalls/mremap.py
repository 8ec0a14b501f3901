"""mremap(2): memory that grows, shrinks, or moves."""

from contextlib import suppress

from pymigrate.errors import KernelError
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.calls.mremap import move_vma
from pymigrate.mm.spaces.anon_pages import Fault
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.syscalls.checks import system_call
from pymigrate.syscalls.mmap import TASK_SIZE, munmap, populate_range
from pymigrate.uapi import MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE
from pymigrate.units import HPAGE_SIZE, PAGE_SHIFT, PAGE_SIZE, pages_of

_KNOWN = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP


@system_call
def mremap(
    machine: Machine,
    task: Task,
    addr: int,
    old_len: int,
    new_len: int,
    flags: int,
    *,
    new_addr: int = 0,
    room: int = 0,
) -> int:
    """Let the *old_len* bytes mapped at *addr* be *new_len* bytes; return where they are.

    They stay where they are if they can, unless *flags* say otherwise; *room* is where they go if
    they must move and no *new_addr* is given: what get_unmapped_area() gives. The pages, their
    places, the policy and whether they are locked go along.

    Raises KernelError EINVAL, EFAULT, ENOMEM. Mirrors sys_mremap(); the arguments are the call's
    own.
    """
    old_len, new_len = _checked(task, addr, old_len, new_len, flags, new_addr)
    if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP):
        return _mremap_to(machine, task, addr, old_len, new_len, flags, new_addr or room)
    if old_len >= new_len:
        if old_len > new_len:
            munmap(machine, task, addr + new_len, old_len - new_len)
        return addr
    vma = _vma_to_resize(task, addr, old_len, new_len, flags)
    end, more = addr + old_len, new_len - old_len
    if end >> PAGE_SHIFT == vma.end and _is_expandable(task, vma, more >> PAGE_SHIFT):
        _extend(machine, task, vma, more >> PAGE_SHIFT)
        return addr
    if not flags & MREMAP_MAYMOVE:
        raise KernelError("ENOMEM", "there is no room behind it, and it may not move")
    return _move(machine, task, vma, (addr, old_len, new_len), room, flags)


def check_mremap(
    task: Task, addr: int, old_len: int, new_len: int, flags: int, new_addr: int
) -> None:
    """Raises KernelError for what mremap() refuses before it looks at the new place."""
    old_len, new_len = _checked(task, addr, old_len, new_len, flags, new_addr)
    if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) or old_len < new_len:
        _vma_to_resize(task, addr, min(old_len, new_len), new_len, flags)


def _checked(
    task: Task, addr: int, old_len: int, new_len: int, flags: int, new_addr: int
) -> tuple[int, int]:
    """Both lengths, in whole pages of what is mapped. Raises KernelError EINVAL, EFAULT."""
    _check(addr, old_len, new_len, flags)
    old_len, new_len = (pages_of(length) << PAGE_SHIFT for length in (old_len, new_len))
    vma = task.mm.find_vma(addr >> PAGE_SHIFT)
    if vma is None:
        raise KernelError("EFAULT", f"nothing is mapped at {addr:#x}")
    if vma.flags & Vm.HUGETLB:
        old_len, new_len = (-(-length // HPAGE_SIZE) * HPAGE_SIZE for length in (old_len, new_len))
        if (addr | new_addr) % HPAGE_SIZE or new_len > old_len:
            raise KernelError("EINVAL", "huge pages of the pools only move whole, and never grow")
    return old_len, new_len


def _check(addr: int, old_len: int, new_len: int, flags: int) -> None:
    """What of the arguments can be wrong by itself. Raises KernelError EINVAL."""
    if flags & ~_KNOWN:
        raise KernelError("EINVAL", f"unknown flags {flags & ~_KNOWN:#x}")
    if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) and not flags & MREMAP_MAYMOVE:
        raise KernelError("EINVAL", "fixed and dontunmap come with maymove only")
    if flags & MREMAP_DONTUNMAP and old_len != new_len:
        raise KernelError("EINVAL", "with dontunmap the length stays")
    if addr % PAGE_SIZE:
        raise KernelError("EINVAL", f"address {addr:#x} is not page aligned")
    if not new_len:
        raise KernelError("EINVAL", "the new length is 0")


def _mremap_to(
    machine: Machine, task: Task, addr: int, old_len: int, new_len: int, flags: int, to: int
) -> int:
    """Move to *to*; what is mapped there goes with MREMAP_FIXED. Mirrors mremap_to()."""
    if to % PAGE_SIZE or to + new_len > TASK_SIZE:
        raise KernelError("EINVAL", f"{to:#x} is not the address of pages")
    if addr + old_len > to and to + new_len > addr:
        raise KernelError("EINVAL", "the old and the new place overlap")
    if flags & MREMAP_FIXED:
        munmap(machine, task, to, new_len)
    if old_len > new_len:
        munmap(machine, task, addr + new_len, old_len - new_len)
        old_len = new_len
    vma = _vma_to_resize(task, addr, old_len, new_len, flags)
    return _move(machine, task, vma, (addr, old_len, new_len), to, flags)


def _vma_to_resize(task: Task, addr: int, old_len: int, new_len: int, flags: int) -> Vma:
    """The mapping that is meant. Raises KernelError EFAULT, EINVAL. Mirrors vma_to_resize()."""
    vma = task.mm.find_vma(addr >> PAGE_SHIFT)
    if vma is None:
        raise KernelError("EFAULT", f"nothing is mapped at {addr:#x}")
    if not old_len and not vma.is_shared:
        raise KernelError("EINVAL", "only shared memory can be mapped a second time")
    if flags & MREMAP_DONTUNMAP and vma.flags & (Vm.DONTEXPAND | Vm.PFNMAP):
        raise KernelError("EINVAL", "such memory cannot stay mapped")
    if old_len > (vma.end << PAGE_SHIFT) - addr:
        raise KernelError("EFAULT", "the range is not of one mapping")
    if new_len != old_len and vma.flags & (Vm.DONTEXPAND | Vm.PFNMAP):
        raise KernelError("EFAULT", "such memory cannot grow")
    return vma


def _is_expandable(task: Task, vma: Vma, nr: int) -> bool:
    """Whether *nr* more pages are free behind *vma*. Mirrors vma_expandable()."""
    end = vma.end + nr
    return end << PAGE_SHIFT <= TASK_SIZE and not task.mm.vmas_between(vma.end, end)


def _extend(machine: Machine, task: Task, vma: Vma, nr: int) -> None:
    """Let *vma* have *nr* more pages, merged with what comes then. Mirrors vma_merge_extend()."""
    start = vma.end
    more = vma.part(start, start + nr)
    more.anon_vma, more.anon_chained, more.is_resv_owner = vma.anon_vma, vma.anon_chained, False
    task.mm.insert(machine.release, more)
    if vma.flags & Vm.LOCKED:
        _populate(machine, task, start, start + nr)


def _move(
    machine: Machine, task: Task, vma: Vma, lengths: tuple[int, int, int], to: int, flags: int
) -> int:
    """Move a part of *vma* to *to*, where nothing is; *lengths* are its address, and both lengths.

    Raises KernelError ENOMEM, EINVAL. Mirrors move_vma().
    """
    a, old_nr, new_nr = (number >> PAGE_SHIFT for number in lengths)
    new, was_locked = Extent(to >> PAGE_SHIFT, new_nr), vma.flags & Vm.LOCKED
    if to + lengths[2] > TASK_SIZE:
        raise KernelError("ENOMEM", "the address space has no room for it")
    move_vma(machine, task, vma, Extent(a, old_nr), new)
    if flags & MREMAP_DONTUNMAP:
        left = task.mm.find_vma(a)
        assert left is not None, "it stays mapped"
        left.flags &= ~Vm.LOCKED_MASK
        if left.start == a and left.nr == old_nr:
            left.anon_vma, left.anon_chained = 0, False
        return to
    if old_nr:
        munmap(machine, task, a << PAGE_SHIFT, old_nr << PAGE_SHIFT)
    if was_locked:
        _populate(machine, task, new.start + old_nr, new.start + new.nr)
    return to


def _populate(machine: Machine, task: Task, a: int, b: int) -> None:
    """Fault in pages that locked memory has grown by; what cannot be had is left out."""
    if a < b:
        with suppress(Fault):
            populate_range(machine, task, a, b)
