"""move_pages(): single pages go where each is told. Mirrors do_pages_move(), mm/migrate.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pymigrate.errors import ERRNO
from pymigrate.mm.base.memmap import FrameFlag, nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.calls.cpuset import cpuset_mems_allowed
from pymigrate.mm.calls.move_pages_bulk import play
from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.frames.frames import folio_of, frame_of
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.frames.placement import ThisNode
from pymigrate.mm.reclaim.room import FOR_CALLS
from pymigrate.mm.spaces.rmap import rmap_index
from pymigrate.mm.state.machine import note_left
from pymigrate.mm.state.vma import Vm, Vma, is_migratable
from pymigrate.units import MAX_NUMNODES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymigrate.mm.base.memmap import Frame
    from pymigrate.mm.state.machine import Machine
    from pymigrate.mm.state.task import Task
    from pymigrate.nodemask import Nodemask


class MovePagesResult(NamedTuple):
    """What the call answers: a status for each page that the kernel wrote one for, else None."""

    ret: int
    errno: str | None
    status: list[int | None]


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
    stop = next((i for i, node in enumerate(nodes) if node in refused), None)
    errno = None if stop is None else refused[nodes[stop]]
    status = play(machine, caller, target, pages[:stop], nodes[:stop], move_all)
    if status is not None:
        status += [None] * (len(pages) - len(status))
        return MovePagesResult(-1 if errno else 0, errno, status)
    loop = _Loop(machine, caller, target, pages, move_all)
    for i, node in enumerate(nodes[:stop]):
        loop.at = i
        left = loop.add(pages[i], node)
        if left is not None:
            return loop.answer(left)
    loop.at = len(pages) if stop is None else stop
    return loop.answer(loop.submit(), errno)


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


class _Loop:
    """The run of pages that is being collected for one node."""

    def __init__(
        self,
        machine: Machine,
        caller: Task,
        target: Task,
        pages: Sequence[int],
        move_all: bool,
    ) -> None:
        self.machine, self.caller, self.target = machine, caller, target
        self.move_all = move_all
        self.status: list[int | None] = [None] * len(pages)
        self.at = self.start = 0
        self.node = -1
        self.queue: list[Slice] = []
        self.isolated: set[int] = set()

    def add(self, page: int, node: int) -> int | None:
        """Take in one page; give the call's return value if it ends here."""
        if self.node != node:
            if self.node >= 0:
                left = self.submit()
                if left:
                    return left
            self.node, self.start = node, self.at
        outcome = self._queue(page, node)
        if outcome is None:
            return None
        self.status[self.at] = outcome
        left = self.submit()
        if left:
            return left - 1 if left > 0 else left
        self.node = -1
        return None

    def submit(self) -> int:
        """Move the run: 0, or how many pages were left, or a negative errno.

        Mirrors move_pages_and_store_status().
        """
        if not self.queue:
            return 0
        where = ThisNode(self.node)
        result = migrate_pages(self.machine, self.caller, self.queue, where, room=FOR_CALLS)
        note_left(self.machine, result.stays())
        self.queue, self.isolated = [], set()
        if result.is_enomem:
            return -ERRNO["ENOMEM"]
        if result.stayed:
            return result.stayed + len(self.status) - self.at
        self.status[self.start : self.at] = [self.node] * (self.at - self.start)
        return 0

    def answer(self, left: int, errno: str | None = None) -> MovePagesResult:
        """The call's answer."""
        if errno is None and left < 0:
            errno = "ENOMEM"
        return MovePagesResult(-1 if errno else left, errno, self.status)

    def _queue(self, page: int, node: int) -> int | None:
        """Isolate the folio of *page*: None, or the status that says why it is not queued.

        Mirrors add_folio_for_migration().
        """
        vma, frame, pfn = _lookup(self.machine, self.target, page)
        if vma is None or not is_migratable(vma):
            return -ERRNO["EFAULT"]
        if frame is None:
            return pfn
        if nid_of(pfn) == node:
            return node
        folio = folio_of(self.machine, pfn)
        by_folio = self.machine.release.folios_not_pages
        is_shared = folio.likely_shared if by_folio else frame.mapcount > 1
        is_tail = frame.flags & FrameFlag.HUGETLB and pfn != folio.pfn
        if (is_shared and not self.move_all) or (is_tail and not by_folio):
            return -ERRNO["EACCES"]
        if folio.pfn in self.isolated:
            return -ERRNO["EBUSY"]
        run = self.target.mm.page_table.at(page)
        assert run is not None
        self.isolated.add(folio.pfn)
        first = page - (pfn - folio.pfn)
        index = vma.index(first)
        start = rmap_index(frame, first, index)
        if frame.flags & FrameFlag.KSM:
            index = self.machine.stable_tree.index(frame.owner)
        moved = PteRun(start, folio.nr, (folio.pfn,), folio.order, run.flags)
        self.queue.append(Slice.whole(moved, folio.merged(), index))
        return None


def _stat(machine: Machine, target: Task, page: int) -> int:
    vma, frame, pfn = _lookup(machine, target, page)
    if vma is None:
        return -ERRNO["EFAULT"]
    return pfn if frame is None else nid_of(pfn)


def _lookup(machine: Machine, target: Task, page: int) -> tuple[Vma | None, Frame | None, int]:
    """The VMA, frame and pfn of *page*; without a frame, the negative errno in its place.

    Mirrors folio_walk_start() and its callers.
    """
    vma = target.mm.find_vma(page)
    if vma is None:
        return None, None, 0
    release = machine.release
    run = target.mm.page_table.at(page)
    if run is None or (release.prot_none_is_absent and not vma.flags & Vm.ACCESS):
        is_none = run is None or run.order > 0  # nothing to follow at the level of its table
        in_anon = release.absent_anon_is_efault and vma.is_anonymous and is_none
        return vma, None, -ERRNO["EFAULT" if in_anon else "ENOENT"]
    if not run.flags & Pte.PRESENT:
        return vma, None, -ERRNO["ENOENT"]
    if not run.lanes:
        return vma, None, -ERRNO["EFAULT"]
    pfn = run.pfn(page)
    return vma, frame_of(machine, pfn), pfn
