"""How calls find room for what they move: kswapd reclaims, memory is compacted, pools grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.mm.base.gfp import TRANSHUGE
from pymigrate.mm.frames.page_alloc import free_pages
from pymigrate.mm.reclaim.direct_alloc import alloc_large_folio
from pymigrate.mm.reclaim.hugetlb import alloc_for_migration
from pymigrate.mm.reclaim.slowpath import have_room_to_migrate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymigrate.mm.engine.folio_list import Slice
    from pymigrate.mm.frames.placement import Placement
    from pymigrate.mm.state.machine import Machine
    from pymigrate.mm.state.task import Task


class MakesRoom:
    """Compacts memory for large folios; *reclaims*: kswapd is woken for what a call will need."""

    def __init__(self, reclaims: bool) -> None:
        self.reclaims = reclaims

    def prepare(
        self, machine: Machine, caller: Task, where: Placement, queue: Sequence[Slice]
    ) -> None:
        """Let kswapd reclaim what *queue* will need, if this one *reclaims*."""
        if self.reclaims:
            have_room_to_migrate(machine, caller, where, queue)

    def alloc(self, machine: Machine, caller: Task, where: Placement, order: int) -> int | None:
        """A block that is free, or made free."""
        return alloc_large_folio(machine, caller, where, order, TRANSHUGE)

    def alloc_huge_page(
        self, machine: Machine, caller: Task, where: Placement, falls_back: bool
    ) -> tuple[int, bool] | None:
        """A page of a pool, or a fresh one."""
        return alloc_for_migration(machine, caller, where, falls_back)

    def put(self, machine: Machine, pfn: int, nr: int) -> None:
        """The block is free again."""
        free_pages(machine, [(pfn, nr)])


FOR_CALLS, FOR_THE_KERNEL = MakesRoom(reclaims=True), MakesRoom(reclaims=False)
