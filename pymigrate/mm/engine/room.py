"""Who finds room for the folios that migrate: the engine is told, and knows no compaction."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.frames.page_alloc import alloc_folio, free_pages
from pymigrate.mm.frames.placement import Placement
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task


class Room:
    """What one call of the engine may do for its destinations: here, take what is free."""

    def prepare(
        self, machine: Machine, caller: Task, where: Placement, queue: Sequence[Slice]
    ) -> bool:
        """Make room for all of *queue*, of which nothing has moved; whether it made some."""
        return False

    def alloc(self, machine: Machine, caller: Task, where: Placement, order: int) -> int | None:
        """The first frame of a free block, for the first turn of *where*."""
        return alloc_folio(machine, caller, where, order)

    def alloc_huge_page(
        self, machine: Machine, caller: Task, where: Placement, falls_back: bool
    ) -> tuple[int, bool] | None:
        """The first frame of a hugetlb page, and whether it is a fresh, temporary one.

        None here: who moves pages behind their users' backs leaves the pools alone.
        """
        return None

    def put(self, machine: Machine, pfn: int, nr: int) -> None:
        """Take back a block that alloc() gave, and that was not used."""
        free_pages(machine, [(pfn, nr)])


class InFrames(Room):
    """Hands out frames that were isolated, one by one: what compaction moves base pages to."""

    def __init__(self, pfns: Sequence[int]) -> None:
        self.pfns = deque(pfns)

    def alloc(self, machine: Machine, caller: Task, where: Placement, order: int) -> int | None:
        """The next frame. Mirrors compaction_alloc()."""
        assert not order, "base pages alone move to isolated frames"
        return self.pfns.popleft() if self.pfns else None

    def put(self, machine: Machine, pfn: int, nr: int) -> None:
        """The frame comes last. Mirrors compaction_free()."""
        self.pfns.append(pfn)


AS_IT_IS = Room()
