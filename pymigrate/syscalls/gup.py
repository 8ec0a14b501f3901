"""Ways to hold pages: io_uring's registered buffers (long), vmsplice(2) into a pipe (short)."""

from pymigrate.mm.gup import pin_pages, unpin_pages
from pymigrate.mm.machine import Machine, Task
from pymigrate.units import PAGE_SHIFT, pages_of


def pin(machine: Machine, task: Task, addr: int, length: int, is_long: bool) -> None:
    """Hold each page of a range. Raises KernelError EFAULT."""
    pin_pages(machine, task, *_pages(addr, length), is_long)


def unpin(machine: Machine, task: Task, addr: int, length: int, is_long: bool) -> None:
    """Let go of a range that is held. Raises KernelError EINVAL."""
    unpin_pages(machine, task, *_pages(addr, length), is_long)


def _pages(addr: int, length: int) -> tuple[int, int]:
    a = addr >> PAGE_SHIFT
    return a, a + pages_of(addr - (a << PAGE_SHIFT) + length)
