"""/proc/zoneinfo: the zones of each node, with their watermarks and counters.

There are no per-CPU lists: they are shown empty, as they are while a machine boots.
"""

from collections.abc import Iterator

from pymigrate.mm.base.memmap import NODE_SHIFT
from pymigrate.mm.base.vmstat import NODE_STATS, NUMA_EVENTS
from pymigrate.mm.frames.watermarks import RESERVE_RATIO
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Node, Zone
from pymigrate.records import NamedTuple
from pymigrate.views.proc import vmstat
from pymigrate.views.proc.buddyinfo import ZONE_NAMES
from pymigrate.views.proc.cma import nr_cma

ZONES = {**ZONE_NAMES, "device": "Device"}


class ZoneRow(NamedTuple):
    """A zone of a node; *zone* is None where the node has no memory of that kind."""

    nid: int
    name: str
    zone: Zone | None
    start_pfn: int  # physical
    protection: tuple[int, ...]  # against allocations that may use each zone, in base pages
    counters: dict[str, int]
    node_counters: dict[str, int]  # of the node's first populated zone alone


def rows(machine: Machine) -> list[ZoneRow]:
    """A row for each zone of each node, those without memory too. Mirrors zoneinfo_show()."""
    found: list[ZoneRow] = []
    first = 0
    for node in machine.nodes.values():
        found += _rows_of(machine, node, first)
        first += sum(zone.nr for zone in node.zones)
    return found


def format_rows(machine: Machine, rows: list[ZoneRow]) -> str:
    """The kernel's text."""
    return "".join(f"{line}\n" for row in rows for line in _lines(machine, row))


def _rows_of(machine: Machine, node: Node, first: int) -> Iterator[ZoneRow]:
    """The zones of *node*, whose memory begins at physical page *first*."""
    populated = [zone for zone in node.zones if zone.managed]
    zones = {zone.name: zone for zone in populated}
    counters = vmstat.node_rows(machine, node)
    for name in ZONES:
        zone = zones.get(name)
        if zone is None:
            yield ZoneRow(node.nid, ZONES[name], None, 0, (0,) * len(ZONES), {}, {})
            continue
        of_zone = vmstat.zone_rows(machine, node, zone)
        # The allocator's events are kept by node; it takes memory from the highest zone first.
        is_last = zone is populated[-1]
        events = {event: counters[event] if is_last else 0 for event in NUMA_EVENTS}
        is_first = zone is populated[0]
        of_node = {stat: counters[stat] for stat in NODE_STATS} if is_first else {}
        start = first + zone.span[0] - (node.nid << NODE_SHIFT)
        protection = _protection(zones, name)
        yield ZoneRow(node.nid, ZONES[name], zone, start, protection, of_zone | events, of_node)


def _protection(zones: dict[str, Zone], name: str) -> tuple[int, ...]:
    """What a zone keeps back. Mirrors setup_per_zone_lowmem_reserve()."""
    names = list(ZONES)
    at, ratio, above = names.index(name), RESERVE_RATIO.get(name, 0), 0
    kept = [0] * (at + 1)
    for higher in names[at + 1 :]:
        above += zones[higher].managed if higher in zones else 0
        kept.append(above // ratio if ratio else 0)
    return tuple(kept)


def _lines(machine: Machine, row: ZoneRow) -> Iterator[str]:
    yield f"Node {row.nid}, zone {row.name:>8}"
    if row.node_counters:
        yield "  per-node stats"
        yield from _counter_lines(row.node_counters)
    zone = row.zone
    promo = 2 * zone.watermark_high - zone.watermark_low if zone else 0
    yield f"  pages free     {zone.nr_free if zone else 0}"
    yield "        boost    0"
    yield f"        min      {zone.watermark_min if zone else 0}"
    yield f"        low      {zone.watermark_low if zone else 0}"
    yield f"        high     {zone.watermark_high if zone else 0}"
    yield f"        promo    {promo}"
    low, high = zone.span if zone else (0, 0)
    yield f"        spanned  {high - low}"
    for label in ("present", "managed"):
        yield f"        {label}  {zone.managed if zone else 0}"
    yield f"        cma      {nr_cma(zone) if zone else 0}"
    yield f"        protection: ({', '.join(map(str, row.protection))})"
    if zone:
        yield from _counter_lines(row.counters)
        yield "  pagesets"
        for cpu in machine.cpus:
            yield f"    cpu: {cpu}"
            yield "              count: 0"
            yield "              high:  0"
            yield "              batch: 1"
            yield "  vm stats threshold: 0"
        yield "  node_unreclaimable:  0"
        yield f"  start_pfn:           {row.start_pfn}"


def _counter_lines(counters: dict[str, int]) -> Iterator[str]:
    return (f"      {name:12} {value}" for name, value in counters.items())
