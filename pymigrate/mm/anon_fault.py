"""Anonymous memory: new pages for it, private copies, and what is done when there is no room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.mm import filemap
from pymigrate.mm.anon_vma import anon_vma_prepare
from pymigrate.mm.frames import new_frames
from pymigrate.mm.memmap import Frame, FrameFlag
from pymigrate.mm.mempolicy import placement
from pymigrate.mm.oom_kill import out_of_memory
from pymigrate.mm.page_alloc import alloc_pages
from pymigrate.mm.pte import Pte, PteRun, weave
from pymigrate.mm.rmap import remove_rmap
from pymigrate.mm.slowpath import alloc_pages_slowpath
from pymigrate.mm.swap import folio_add_lru
from pymigrate.mm.vma import Vm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymigrate.mm.machine import Machine, Task
    from pymigrate.mm.mempolicy import Mempolicy
    from pymigrate.mm.vma import Vma

SIGSEGV, SIGBUS, SIGKILL = "SIGSEGV", "SIGBUS", "SIGKILL"
NEW = Pte.PRESENT | Pte.YOUNG  # an entry just made


class Fault(Exception):  # noqa: N818  (not an error: how an access ends)
    """An access that cannot be satisfied: the signal, and the page it came at."""

    def __init__(self, signal: str, page: int) -> None:
        super().__init__(signal)
        self.signal, self.page = signal, page


def vma_policies(
    machine: Machine, task: Task, vma: Vma, a: int, b: int
) -> Iterator[tuple[int, int, Mempolicy | None, int]]:
    """Pages [a, b) cut where the policy changes: start, end, policy, interleave index of start.

    Mirrors get_vma_policy() with the shmem object's policy.
    """
    space = machine.spaces[vma.space] if vma.space else None
    if space is None or not space.is_shmem:
        yield a, b, vma.policy or task.policy, vma.index(a)
        return
    for lo, hi, run in space.policies.spans(vma.index(a), vma.index(b)):
        shift = vma.start - vma.pgoff
        yield lo + shift, hi + shift, run.policy if run else task.policy, lo + space.inode


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
    flags, frame = anon_page_state(task, vma)
    if zeroed:
        frame = frame.with_flags(FrameFlag.ZEROED)
    locked = bool(vma.flags & Vm.LOCKED)
    made: list[PteRun] = []
    for start, end, policy, first in vma_policies(machine, task, vma, a, b):
        at = start
        while at < end:
            where = placement(machine, task, policy)
            bits = machine.release.interleave_index_bits
            index = (first + at - start) & ((1 << bits) - 1)
            take = alloc_pages_slowpath if reclaims else alloc_pages
            lanes, got = take(machine, task, where, index, end - at)
            runs = weave(at, got, lanes[:got], 0, flags) if got else []
            new_frames(machine, runs, frame)
            task.mm.page_table.edit([(run.start, run.end, (run,)) for run in runs])
            folio_add_lru(machine, task.cpu, got, filemap.last_pfns(runs), locked)
            made += runs
            at += got
            if not got:
                kill_for_memory(machine, task, at)
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


def anon_page_state(task: Task, vma: Vma) -> tuple[int, Frame]:
    """The entry flags and the frame of an anonymous page that was just stored into."""
    flags = NEW | Pte.DIRTY | Pte.EXCLUSIVE | (Pte.WRITE if vma.flags & Vm.WRITE else 0)
    kind = FrameFlag.ANON | FrameFlag.SWAPBACKED
    kind |= FrameFlag.MLOCKED if vma.flags & Vm.LOCKED else 0
    return flags, Frame(task.mm.family, kind, 1)


def kill_for_memory(machine: Machine, task: Task, page: int) -> None:
    """Memory ran out at *page*: a task is killed. Raises Fault SIGKILL if it is *task*."""
    victim = out_of_memory(machine)
    if victim is None or victim is task:
        raise Fault(SIGKILL, page)
