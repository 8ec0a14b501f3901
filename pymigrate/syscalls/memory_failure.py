"""Taking pages out of use: MADV_HWPOISON, MADV_SOFT_OFFLINE, and two files in sysfs."""

from collections.abc import Callable

from pymigrate.errors import KernelError
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.faults.anon_fault import Access
from pymigrate.mm.faults.memory import access
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.offline.memory_failure import (
    ZERO_PAGE,
    memory_failure,
    soft_offline_page,
    zero_page_failure,
)
from pymigrate.mm.offline.memory_hotplug import model_pfn
from pymigrate.mm.spaces.anon_pages import Fault
from pymigrate.mm.spaces.pins import is_secretmem
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Cap, Task
from pymigrate.mm.state.vma import Vm
from pymigrate.records import NamedTuple
from pymigrate.syscalls.checks import check_root, system_call
from pymigrate.units import HPAGE_PMD_NR, PAGE_SHIFT, page_range


@system_call
def hard_offline(machine: Machine, task: Task, addr: int, length: int) -> None:
    """Let the pages of *length* bytes of *task* be bad, up to the first that cannot be.

    Of a large folio only the first page in the range is. Absent pages are faulted in.

    Raises KernelError EPERM, EFAULT; EBUSY, EHWPOISON. Mirrors madvise_inject_error().
    """

    def fail(run: PteRun, page: int) -> None:
        if run.lanes:
            memory_failure(machine, run.pfn(page))
        else:
            zero_page_failure(machine, page % HPAGE_PMD_NR if run.order else ZERO_PAGE)

    _inject_error(machine, task, addr, length, fail)


@system_call
def soft_offline(machine: Machine, task: Task, addr: int, length: int) -> None:
    """Take the pages of *length* bytes of *task* out of use, up to the first that stays.

    Of a large folio only the first page in the range is taken. Absent pages are faulted in.

    Raises KernelError EPERM, EFAULT, EIO for the zero page; EBUSY, ENOMEM. Mirrors
    madvise_inject_error().
    """

    def offline(run: PteRun, page: int) -> None:
        if not run.lanes:
            raise KernelError("EIO", f"page {page:#x} is the zero page")
        soft_offline_page(machine, run.pfn(page))

    _inject_error(machine, task, addr, length, offline)


class Offline(NamedTuple):
    """A way to take pages out of use: those of a task's range, or the one at a physical address."""

    of_task: Callable[[Machine, Task, int, int], None]
    store: Callable[[Machine, Task, int], None]


def _inject_error(
    machine: Machine, task: Task, addr: int, length: int, inject: Callable[[PteRun, int], None]
) -> None:
    """Do *inject* for the pages of a range, one of each folio."""
    if not task.has(Cap.SYS_ADMIN):
        raise KernelError("EPERM", "only who has CAP_SYS_ADMIN may take pages out of use")
    at, end = page_range(addr, length)
    while at < end:
        run = _fault_in(machine, task, at)
        order = frame_of(machine, run.pfn(at)).order if run.lanes else run.order
        inject(run, at)
        at += 1 << order


@system_call
def hard_offline_store(machine: Machine, caller: Task, address: int) -> None:
    """Let the page at a physical address be bad.

    Raises KernelError EACCES; ENXIO where there is no memory; EBUSY, EHWPOISON. Mirrors
    hard_offline_page_store().
    """
    memory_failure(machine, _page_at(machine, caller, address))


@system_call
def soft_offline_store(machine: Machine, caller: Task, address: int) -> None:
    """Take the page at a physical address out of use.

    Raises KernelError EACCES; ENXIO where there is no memory; EIO, EBUSY, ENOMEM. Mirrors
    soft_offline_page_store().
    """
    soft_offline_page(machine, _page_at(machine, caller, address))


def _page_at(machine: Machine, caller: Task, address: int) -> int:
    check_root(caller, "only root may take pages out of use")
    pfn = model_pfn(machine, address >> PAGE_SHIFT)
    if pfn is None:
        raise KernelError("ENXIO", f"there is no memory at {address:#x}")
    return pfn


def _fault_in(machine: Machine, task: Task, page: int) -> PteRun:
    """The entry of *page*, read if it must be. Mirrors get_user_pages_fast()."""
    vma = task.mm.find_vma(page)
    if vma is None or not vma.flags & Vm.READ or is_secretmem(machine, vma):
        raise KernelError("EFAULT", f"page {page:#x} cannot be had")
    try:
        access(machine, task, page, page + 1, write=False, how=Access.PIN)
    except Fault:
        raise KernelError("EFAULT", f"page {page:#x} cannot be had") from None
    run = task.mm.page_table.at(page)
    assert run is not None, "it was faulted in"
    return run


HARD = Offline(hard_offline, hard_offline_store)
SOFT = Offline(soft_offline, soft_offline_store)
