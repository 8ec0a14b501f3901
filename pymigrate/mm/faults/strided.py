"""Stores into every n-th page: absent anonymous pages are faulted in together."""

from __future__ import annotations

from pymigrate.mm.faults.anon_fault import fill_anon
from pymigrate.mm.faults.memory import access
from pymigrate.mm.faults.vm_fault import VmFault
from pymigrate.mm.frames.placement import placement
from pymigrate.mm.reclaim.slowpath import alloc_run_above_low
from pymigrate.mm.spaces.anon_pages import vma_policies
from pymigrate.mm.spaces.huge_pmd import is_thp_allowed
from pymigrate.mm.spaces.rmap import anon_vma_prepare
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm

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
    pages = pages[: min(nr, len(pages))]
    _, _, policy, index = next(vma_policies(machine, task, vma, start, end))  # it is the only one
    where = placement(machine, task, policy, index, pages.step)
    vmf = VmFault(machine, task, vma)
    got = fill_anon(vmf, pages, where, zeroed=False, take=alloc_run_above_low)
    vmf.count_faults(got)
    return got
