"""How calls find room for what they move: kswapd reclaims, memory is compacted, pools grow."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

from pymigrate.mm.base.gfp import TRANSHUGE
from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.engine.migrate import MigrateResult, migrate_pages
from pymigrate.mm.engine.room import Room
from pymigrate.mm.frames.page_alloc import shortage
from pymigrate.mm.frames.placement import Placement
from pymigrate.mm.state.events import MigrateReason
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task


class MakesRoom(Room):
    """Compacts memory for large folios; *reclaims*: kswapd is woken for what a call will need."""

    def __init__(self, reclaims: bool) -> None:
        self.reclaims = reclaims

    def prepare(
        self, machine: Machine, caller: Task, where: Placement, queue: Sequence[Slice]
    ) -> bool:
        """Let kswapd reclaim what *queue* will need, if this one *reclaims*."""
        if not self.reclaims or not has_reclaimable(machine):
            return False
        huge = FrameFlag.HUGETLB
        nr = sum(part.nr for part in queue if not part.states.first.flags & huge)
        if not shortage(machine, caller, where, nr):
            return False
        have_room = _module("reclaim.slowpath").have_room_to_migrate
        return bool(have_room(machine, caller, where, queue, nr))

    def alloc(self, machine: Machine, caller: Task, where: Placement, order: int) -> int | None:
        """A block that is free, or made free."""
        pfn = super().alloc(machine, caller, where, order)
        if pfn is None and order:
            large = _module("compact.direct").alloc_large_folio
            pfn = large(machine, caller, where, order, TRANSHUGE)
        return pfn

    def alloc_huge_page(
        self, machine: Machine, caller: Task, where: Placement, falls_back: bool
    ) -> tuple[int, bool] | None:
        """A page of a pool, or a fresh one."""
        page: tuple[int, bool] | None = _module("reclaim.hugetlb").alloc_for_migration(
            machine, caller, where, falls_back
        )
        return page


def has_reclaimable(machine: Machine) -> bool:
    """Whether reclaim may find anything: pages may be demoted, or freed."""
    return machine.demotion or has_freeable(machine)


def has_freeable(machine: Machine) -> bool:
    """Whether pages of a disk are cached, or some were lazily freed, or huge ones may be split."""
    if any(space.is_disk and space.pages.runs for space in machine.spaces.values()):
        return True
    return bool(machine.counters["pglazyfree"]) or has_huge_pages(machine)


def has_huge_pages(machine: Machine) -> bool:
    """Whether there may be transparent huge pages, which are split if they hold too little."""
    return bool(machine.counters["thp_fault_alloc"] or machine.counters["thp_collapse_alloc"])


FOR_CALLS, FOR_THE_KERNEL = MakesRoom(reclaims=True), MakesRoom(reclaims=False)


def migrate_for_the_kernel(
    machine: Machine, queue: Sequence[Slice], where: Placement, reason: MigrateReason
) -> MigrateResult:
    """Move the folios of *queue* as migrate_pages() does, on behalf of the kernel itself."""
    return migrate_pages(machine, machine.shell_of(0), queue, where, reason, room=FOR_THE_KERNEL)


@cache
def _module(name: str) -> Any:  # a module
    """A module of this layer or the next, imported when it is first needed.

    Reclaim and compaction are a third of the core, and a call on a machine with memory to spare
    needs none of it: its start would take a tenth longer.
    """
    return import_module(f"pymigrate.mm.{name}")
