"""Anonymous memory: new pages for it, private copies, and what is done when there is no room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.faults import filemap
from pymigrate.mm.frames.frames import new_frames
from pymigrate.mm.frames.lru_batches import folio_add_lru
from pymigrate.mm.frames.page_alloc import alloc_run
from pymigrate.mm.frames.placement import placement
from pymigrate.mm.reclaim.slowpath import alloc_run_slowpath
from pymigrate.mm.spaces.anon_pages import Fault, anon_page_state, kill_for_memory, vma_policies
from pymigrate.mm.spaces.rmap import anon_vma_prepare, remove_rmap
from pymigrate.mm.state.vma import Vm

if TYPE_CHECKING:
    from pymigrate.mm.state.machine import Machine
    from pymigrate.mm.state.task import Task
    from pymigrate.mm.state.vma import Vma


def map_anon(
    machine: Machine,
    task: Task,
    vma: Vma,
    a: int,
    b: int,
    zeroed: bool = False,
    reclaims: bool = True,
) -> list[PteRun]:
    """New anonymous base pages for [a, b); what was mapped there is replaced.

    They are written to, and hold something unless *zeroed*; others may be reclaimed for them.

    Raises Fault SIGKILL when memory runs out and *task* is the one to be killed.
    """
    anon_vma_prepare(machine, task, vma)
    flags, frame = anon_page_state(task, vma, zeroed=zeroed)
    locked = bool(vma.flags & Vm.LOCKED)
    made: list[PteRun] = []
    for start, end, policy, first in vma_policies(machine, task, vma, a, b):
        at = start
        while at < end:
            where = placement(machine, task, policy, first + at - start)
            take = alloc_run_slowpath if reclaims else alloc_run
            wanted = PteRun(at, end - at, (), 0, flags)
            runs = take(machine, task, where, wanted)
            if not runs:
                kill_for_memory(machine, task, at)
                continue
            new_frames(machine, runs, frame)
            task.mm.page_table.edit([(run.start, run.end, (run,)) for run in runs])
            folio_add_lru(machine, task.cpu, runs[-1].end - at, filemap.last_pfns(runs), locked)
            made += runs
            at = runs[-1].end
    return made


def wp_page_copy(machine: Machine, task: Task, vma: Vma, run: PteRun, zeroed: bool) -> None:
    """Give *task* private copies in place of the pages of *run*, as if it had stored into them.

    Raises Fault SIGKILL. Mirrors wp_page_copy().
    """
    end = run.end
    try:
        map_anon(machine, task, vma, run.start, run.end, zeroed, reclaims=False)
    except Fault as fault:
        end = fault.page  # the end of the task has unmapped the others
        raise
    finally:
        if run.start < end:
            remove_rmap(machine, [run.clip(run.start, end).with_flags(run.flags & Pte.KSM)])
