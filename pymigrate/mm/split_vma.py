"""Huge pages where a VMA is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.mm.huge_memory import split_huge_pmd_at
from pymigrate.mm.hugetlb import check_split
from pymigrate.mm.vma import Vm
from pymigrate.units import HPAGE_PMD_NR

if TYPE_CHECKING:
    from pymigrate.mm.machine import Machine, Task
    from pymigrate.mm.vma import Vma


def prepare_split(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> Vma:
    """Let *vma* be fit to be cut before pages *a* and *b*; return the part that has *a*.

    A huge entry that reaches across is split: vma_adjust_trans_huge(). Raises KernelError EINVAL
    for a cut inside a page of the hugetlb pools, with a good first cut made: vma_modify().
    """
    if vma.flags & Vm.HUGETLB:
        check_split(vma, a)
        if vma.start < a and b % HPAGE_PMD_NR:
            vma = task.mm.split(vma, a)
        check_split(vma, b)
        return vma
    for end in (a, b):
        split_huge_pmd_at(machine, task.mm, end)
    return vma
