"""Ways to hold pages: io_uring's registered buffers (long), vmsplice(2) into a pipe (short)."""

from pymigrate.mm.base.memmap import Busy, FrameFlag
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.calls.gup import pin_pages, unpin_pages
from pymigrate.mm.frames.busy import begin, end
from pymigrate.mm.frames.frames import folio_of, update_folio
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.checks import system_call
from pymigrate.units import page_range


@system_call
def pin(machine: Machine, task: Task, addr: int, length: int, is_long: bool) -> None:
    """Hold each page of *length* bytes of *task* from *addr*: for long, or for a while.

    Raises KernelError EFAULT; ENOMEM for pages that must move first and cannot.
    """
    pin_pages(machine, task, *page_range(addr, length), is_long)


@system_call
def unpin(machine: Machine, task: Task, addr: int, length: int, is_long: bool) -> None:
    """Let go of what pin() holds of that range. Raises KernelError EINVAL if it holds nothing."""
    unpin_pages(machine, task, *page_range(addr, length), is_long)


@system_call
def work_on(
    machine: Machine, task: Task, addr: int, length: int, kind: Busy | None, passes: int
) -> None:
    """Let the pages that *task* maps in a range be worked on (None: no longer); see busy.py."""
    for pfn in _mapped(task, addr, length):
        if kind is None:
            end(machine, folio_of(machine, pfn).pfn)
        else:
            begin(machine, pfn, kind, passes)


@system_call
def add_to_swap_cache(machine: Machine, task: Task, addr: int, length: int) -> None:
    """Let the anonymous folios of a range have a copy in swap, and their places in its cache.

    That is how pages are that were swapped out and read again. There is no swap otherwise: a
    store into such a page gives its place up. Mirrors add_to_swap() and do_swap_page().
    """
    for pfn in _mapped(task, addr, length):
        folio = folio_of(machine, pfn)
        if folio.is_anon and not folio.flags & FrameFlag.HUGETLB:
            update_folio(machine, pfn, lambda frame: frame.with_flags(FrameFlag.SWAPCACHE))


def _mapped(task: Task, addr: int, length: int) -> list[int]:
    """The first frame of each entry that a range has."""
    runs = task.mm.page_table.between(*page_range(addr, length))
    there = [run for run in runs if run.lanes and run.flags & Pte.PRESENT]
    return [pfn for run in there for pfn in run.pfns()]
