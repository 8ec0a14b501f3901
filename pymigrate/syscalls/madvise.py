"""madvise(2): the checks of advice, and what follows some of it."""

from collections.abc import Callable, Sequence

from pymigrate.errors import KernelError, UnsupportedError
from pymigrate.mm.base.advice import Madv
from pymigrate.mm.calls.khugepaged import madvise_collapse
from pymigrate.mm.calls.ksm import unmerge
from pymigrate.mm.calls.madvise import cold, madvise_free, pageout
from pymigrate.mm.faults.anon_fault import Access
from pymigrate.mm.faults.memory import access
from pymigrate.mm.frames.lru_batches import lru_add_drain, lru_add_drain_all
from pymigrate.mm.spaces.anon_pages import Fault
from pymigrate.mm.spaces.hugetlb_pool import reserve_again
from pymigrate.mm.spaces.pins import is_secretmem
from pymigrate.mm.spaces.zap import zap
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Cap, Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.syscalls.checks import check_access, checked_range, system_call
from pymigrate.syscalls.memory_failure import hard_offline, soft_offline
from pymigrate.syscalls.mmap import set_vma_flags
from pymigrate.units import HPAGE_PMD_NR, PAGE_SIZE, huge_ceil, huge_floor

# Advice about another's memory. Mirrors process_madvise_remote_valid().
_REMOTE = frozenset({Madv.COLD, Madv.PAGEOUT, Madv.COLLAPSE})
# What advice that only changes flags clears and sets.
_FLAGS = {
    Madv.NORMAL: (Vm.RAND_READ | Vm.SEQ_READ, 0),
    Madv.SEQUENTIAL: (Vm.RAND_READ, Vm.SEQ_READ),
    Madv.RANDOM: (Vm.SEQ_READ, Vm.RAND_READ),
    Madv.DONTFORK: (0, Vm.DONTCOPY),
    Madv.DOFORK: (Vm.DONTCOPY, 0),
    Madv.HUGEPAGE: (Vm.NOHUGEPAGE, Vm.HUGEPAGE),
    Madv.NOHUGEPAGE: (Vm.HUGEPAGE, Vm.NOHUGEPAGE),
    Madv.MERGEABLE: (0, Vm.MERGEABLE),
    Madv.UNMERGEABLE: (Vm.MERGEABLE, 0),
}


@system_call
def madvise(machine: Machine, task: Task, addr: int, length: int, advice: int) -> None:
    """Follow *advice* for *length* bytes from *addr*.

    Raises KernelError EINVAL; ENOMEM for a hole, with the rest done (populating stops there);
    EFAULT when populating meets a SIGBUS, EHWPOISON a bad page. Mirrors do_madvise().
    """
    kind, a, b = _check(addr, length, advice)
    if a == b:
        return
    if kind in _INJECT:
        _INJECT[kind](machine, task, addr, length)
        return
    if kind in (Madv.POPULATE_READ, Madv.POPULATE_WRITE):
        _populate(machine, task, a, b, kind == Madv.POPULATE_WRITE)
        return
    has_hole = task.mm.has_hole(a, b)
    for vma, start, end in list(task.mm.parts(a, b)):
        if kind in _FLAGS:
            _set_flags(machine, task, vma, start, end, kind)
        else:
            _ACTIONS[kind](machine, task, vma, start, end)
    if has_hole:
        raise KernelError("ENOMEM", "part of the range is not mapped")


@system_call
def process_madvise(
    machine: Machine, caller: Task, target: Task, ranges: Sequence[tuple[int, int]], advice: int
) -> int:
    """Follow *advice* for *ranges* of *target*'s memory, each an address and a length.

    Returns how many bytes were done before a range was refused. Raises KernelError EINVAL, EACCES,
    EPERM; what madvise() says of the first range. Mirrors process_madvise() and vector_madvise().
    """
    is_own = machine.release.advises_itself and caller.mm is target.mm
    if not machine.release.advises_itself:
        _check_remote(advice)
    try:
        check_access(caller, target, for_file=True)  # mm_access()
    except KernelError as error:
        raise KernelError("EACCES", error.why) from None
    if not is_own:
        _check_remote(advice)
        if not caller.has(Cap.SYS_NICE):
            raise KernelError("EPERM", "process_madvise() asks for CAP_SYS_NICE")
    done = 0
    for addr, length in ranges:
        try:
            madvise(machine, target, addr, length, advice)
        except KernelError:
            if done:
                return done
            raise
        done += length
    return done


def _check_remote(advice: int) -> None:
    """Raise KernelError EINVAL for advice that is not for another's memory."""
    if advice not in _REMOTE:
        raise KernelError("EINVAL", f"advice {advice} is not for the memory of another process")


def _check(addr: int, length: int, advice: int) -> tuple[Madv, int, int]:
    """The advice and its pages [a, b). Raises KernelError EINVAL."""
    if advice not in SIMULATED.values():
        raise KernelError("EINVAL", f"{advice} is not an advice")
    if addr % PAGE_SIZE:
        raise KernelError("EINVAL", f"address {addr:#x} is not page aligned")
    a, b = checked_range(addr, length)
    if length and a == b:
        raise KernelError("EINVAL", "the length wraps when it is rounded up")
    return Madv(advice), a, b


def _set_flags(machine: Machine, task: Task, vma: Vma, a: int, b: int, kind: Madv) -> None:
    """Advice that is a flag of the VMA. Mirrors madvise_vma_behavior()."""
    clear, mark = _FLAGS[kind]
    flags = vma.flags & ~clear | mark
    if kind in (Madv.MERGEABLE, Madv.UNMERGEABLE) and vma.flags & (Vm.SHARED | Vm.SPECIAL):
        return
    if kind == Madv.DOFORK and vma.flags & Vm.IO:
        raise KernelError("EINVAL", "device memory is never inherited")
    if kind == Madv.UNMERGEABLE and vma.flags & Vm.MERGEABLE:
        _unmerge(machine, task, vma, a, b)
    if flags != vma.flags:
        set_vma_flags(machine, task, vma, a, b, flags)


def _unmerge(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> None:
    try:
        unmerge(machine, task, vma, a, b)
    except Fault as fault:
        raise KernelError("ENOMEM", f"no memory for a copy of page {fault.page:#x}") from None


def _dontneed(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> None:
    if vma.flags & Vm.HUGETLB:
        if a % HPAGE_PMD_NR:
            raise KernelError("EINVAL", "the range begins inside a huge page")
        b = max(huge_floor(b), a)
        reserve_again(machine, task, vma, a, b)
    elif vma.flags & (Vm.LOCKED | Vm.PFNMAP):
        raise KernelError("EINVAL", "the memory is locked, or no ordinary memory")
    lru_add_drain(machine, task.cpu)
    zap(machine, task.mm, vma, a, b, keep_tables=True)


def _free(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> None:
    if not vma.is_anonymous or vma.flags & (Vm.LOCKED | Vm.PFNMAP | Vm.HUGETLB):
        raise KernelError("EINVAL", "only private anonymous memory that is not locked can be freed")
    lru_add_drain(machine, task.cpu)
    madvise_free(machine, task, a, b)


def _cold(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> None:
    _check_lru(vma)
    lru_add_drain(machine, task.cpu)
    cold(machine, task, a, b)


def _pageout(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> None:
    _check_lru(vma)
    lru_add_drain(machine, task.cpu)
    pageout(machine, task, vma, a, b)


def _collapse(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> None:
    aligned = (vma.end - vma.end % HPAGE_PMD_NR) - HPAGE_PMD_NR
    if aligned < vma.start or vma.flags & (Vm.NOHUGEPAGE | Vm.SPECIAL):
        raise KernelError("EINVAL", "no huge page fits the memory, or it must not be huge")
    if vma.space:
        space = machine.spaces[vma.space]
        if not space.is_shmem:
            raise KernelError("EINVAL", "a disk file's pages never become huge")
        if huge_ceil(a) < huge_floor(b):
            raise UnsupportedError("huge pages of shared memory cannot be simulated yet")
        return
    if not vma.anon_vma:
        raise KernelError("EINVAL", "nothing was written in the memory yet")
    lru_add_drain_all(machine)
    madvise_collapse(machine, task, vma, a, b)


def _check_lru(vma: Vma) -> None:
    """Raises KernelError EINVAL for memory that is on no LRU list. Mirrors can_madv_lru_vma()."""
    if vma.flags & (Vm.LOCKED | Vm.PFNMAP | Vm.HUGETLB):
        raise KernelError("EINVAL", "the memory is locked, or no ordinary memory")


_ACTIONS: dict[Madv, Callable[[Machine, Task, Vma, int, int], None]] = {
    Madv.DONTNEED: _dontneed,
    Madv.FREE: _free,
    Madv.COLD: _cold,
    Madv.PAGEOUT: _pageout,
    Madv.COLLAPSE: _collapse,
}
_INJECT = {Madv.HWPOISON: hard_offline, Madv.SOFT_OFFLINE: soft_offline}
_OTHERS = (Madv.POPULATE_READ, Madv.POPULATE_WRITE, *_INJECT)
SIMULATED = {  # any other advice is refused
    advice.name.lower(): advice for advice in sorted((*_FLAGS, *_ACTIONS, *_OTHERS))
}


def _populate(machine: Machine, task: Task, a: int, b: int, write: bool) -> None:
    """Fault in a range. Mirrors madvise_populate() and faultin_page_range()."""
    at = a
    needed = Vm.WRITE if write else Vm.READ
    try:
        for vma, start, end in list(task.mm.parts(a, b)):
            if start > at and machine.release.populate_stops_at_hole:
                break
            if not vma.flags & needed or vma.flags & (Vm.IO | Vm.PFNMAP):
                raise KernelError("EINVAL", "the protection does not allow the access")
            if is_secretmem(machine, vma):
                raise KernelError("EFAULT", "the kernel does not touch secret memory")
            access(machine, task, start, end, write, how=Access.POPULATE)
            at = end
    except Fault as fault:
        errno = "EFAULT" if fault.signal == "SIGBUS" else "ENOMEM"
        errno = "EHWPOISON" if fault.is_bad else errno
        raise KernelError(errno, f"page {fault.page:#x} cannot be had ({fault.signal})") from None
    finally:
        lru_add_drain(machine, task.cpu)
    if task.mm.has_hole(a, b):
        raise KernelError("ENOMEM", "part of the range is not mapped")
