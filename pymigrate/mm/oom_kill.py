"""The OOM killer, and the end of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymigrate.mm.machine import Machine, Task


def out_of_memory(machine: Machine) -> Task:
    """Kill the task with the most pages; return it. Mirrors out_of_memory(), mm/oom_kill.c.

    Badness is the resident pages alone: a simulated task has no swap, and no oom_score_adj.
    """
    from pymigrate.mm.fork import exit_task

    victim = max(machine.tasks.values(), key=resident_pages)
    machine.counters.add("oom_kill")
    exit_task(machine, victim)
    return victim


def resident_pages(task: Task) -> int:
    """The base pages that *task* maps (its RSS)."""
    return sum(run.nr for run in task.mm.page_table.runs if run.lanes)
