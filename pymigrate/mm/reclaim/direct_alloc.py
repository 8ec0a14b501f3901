"""Allocations that may compact memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.mm.base.gfp import Gfp
from pymigrate.mm.compact.direct import Request, SlowPath
from pymigrate.mm.frames.page_alloc import alloc_pages, count_pages, take_pages, target_of
from pymigrate.mm.frames.placement import Cycle, ThisNode

if TYPE_CHECKING:
    from pymigrate.mm.base.runs import Extent
    from pymigrate.mm.frames.page_alloc import Lane
    from pymigrate.mm.frames.placement import Placement
    from pymigrate.mm.state.machine import Machine
    from pymigrate.mm.state.task import Task


def alloc_large(
    machine: Machine, task: Task, where: Placement, first: int, nr: int, order: int, gfp: Gfp
) -> tuple[list[list[Extent]], int]:
    """alloc_pages() of large folios, for which memory may be compacted, as *gfp* allows."""
    slow = _SlowPath(machine, task, where, order, gfp)
    return alloc_pages(machine, task, where, first, nr, order, slow=slow.alloc)


class _SlowPath:
    """What an allocation does when no block of its order is free: only large folios get here."""

    def __init__(
        self, machine: Machine, task: Task, where: Placement, order: int, gfp: Gfp
    ) -> None:
        self.machine, self.task, self.where, self.order = machine, task, where, order
        self.gfp = gfp | Gfp.THISNODE if isinstance(where, ThisNode) else gfp
        self.path: SlowPath | None = None

    def alloc(self, lane: Lane) -> Extent | None:
        """A block that was made free."""
        if not self.order or not self.gfp & (Gfp.DIRECT_RECLAIM | Gfp.KSWAPD_RECLAIM):
            return None
        self.path = self.path or SlowPath(self.machine)
        nodes = [
            self.machine.nodes[nid] for nid in dict.fromkeys(n for p in lane.passes for n in p[0])
        ]
        zones = tuple((node, zone) for node in nodes for zone in reversed(node.zones))
        return self.path.alloc(
            Request(self.order, self.gfp, zones, self.task.cpu, lambda: self._get_page(lane))
        )

    def _get_page(self, lane: Lane) -> Extent | None:
        target = target_of(self.machine, lane, self.order)
        if target is None:
            return None
        node, to_min = target
        [page] = take_pages(self.machine, node, 1, to_min, self.order)
        count_pages(self.machine, self.task, node, lane, 1, isinstance(self.where, Cycle))
        return page
