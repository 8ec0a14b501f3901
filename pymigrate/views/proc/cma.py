"""What nodes keep for CMA, and what is allocated of it."""

from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.frames.free_area import cma_areas, cma_ranges, nr_free_cma
from pymigrate.mm.offline.memory_hotplug import physical
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Zone
from pymigrate.records import NamedTuple
from pymigrate.units import PAGE_SHIFT, format_size


class CmaRow(NamedTuple):
    """An area, or (with a *name*) an allocation: physical address and size in bytes."""

    node: int
    address: str
    size: int
    free: int  # of an area: what nobody uses, not even movable pages
    name: str


def rows(machine: Machine) -> list[CmaRow]:
    """Each area, followed by the allocations of its node."""
    out = []
    for nid, parts in cma_areas(machine).items():
        for a, b in parts:
            zone = machine.nodes[nid].zone_of(a)
            out.append(_row(machine, nid, a, b - a, sum(e.nr for e in zone.free.between(a, b))))
        for name, (start, nr) in sorted(machine.contigs.items()):
            if nid_of(start) == nid:
                out.append(_row(machine, nid, start, nr, 0, name))
    return out


def format_rows(found: list[CmaRow]) -> str:
    """A line for each row."""
    return "".join(
        f"node {row.node}  {row.address}  {format_size(row.size)}"
        + (f"  {row.name}\n" if row.name else f", {format_size(row.free)} free\n")
        for row in found
    )


def address(machine: Machine, pfn: int) -> int:
    """The physical address of a frame."""
    return physical(machine, pfn) << PAGE_SHIFT


def nr_cma(zone: Zone) -> int:
    """The frames of *zone* that are kept for CMA."""
    return sum(b - a for a, b in cma_ranges(zone))


def totals(machine: Machine) -> tuple[int, int]:
    """All frames that are kept for CMA, and those of them that are free."""
    zones = [zone for node in machine.nodes.values() for zone in node.zones]
    return sum(map(nr_cma, zones)), sum(map(nr_free_cma, zones))


def _row(machine: Machine, nid: int, pfn: int, nr: int, free: int, name: str = "") -> CmaRow:
    where = f"{address(machine, pfn):#x}"
    return CmaRow(nid, where, nr << PAGE_SHIFT, free << PAGE_SHIFT, name)
