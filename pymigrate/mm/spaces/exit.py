"""The OOM killer, and the end of tasks."""

from __future__ import annotations

from pymigrate.mm.frames.lru_batches import lru_add_drain
from pymigrate.mm.spaces.hugetlb_pool import unreserve
from pymigrate.mm.spaces.pins import unpin_all
from pymigrate.mm.spaces.zap import drop_unmapped_shm, zap
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.numa_group import leave_group
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm


def exit_task(machine: Machine, task: Task) -> None:
    """The end of *task*: its memory is unmapped, its pid is free. Mirrors exit_mmap()."""
    lru_add_drain(machine, task.cpu)
    unpin_all(machine, task)
    leave_group(machine, task)
    del machine.tasks[task.pid]
    free_mm(machine, task)


def free_mm(machine: Machine, task: Task) -> None:
    """Unmap all that *task* has."""
    spaces = {vma.space for vma in task.mm.vmas}
    for vma in task.mm.vmas:
        zap(machine, task, vma, vma.start, vma.end)
        unreserve(machine, task.mm.resv, vma.start, vma.end)
    task.mm.vmas.clear()
    del machine.mms[task.mm.mm_id]
    drop_unmapped_shm(machine, spaces)


def out_of_memory(machine: Machine) -> Task | None:
    """Kill the task with the most pages; return it, or None if there is none to be killed.

    Badness is the resident pages alone: a simulated task has no swap, and no oom_score_adj.
    Mirrors out_of_memory(), mm/oom_kill.c.
    """
    victim = max(machine.tasks.values(), key=resident_pages, default=None)
    if victim is None:
        return None
    machine.counters.add("oom_kill")
    exit_task(machine, victim)
    return victim


def resident_pages(task: Task) -> int:
    """The base pages that *task* maps (its RSS), those of the hugetlb pools not counted."""
    mm = task.mm
    return sum(run.nr for run in mm.page_table.runs if run.lanes) - sum(
        run.nr
        for vma in mm.vmas
        if vma.flags & Vm.HUGETLB
        for run in mm.page_table.between(vma.start, vma.end)
    )
