"""Taking pages out of use: MADV_SOFT_OFFLINE, and the file soft_offline_page in sysfs."""

from pymigrate.errors import KernelError
from pymigrate.mm.faults.anon_fault import Access
from pymigrate.mm.faults.memory import access
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.offline.memory_failure import soft_offline_page
from pymigrate.mm.offline.memory_hotplug import model_pfn
from pymigrate.mm.spaces.anon_pages import Fault
from pymigrate.mm.spaces.pins import is_secretmem
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Cap, Task
from pymigrate.mm.state.vma import Vm
from pymigrate.syscalls.checks import check_root
from pymigrate.units import PAGE_SHIFT, page_range


def soft_offline(machine: Machine, task: Task, addr: int, length: int) -> None:
    """Take the pages of *length* bytes of *task* out of use, up to the first that stays.

    Of a large folio only the first page in the range is taken. Absent pages are faulted in.

    Raises KernelError EPERM, EFAULT, EIO for the zero page; EBUSY, ENOMEM. Mirrors
    madvise_inject_error().
    """
    if not task.has(Cap.SYS_ADMIN):
        raise KernelError("EPERM", "only who has CAP_SYS_ADMIN may take pages out of use")
    at, end = page_range(addr, length)
    while at < end:
        pfn = _fault_in(machine, task, at)
        order = frame_of(machine, pfn).order
        soft_offline_page(machine, pfn)
        at += 1 << order


def soft_offline_store(machine: Machine, caller: Task, address: int) -> None:
    """Take the page at a physical address out of use.

    Raises KernelError EACCES; ENXIO where there is no memory; EIO, EBUSY, ENOMEM. Mirrors
    soft_offline_page_store().
    """
    check_root(caller, "only root may take pages out of use")
    pfn = model_pfn(machine, address >> PAGE_SHIFT)
    if pfn is None:
        raise KernelError("ENXIO", f"there is no memory at {address:#x}")
    soft_offline_page(machine, pfn)


def _fault_in(machine: Machine, task: Task, page: int) -> int:
    """The frame of *page*, read if it must be. Mirrors get_user_pages_fast()."""
    vma = task.mm.find_vma(page)
    if vma is None or not vma.flags & Vm.READ or is_secretmem(machine, vma):
        raise KernelError("EFAULT", f"page {page:#x} cannot be had")
    try:
        access(machine, task, page, page + 1, write=False, how=Access.PIN)
    except Fault:
        raise KernelError("EFAULT", f"page {page:#x} cannot be had") from None
    run = task.mm.page_table.at(page)
    if run is None or not run.lanes:
        raise KernelError("EIO", f"page {page:#x} is the zero page")
    return run.pfn(page)
