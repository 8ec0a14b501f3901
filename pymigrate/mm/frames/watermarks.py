"""The zones of a node, and how much of each must stay free: watermarks and reserves."""

from __future__ import annotations

from math import isqrt

from pymigrate.mm.base.memmap import NODE_SHIFT
from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Node, Zone
from pymigrate.units import HPAGE_PMD_NR, PAGE_SHIFT

# The model's physical memory: nodes one behind the other from address 0, without holes.
_ZONE_ENDS = (("dma", 1 << 24), ("dma32", 1 << 32), ("normal", 1 << 62))
RESERVE_RATIO = {"dma": 256, "dma32": 256, "normal": 32, "movable": 0}  # lowmem_reserve_ratio
ZONE_ORDER = tuple(RESERVE_RATIO)  # lowest first
_MOVABLE_MIN, _MOVABLE_MAX = 32, 128  # pages of ZONE_MOVABLE's lowest watermark
_MIN_KBYTES, _MAX_KBYTES = 128, 262144
_SCALE_FACTOR = 10  # watermark_scale_factor, in 1/10000 of a zone
_MIGRATE_PCPTYPES = 3


def add_memory(machine: Machine, node: Node, nr: int, first: int, movable: int = 0) -> None:
    """Give *node* *nr* free frames; *first* is the model's physical number of the first one.

    The last *movable* of them are ZONE_MOVABLE.
    """
    at = first
    ends = [(name, min(first + nr - movable, limit >> PAGE_SHIFT)) for name, limit in _ZONE_ENDS]
    for name, end in [*ends, ("movable", first + nr)]:
        if end > at:
            start = (node.nid << NODE_SHIFT) + at - first
            free = RunMap([Extent(start, end - at)])
            node.zones.append(Zone(name, start, end - at, free, end - at))
            at = end
    assert machine.nodes[node.nid] is node


def min_free_kbytes(machine: Machine) -> int:
    """What the zones keep free together, but for ZONE_MOVABLE; in kB.

    Mirrors calculate_min_free_kbytes() and set_recommended_min_free_kbytes().
    """
    zones = [zone for zone in _zones(machine) if zone.name != "movable"]
    total = sum(zone.managed for zone in zones)
    kbytes = min(max(isqrt(total * 4 * 16), _MIN_KBYTES), _MAX_KBYTES)
    if machine.thp != "never":
        recommended = (
            HPAGE_PMD_NR * sum(zone.managed > 0 for zone in zones) * (2 + _MIGRATE_PCPTYPES**2)
        )
        kbytes = max(kbytes, min(recommended, total // 20) << PAGE_SHIFT - 10)
    return kbytes


def setup_watermarks(machine: Machine) -> None:
    """Compute every zone's watermarks and reserves.

    Mirrors setup_per_zone_wmarks() with the default sysctls.
    """
    total = max(sum(zone.managed for zone in _zones(machine) if zone.name != "movable"), 1)
    pages = min_free_kbytes(machine) >> (PAGE_SHIFT - 10)
    for node in machine.nodes.values():
        for i, zone in enumerate(node.zones):
            zone.watermark_min = pages * zone.managed // total
            if zone.name == "movable":
                zone.watermark_min = min(max(zone.managed // 1024, _MOVABLE_MIN), _MOVABLE_MAX)
            step = max(zone.watermark_min // 4, zone.managed * _SCALE_FACTOR // 10000)
            zone.watermark_low = zone.watermark_min + step
            zone.watermark_high = zone.watermark_low + step
            above = sum(z.managed for z in node.zones[i + 1 :])
            ratio = RESERVE_RATIO[zone.name]
            zone.reserve = above // ratio if ratio else 0


def total_reserve(machine: Machine) -> int:
    """The base pages that programs cannot count on. Mirrors calculate_totalreserve_pages()."""
    return sum(min(zone.watermark_high + zone.reserve, zone.managed) for zone in _zones(machine))


def _zones(machine: Machine) -> list[Zone]:
    return [zone for node in machine.nodes.values() for zone in node.zones]
