"""The OOM killer, and the end of tasks."""

from __future__ import annotations

from pymigrate.mm.frames.lru_batches import lru_add_drain
from pymigrate.mm.spaces.hugetlb_pool import reserve_again, unreserve
from pymigrate.mm.spaces.pins import unpin_all
from pymigrate.mm.spaces.zap import drop_unmapped_shm, zap
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.numa import Faults
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm


def exit_task(machine: Machine, task: Task) -> None:
    """The end of *task*, and of its process if it is the first thread: its pid is free.

    Memory goes with the last that has it mapped. Mirrors do_exit(), do_group_exit(), exit_mmap().
    """
    ending = [task] if task.thread_of else machine.threads_of(task)
    for thread in ending:
        lru_add_drain(machine, thread.cpu)
        leave_group(machine, thread)
        del machine.tasks[thread.pid]
    if not task.thread_of:
        unpin_all(machine, task)
    if not machine.mm_users(task.mm):
        free_mm(machine, task)


def free_mm(machine: Machine, task: Task) -> None:
    """Unmap all that *task* has."""
    spaces = {vma.space for vma in task.mm.vmas}
    for vma in task.mm.vmas:
        if machine.pins:  # of what nobody holds just what was reserved would be given back
            reserve_again(machine, task, vma, vma.start, vma.end)
        zap(machine, task.mm, vma, vma.start, vma.end)
        unreserve(machine, task.mm.resv, vma.start, vma.end)
    task.mm.vmas.clear()
    del machine.mms[task.mm.mm_id]
    drop_unmapped_shm(machine, spaces)


def out_of_memory(machine: Machine) -> Task | None:
    """Kill the process with the most pages; return it, or None if there is none to be killed.

    Badness is the resident pages alone: a simulated task has no swap, and no oom_score_adj.
    Mirrors out_of_memory(), mm/oom_kill.c.
    """
    victim = max(machine.processes, key=resident_pages, default=None)
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


def leave_group(machine: Machine, task: Task) -> None:
    """Take *task* out of its group, with its faults. Mirrors task_numa_free()."""
    group = machine.numa_groups.get(task.numa.group)
    if group is None:
        return
    for key, faults in task.numa_faults.items():
        old = group.faults.get(key, Faults())
        group.faults[key] = Faults(old.mem - faults.mem, old.cpu - faults.cpu)
    group.nr_tasks -= 1
    if not group.nr_tasks:
        del machine.numa_groups[group.gid]
    task.numa = task.numa._replace(group=0)
