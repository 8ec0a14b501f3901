"""The OOM killer, and the end of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.mm.vma import Vm

if TYPE_CHECKING:
    from pymigrate.mm.machine import Machine, Task


def out_of_memory(machine: Machine) -> Task | None:
    """Kill the task with the most pages; return it, or None if there is none to be killed.

    Badness is the resident pages alone: a simulated task has no swap, and no oom_score_adj.
    Mirrors out_of_memory(), mm/oom_kill.c.
    """
    from pymigrate.mm.fork import exit_task

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
