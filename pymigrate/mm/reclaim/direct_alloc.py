"""Allocations that may compact memory."""

from __future__ import annotations

from pymigrate.mm.base.gfp import Gfp
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.compact.direct import Request, SlowPath
from pymigrate.mm.frames.page_alloc import Lane, fill_run, get_page_from_freelist, lanes_of
from pymigrate.mm.frames.placement import Placement, ThisNode
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task


def alloc_large_folio(
    machine: Machine, task: Task, where: Placement, order: int, gfp: Gfp
) -> int | None:
    """The first frame of a large folio as alloc_folio() gives it, or of one made free for it."""
    runs = alloc_large_run(machine, task, where, PteRun(0, 1 << order, (), order), gfp)
    return runs[0].lanes[0] if runs else None


def alloc_large_run(
    machine: Machine, task: Task, where: Placement, wanted: PteRun, gfp: Gfp
) -> list[PteRun]:
    """Give large entries frames as alloc_run() does, with memory compacted for them.

    *gfp* says how hard it is tried, for each folio for which no block is free.
    """
    gfp |= Gfp.THISNODE if isinstance(where, ThisNode) else Gfp.NONE
    slow = _SlowPath(machine, task, wanted.order, gfp)
    return fill_run(machine, task, lanes_of(machine, task, where), wanted, slow.alloc)


class _SlowPath:
    """What an allocation does when no block of its order is free: only large folios get here."""

    def __init__(self, machine: Machine, task: Task, order: int, gfp: Gfp) -> None:
        self.machine, self.task, self.order, self.gfp = machine, task, order, gfp
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

        def get_page() -> Extent | None:
            return get_page_from_freelist(self.machine, self.task, lane, self.order)

        return self.path.alloc(Request(self.order, self.gfp, zones, self.task.cpu, get_page))
