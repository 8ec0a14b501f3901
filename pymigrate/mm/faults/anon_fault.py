"""An access, as those who serve it are handed it, and new pages of anonymous memory.

Mirrors struct vm_fault, and do_anonymous_page(), mm/memory.c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum

from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import RunMap
from pymigrate.mm.faults.filemap import last_pfns
from pymigrate.mm.frames.frames import new_frames
from pymigrate.mm.frames.lru_batches import folio_add_lru
from pymigrate.mm.frames.placement import Placement, placement
from pymigrate.mm.reclaim.slowpath import alloc_run_slowpath
from pymigrate.mm.spaces.anon_pages import Fault, anon_page_state, kill_for_memory, vma_policies
from pymigrate.mm.spaces.rmap import anon_vma_prepare
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.records import NamedTuple

STORED = Pte.WRITE | Pte.DIRTY | Pte.YOUNG  # what an entry has that was stored through
Take = Callable[[Machine, Task, Placement, PteRun], list[PteRun]]


class Access(Enum):
    """What a page that is there already notices of an access."""

    LOAD_STORE = 1  # its entry becomes young, or dirty
    POPULATE = 2  # FOLL_TOUCH: its folio becomes dirty
    PIN = 3  # nothing: the page is found without a lock, by gup_fast()
    PIN_SLOW = 4  # FOLL_TOUCH, from the first page on that is not found so

    @property
    def is_pin(self) -> bool:
        """Whether entries are followed though they wait to be seen used."""
        return self in (Access.PIN, Access.PIN_SLOW)


class VmFault(NamedTuple):
    """Who accesses pages of *vma*, and how."""

    machine: Machine
    task: Task
    vma: Vma
    write: bool = True
    how: Access = Access.LOAD_STORE

    @property
    def table(self) -> RunMap[PteRun]:
        """The page table of the task."""
        return self.task.mm.page_table

    @property
    def is_store(self) -> bool:
        """Whether something is stored; the others that write leave pages as they were."""
        return self.write and self.how == Access.LOAD_STORE

    def touch(self, run: PteRun) -> None:
        """Let the entries of *run*, which allow the access, notice it."""
        flags = run.flags | (STORED if self.write else Pte.YOUNG)
        if flags != run.flags:
            self.table.put(run.start, run.end, run.with_flags(flags))

    def count_faults(self, nr: int = 1) -> None:
        """Count *nr* faults."""
        self.machine.counters.add("pgfault", nr)


@contextmanager
def counted(machine: Machine, a: int, b: int, name: str = "pgfault") -> Iterator[None]:
    """Count a fault for each of pages [a, b) that are had meanwhile, and the one that fails.

    Mirrors mm_account_fault().
    """
    try:
        yield
    except Fault as fault:
        b = fault.page + 1
        raise
    finally:
        machine.counters.add(name, b - a)


def map_anon(
    vmf: VmFault, a: int, b: int, zeroed: bool = False, take: Take = alloc_run_slowpath
) -> None:
    """New anonymous base pages for [a, b); what was mapped there is replaced.

    They are written to, and hold something unless *zeroed*; *take* finds frames for them.

    Raises Fault SIGKILL when memory runs out and the task is the one to be killed.
    """
    machine, task = vmf.machine, vmf.task
    anon_vma_prepare(machine, task, vmf.vma)
    for start, end, policy, first in vma_policies(machine, task, vmf.vma, a, b):
        at = start
        while at < end:
            where = placement(machine, task, policy, first + at - start)
            got = fill_anon(vmf, range(at, end), where, zeroed, take)
            if not got:
                kill_for_memory(machine, task, at)
            at += got


def fill_anon(vmf: VmFault, pages: range, where: Placement, zeroed: bool, take: Take) -> int:
    """New pages for the first of *pages*; how many *take* found frames for.

    *where* counts from the first of them. Pages that are not adjacent must be absent, and are
    mapped at once: their frames are the same as one by one, for a fault changes nothing that the
    next one looks at but what is free.
    """
    task, vma = vmf.task, vmf.vma
    flags, frame = anon_page_state(task, vma, zeroed=zeroed)
    runs = take(vmf.machine, task, where, PteRun(pages.start, len(pages), (), 0, flags))
    if not runs:
        return 0
    new_frames(vmf.machine, runs, frame)
    if pages.step == 1:
        vmf.table.edit([(run.start, run.end, (run,)) for run in runs])
    else:
        pfns = [pfn for run in runs for pfn in run.pfns()]
        vmf.table.insert(
            [PteRun(page, 1, (pfn,), 0, flags) for page, pfn in zip(pages, pfns, strict=False)]
        )
    got = runs[-1].end - pages.start
    folio_add_lru(vmf.machine, task.cpu, got, last_pfns(runs), bool(vma.flags & Vm.LOCKED))
    return got
