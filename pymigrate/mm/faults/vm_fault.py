"""An access, as those who serve it are handed it. Mirrors struct vm_fault."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import RunMap
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vma


class Access(Enum):
    """What a page that is there already notices of an access."""

    LOAD_STORE = 1  # its entry becomes young, or dirty
    POPULATE = 2  # FOLL_TOUCH: its folio becomes dirty
    PIN = 3  # nothing


class VmFault(NamedTuple):
    """Who accesses pages of *vma*, and how."""

    machine: Machine
    task: Task
    vma: Vma
    write: bool = True
    how: Access = Access.LOAD_STORE

    @property
    def table(self) -> RunMap[PteRun]:
        """The page table of the task."""
        return self.task.mm.page_table

    @property
    def is_store(self) -> bool:
        """Whether something is stored; the others that write leave pages as they were."""
        return self.write and self.how == Access.LOAD_STORE

    def touch(self, run: PteRun) -> None:
        """Let the entries of *run*, which allow the access, notice it."""
        flags = run.flags | (STORED if self.write else Pte.YOUNG)
        if flags != run.flags:
            self.table.put(run.start, run.end, run.with_flags(flags))

    def count_faults(self, nr: int = 1) -> None:
        """Count *nr* faults."""
        self.machine.counters.add("pgfault", nr)


STORED = Pte.WRITE | Pte.DIRTY | Pte.YOUNG  # what an entry has that was stored through
