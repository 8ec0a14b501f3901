"""Memory in one piece, from pageblocks that only movable pages may use. Mirrors mm/cma.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.errors import KernelError
from pymigrate.mm.contig import alloc_contig_range, free_contig_range
from pymigrate.mm.free_area import cma_areas
from pymigrate.mm.pageblock import PAGEBLOCK_NR, MigrateType, set_pageblocks
from pymigrate.mm.runs import Extent

if TYPE_CHECKING:
    from pymigrate.mm.machine import Machine, Node

MAX_ALIGN = 8  # CONFIG_CMA_ALIGNMENT: no allocation is aligned to more than so many pages' order


def declare_cma(node: Node, nr: int) -> bool:
    """Keep the last *nr* frames of *node* below ZONE_MOVABLE for CMA: whole pageblocks.

    False if the last zone there is smaller.

    Mirrors cma_declare_contiguous_nid().
    """
    zone = [zone for zone in node.zones if zone.name != "movable"][-1]
    end = zone.end // PAGEBLOCK_NR * PAGEBLOCK_NR
    if end - nr < zone.start:
        return False
    set_pageblocks(zone, end - nr, end, migratetype=MigrateType.CMA)
    return True


def cma_alloc(machine: Machine, nid: int, name: str, nr: int) -> Extent:
    """Allocate *nr* frames in one piece from the area of node *nid*, to be called *name*.

    Places are tried in ascending order, aligned to the size, but to at most 1 MiB, as devices'
    buffers are. Counts cma_alloc_success and cma_alloc_fail.

    Raises KernelError ENOMEM. Mirrors cma_alloc(), and dma_alloc_contiguous() for the alignment.
    """
    step = 1 << min((nr - 1).bit_length(), MAX_ALIGN)
    why = "no part of the area is free for so many pages"
    for a, b in cma_areas(machine).get(nid, []):
        at = -(-a // step) * step
        while at + nr <= b:
            taken = [e for e in machine.contigs.values() if e.start < at + nr and at < sum(e)]
            if taken:
                at = -(-max(map(sum, taken)) // step) * step
                continue
            try:
                alloc_contig_range(machine, at, at + nr)
            except KernelError as error:
                why = error.why
                if error.errno != "EBUSY":
                    break
                at += step
                continue
            machine.counters.add("cma_alloc_success", nr)
            machine.contigs[name] = Extent(at, nr)
            return machine.contigs[name]
    machine.counters.add("cma_alloc_fail", nr)
    raise KernelError("ENOMEM", why)


def cma_release(machine: Machine, name: str) -> None:
    """Give back what cma_alloc() gave under that name."""
    start, nr = machine.contigs.pop(name)
    free_contig_range(machine, start, start + nr)
