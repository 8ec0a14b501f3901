"""Stores into every n-th page: absent anonymous pages are faulted in together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.faults.huge_fault import is_thp_allowed
from pymigrate.mm.faults.memory import access
from pymigrate.mm.frames.frames import new_frames
from pymigrate.mm.frames.lru_batches import PAGEVEC_SIZE, folio_add_lru
from pymigrate.mm.frames.page_alloc import fill_run, lanes_of
from pymigrate.mm.frames.placement import placement
from pymigrate.mm.reclaim.slowpath import may_reclaim
from pymigrate.mm.spaces.anon_pages import anon_page_state, vma_policies
from pymigrate.mm.spaces.rmap import anon_vma_prepare
from pymigrate.mm.state.vma import Vm

if TYPE_CHECKING:
    from pymigrate.mm.state.machine import Machine
    from pymigrate.mm.state.policy import Mempolicy
    from pymigrate.mm.state.task import Task
    from pymigrate.mm.state.vma import Vma

MIN_PAGES = 16  # fewer are faulted in one by one


def access_strided(machine: Machine, task: Task, pages: range, write: bool) -> None:
    """Load from, or store into, each of *pages* in ascending order.

    Raises Fault as memory.access() does.
    """
    at = 0
    while at < len(pages):
        done = _store_into_gap(machine, task, pages[at:]) if write else 0
        if not done:
            access(machine, task, pages[at], pages[at] + 1, write)
        at += done or 1


def _store_into_gap(machine: Machine, task: Task, pages: range) -> int:
    """Fault in the pages that lie in one gap of an anonymous VMA; return how many it did."""
    vma = task.mm.find_vma(pages[0])
    if vma is None or vma.space or not vma.flags & Vm.WRITE or is_thp_allowed(machine, vma):
        return 0
    start, end, run = task.mm.page_table.spans(pages[0], vma.end)[0]
    nr = len(range(start, end, pages.step))
    if run is not None or min(nr, len(pages)) < MIN_PAGES:
        return 0
    anon_vma_prepare(machine, task, vma)
    policy, index = next((p, i) for _, _, p, i in vma_policies(machine, task, vma, start, end))
    return _fault_in(machine, task, vma, pages[: min(nr, len(pages))], policy, index)


def _fault_in(
    machine: Machine, task: Task, vma: Vma, pages: range, policy: Mempolicy | None, index: int
) -> int:
    where = placement(machine, task, policy, index, pages.step)
    flags, frame = anon_page_state(task, vma)
    lanes = lanes_of(machine, task, where)
    if may_reclaim(machine):
        lanes = [lane.above_low() for lane in lanes]
    dense = fill_run(machine, task, lanes, PteRun(0, len(pages), (), 0, flags))
    if not dense:
        return 0
    got = dense[-1].end
    new_frames(machine, dense, frame)
    pfns = [pfn for run in dense for pfn in run.pfns()]
    made = [PteRun(page, 1, (pfn,), 0, flags) for page, pfn in zip(pages, pfns, strict=False)]
    task.mm.page_table.insert(made)
    folio_add_lru(machine, task.cpu, got, pfns[-PAGEVEC_SIZE:], bool(vma.flags & Vm.LOCKED))
    machine.counters.add("pgfault", got)
    return got
