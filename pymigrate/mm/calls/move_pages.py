"""move_pages(): single pages go where each is told. Mirrors do_pages_move(), mm/migrate.c."""

from __future__ import annotations

from collections.abc import Sequence

from pymigrate.mm.base.memmap import FrameFlag, nid_of
from pymigrate.mm.calls.cpuset import cpuset_mems_allowed
from pymigrate.mm.calls.move_pages_bulk import planned
from pymigrate.mm.calls.move_pages_loop import (
    EACCES,
    EBUSY,
    EFAULT,
    ENOMEM,
    Loop,
    MovePagesResult,
    without_frame,
)
from pymigrate.mm.engine.folio_list import Slice, mapped_folio
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.frames.frames import folio_of, frame_of
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.frames.placement import ThisNode
from pymigrate.mm.reclaim.room import FOR_CALLS
from pymigrate.mm.state.machine import Machine, note_left
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vma, is_migratable
from pymigrate.nodemask import Nodemask
from pymigrate.units import MAX_NUMNODES


def do_pages_stat(machine: Machine, target: Task, pages: Sequence[int]) -> list[int]:
    """The node of each page, or a negative errno. Mirrors do_pages_stat_array()."""
    return [_stat(machine, target, page) for page in pages]


def do_pages_move(
    machine: Machine,
    caller: Task,
    target: Task,
    pages: Sequence[int],
    nodes: Sequence[int],
    move_all: bool,
) -> MovePagesResult:
    """Move each of *target*'s *pages* to the node at the same place in *nodes*.

    Pages are moved in runs of one target node; a page that is
    not queued ends a run.
    """
    lru_add_drain_all(machine)
    refused = _refused_nodes(machine, set(nodes), cpuset_mems_allowed(machine, target))
    plan = planned(machine, target, pages, move_all)
    if plan is not None:
        result = Loop(plan, refused).play(pages, nodes)
        if plan.carry_out(caller):
            return result
    one_by_one = _OneByOne(machine, caller, target, move_all)
    return Loop(one_by_one, refused).play(pages, nodes)


def _refused_nodes(machine: Machine, nodes: set[int], allowed: Nodemask) -> dict[int, str]:
    """Those of *nodes* that end the call, and with which errno."""
    memory = machine.memory_nodes
    refused = {}
    for node in nodes:
        if not 0 <= node < MAX_NUMNODES or node not in memory:
            refused[node] = "ENODEV"
        elif node not in allowed:
            refused[node] = "EACCES"
    return refused


class _OneByOne:
    """Isolates folios as they are met, and lets the engine move each run of them."""

    def __init__(self, machine: Machine, caller: Task, target: Task, move_all: bool) -> None:
        self.machine, self.caller, self.target = machine, caller, target
        self.move_all = move_all
        self.queue: list[Slice] = []
        self.isolated: set[int] = set()

    def place(self, page: int) -> int:
        """The frame of *page*, or the negative errno that is its status."""
        vma = self.target.mm.find_vma(page)
        if vma is None or not is_migratable(vma):
            return EFAULT
        return _followed(self.machine, self.target, vma, page)

    def isolate(self, page: int, pfn: int) -> int | None:
        """Put the folio on the list for the engine, or say why it is not queued."""
        if not self._may_move(pfn):
            return EACCES
        vma, run = self.target.mm.find_vma(page), self.target.mm.page_table.at(page)
        assert vma is not None
        assert run is not None
        part = mapped_folio(self.machine, vma, run, page)
        first = part.run.lanes[0]
        if first in self.isolated:
            return EBUSY
        self.isolated.add(first)
        self.queue.append(part)
        return None

    def migrate(self, node: int) -> int:
        """Move what is isolated to *node*: how many folios stayed, or -ENOMEM."""
        where = ThisNode(node)
        result = migrate_pages(self.machine, self.caller, self.queue, where, room=FOR_CALLS)
        note_left(self.machine, result.stays())
        self.queue, self.isolated = [], set()
        return ENOMEM if result.is_enomem else result.stayed

    def _may_move(self, pfn: int) -> bool:
        """Whether the folio is not shared, or may be moved all the same.

        Before there were folios, a tail page of hugetlb memory could not be named, either.
        """
        folio, frame = folio_of(self.machine, pfn), frame_of(self.machine, pfn)
        if self.machine.release.folios_not_pages:
            return self.move_all or not folio.likely_shared
        is_tail = frame.flags & FrameFlag.HUGETLB and pfn != folio.pfn
        return not is_tail and (self.move_all or frame.mapcount <= 1)


def _stat(machine: Machine, target: Task, page: int) -> int:
    vma = target.mm.find_vma(page)
    if vma is None:
        return EFAULT
    pfn = _followed(machine, target, vma, page)
    return pfn if pfn < 0 else nid_of(pfn)


def _followed(machine: Machine, target: Task, vma: Vma, page: int) -> int:
    """The frame of *page* in *vma*, or the negative errno that says why there is none."""
    run = target.mm.page_table.at(page)
    return without_frame(machine.release, vma, run) or (run.pfn(page) if run else 0)
