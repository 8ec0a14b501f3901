"""/proc/buddyinfo: the free blocks of each order, zone by zone."""

from collections.abc import Iterator

from pymigrate.mm.frames.buddy import nr_free
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Node, Zone
from pymigrate.records import NamedTuple

ZONE_NAMES = {"dma": "DMA", "dma32": "DMA32", "normal": "Normal", "movable": "Movable"}


class BuddyRow(NamedTuple):
    """A zone: how many free blocks of each order it has."""

    node: int
    zone: str
    counts: list[int]


def populated(machine: Machine) -> Iterator[tuple[Node, Zone]]:
    """The zones that have memory, in the kernel's order."""
    for _, node in sorted(machine.nodes.items()):
        for zone in node.zones:
            if zone.managed:
                yield node, zone


def rows(machine: Machine) -> list[BuddyRow]:
    """Every zone that has memory."""
    return [
        BuddyRow(node.nid, ZONE_NAMES[zone.name], nr_free(zone))
        for node, zone in populated(machine)
    ]


def format_rows(rows: list[BuddyRow]) -> str:
    """The kernel's text. Mirrors frag_show_print()."""
    return "".join(
        f"{zone_head(row.node, row.zone)}{''.join(f'{nr:6d} ' for nr in row.counts)}\n"
        for row in rows
    )


def zone_head(nid: int, zone: str) -> str:
    """How a zone's line begins."""
    return f"Node {nid}, zone {zone:>8} "
