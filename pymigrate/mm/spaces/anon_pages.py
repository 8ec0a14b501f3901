"""What a page of anonymous memory begins as, and how an access ends."""

from __future__ import annotations

from collections.abc import Iterator

from pymigrate.mm.base.memmap import Frame, FrameFlag
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.frames.page_alloc import finds_no_zone
from pymigrate.mm.spaces.exit import out_of_memory
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma

SIGSEGV, SIGBUS, SIGKILL = "SIGSEGV", "SIGBUS", "SIGKILL"
ENOMEM = "ENOMEM"  # nobody is killed, but who has asked for a page to pin it gets none
NEW = Pte.PRESENT | Pte.YOUNG  # an entry just made


class Fault(Exception):  # noqa: N818  (not an error: how an access ends)
    """An access that cannot be satisfied: the signal (or ENOMEM), and the page it came at.

    *is_bad*: for the page was taken out of use (VM_FAULT_HWPOISON).
    """

    def __init__(self, signal: str, page: int, is_bad: bool = False) -> None:
        super().__init__(signal)
        self.signal, self.page, self.is_bad = signal, page, is_bad


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


def vma_policy(machine: Machine, vma: Vma, page: int) -> Mempolicy | None:
    """The policy of *page* of *vma*, which may have none. Mirrors __get_vma_policy()."""
    space = machine.spaces[vma.space] if vma.space else None
    return space.policy_at(vma.index(page)) if space and space.is_shmem else vma.policy


def anon_page_state(
    task: Task, vma: Vma, order: int = 0, zeroed: bool = False
) -> tuple[int, Frame]:
    """The entry flags and the frame of an anonymous page that was just stored into.

    A huge page's if it has an *order*; it holds nothing yet if it is *zeroed*. Mirrors
    do_anonymous_page() and __do_huge_pmd_anonymous_page().
    """
    flags = NEW | Pte.DIRTY | Pte.EXCLUSIVE | (Pte.WRITE if vma.flags & Vm.WRITE else 0)
    kind = FrameFlag.ANON | FrameFlag.SWAPBACKED
    kind |= FrameFlag.MLOCKED if vma.flags & Vm.LOCKED else 0
    kind |= FrameFlag.ZEROED if zeroed else 0
    kind |= FrameFlag.QUEUED if order else 0
    return flags, Frame(task.mm.family, kind, int(not order), int(bool(order)), order)


def kill_for_memory(machine: Machine, task: Task, page: int) -> None:
    """Memory ran out at *page*: a process is killed. Raises Fault SIGKILL if it is *task*'s.

    Nobody is, but Fault ENOMEM is raised, if what will be pinned for long finds no zone.
    """
    if finds_no_zone(machine, task):
        raise Fault(ENOMEM, page)
    victim = out_of_memory(machine)
    if victim is None or victim.pid == task.tgid:
        raise Fault(SIGKILL, page)
