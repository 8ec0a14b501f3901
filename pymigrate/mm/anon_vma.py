"""What the anonymous pages of a VMA hang on. Mirrors mm/rmap.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.mm.vma import prepare_anon_vma

if TYPE_CHECKING:
    from pymigrate.mm.machine import Machine, Task
    from pymigrate.mm.vma import Vma


def anon_vma_prepare(machine: Machine, task: Task, vma: Vma) -> None:
    """Give *vma* an anon_vma if it has none yet. Mirrors vmf_anon_prepare()."""
    if not vma.anon_vma:
        around = [task.mm.find_vma(vma.end), task.mm.find_vma(vma.start - 1)]
        if prepare_anon_vma(vma, [other for other in around if other], machine.next_id):
            machine.new_id()
