"""A picture of a zone's pageblocks: which are free, which are full, and what keeps them so."""

from collections.abc import Iterator
from itertools import groupby

from pymigrate.mm.base.memmap import Frame, FrameFlag
from pymigrate.mm.base.pageblock import PAGEBLOCK_NR, MigrateType, block_ceil
from pymigrate.mm.frames.buddy import migratetype_of
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Node, Zone
from pymigrate.records import NamedTuple
from pymigrate.views.pictures.show import Span
from pymigrate.views.proc.buddyinfo import ZONE_NAMES

WIDTH = 64  # cells in a line
MAX_CELLS = 1024  # a cell stands for more than one pageblock in larger zones
LEGEND = (
    "A cell is {blocks}: '.' free, 1 to 9 tenths in use by pages that can be moved, '#' full,",
    "'h' huge pages, 'k' kernel pages that stay; upper case 'K': the block is of their type.",
)


class CellRow(NamedTuple):
    """*blocks* pageblocks from frame *start*; counts are base pages."""

    start: int
    blocks: int
    free: int
    movable: int
    huge: int
    kernel: int
    type: str


class ZoneRow(NamedTuple):
    """A zone, and its pageblocks."""

    node: int
    zone: str
    pages: int
    free: int
    free_blocks: int
    cells: list[CellRow]


def rows(machine: Machine, nid: int, name: str | None = None) -> list[ZoneRow]:
    """The zones of node *nid*, or that called *name*."""
    node = machine.nodes[nid]
    return [
        _zone_row(node, zone)
        for zone in node.zones
        if name is None or ZONE_NAMES[zone.name].lower() == name.lower()
    ]


def lines(zones: list[ZoneRow]) -> Iterator[list[Span]]:
    """The picture as lines, without its legend."""
    for number, zone in enumerate(zones):
        if number:
            yield []
        yield [Span(_head(zone), "head")]
        for first in range(0, len(zone.cells), WIDTH):
            cells = zone.cells[first : first + WIDTH]
            yield [
                Span("  "),
                *[
                    Span("".join(map(sign, group)), _ROLES[kind], _COLOURS[kind])
                    for kind, group in groupby(cells, _kind)
                ],
            ]


def legend(zones: list[ZoneRow]) -> list[list[Span]]:
    """What the signs mean, as lines to stand below the picture."""
    blocks = max((cell.blocks for zone in zones for cell in zone.cells), default=1)
    text = "a pageblock (2 MiB)" if blocks == 1 else f"{blocks} pageblocks (of 2 MiB)"
    return [[], *[[Span(line.format(blocks=text), "dim")] for line in LEGEND]]


def as_json(zones: list[ZoneRow]) -> list[dict[str, object]]:
    """The picture for machines."""
    return [{**zone._asdict(), "cells": [cell._asdict() for cell in zone.cells]} for zone in zones]


def sign(cell: CellRow) -> str:
    """The character for a cell."""
    kind = _kind(cell)
    if kind == "kernel":
        return "k" if cell.type == "movable" else "K"
    if kind == "huge":
        return "h"
    total = cell.free + cell.movable
    if kind == "free":
        return "."
    return "#" if not cell.free else str(min(max(round(10 * cell.movable / total), 1), 9))


_ROLES = {"free": "dim", "movable": "node", "huge": "node", "kernel": "node"}
_COLOURS = {"free": -1, "movable": 0, "huge": 2, "kernel": 5}


def _kind(cell: CellRow) -> str:
    """What a cell is drawn as: what cannot be moved counts most."""
    if cell.kernel:
        return "kernel"
    if cell.huge:
        return "huge"
    return "movable" if cell.movable else "free"


def _head(zone: ZoneRow) -> str:
    blocks = sum(cell.blocks for cell in zone.cells)
    return (
        f"Node {zone.node}, zone {zone.zone}: {zone.free} of {zone.pages} pages free,"
        f" {zone.free_blocks} of {blocks} pageblocks"
    )


def _zone_row(node: Node, zone: Zone) -> ZoneRow:
    first, last = zone.start // PAGEBLOCK_NR, block_ceil(zone.end) // PAGEBLOCK_NR
    each = -(-(last - first) // MAX_CELLS)
    cells = [
        _cell(node, zone, block, min(each, last - block)) for block in range(first, last, each)
    ]
    name = ZONE_NAMES[zone.name]
    return ZoneRow(node.nid, name, zone.nr, zone.nr_free, zone.nr_blocks(9), cells)


def _cell(node: Node, zone: Zone, block: int, nr: int) -> CellRow:
    low = max(block * PAGEBLOCK_NR, zone.start)
    high = min((block + nr) * PAGEBLOCK_NR, zone.end)
    free = sum(part.nr for part in zone.free.between(low, high))
    counts = {"movable": 0, "huge": 0, "kernel": 0}
    for a, b in zone.parts(low, high):
        for start, length, frame in node.memmap.between(a, b):
            counts[_use(frame)] += min(start + length, b) - max(start, a)
    kind = migratetype_of(zone, low)
    name = "movable" if kind == MigrateType.MOVABLE else kind.name.lower()
    return CellRow(
        block * PAGEBLOCK_NR, nr, free, counts["movable"], counts["huge"], counts["kernel"], name
    )


def _use(frame: Frame) -> str:
    if frame.flags & (FrameFlag.KERNEL | FrameFlag.HWPOISON):
        return "kernel"
    return "huge" if frame.order or frame.flags & FrameFlag.HUGETLB else "movable"
