"""The geometry of a report's figures, which are drawn as SVG; see page.html."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from pymigrate.records import NamedTuple
from pymigrate.units import size_of_pages as size
from pymigrate.views.pictures.strips import ABSENT, ZERO_PAGE, heat_level

STAYS = "stays"  # how pages are drawn that stay
WIDTH = 1000  # of a bar and of a strip
SANKEY = 360  # the width of the flows
_TALL, _LEAST, _GAP, _BOX = 150, 2, 8, 10  # heights of all flows and of the smallest, and a node's
_LABEL = 16  # the height of a line of text


class Part(NamedTuple):
    """A part of a bar or a strip; *kind* is how it is drawn: a class of the page's."""

    x: float
    width: float
    kind: str
    text: str = ""


class Box(NamedTuple):
    """A node in the flows, on the left before and on the right afterwards."""

    x: float
    y: float
    height: float
    node: int
    text: str


class Band(NamedTuple):
    """A flow from node to node; *path* is SVG's."""

    path: str
    width: float
    kind: str
    text: str


class Flows(NamedTuple):
    """A Sankey diagram."""

    height: float
    bands: list[Band]
    boxes: list[Box]


class Flow(NamedTuple):
    """Base pages from node to node; *kind* is how they are drawn."""

    source: int
    target: int
    nr: int
    kind: str


def kind_of(cell: int) -> str:
    """How a cell of a strip is drawn."""
    return {ABSENT: "absent", ZERO_PAGE: "zero"}.get(cell, f"n{cell}")


def strip(cells: Sequence[int]) -> list[Part]:
    """The cells of a strip, equal neighbours as one."""
    return _runs(map(kind_of, cells), len(cells))


def heat(rates: Sequence[float], most: float) -> list[Part]:
    """How hot the cells of a strip are, where *most* is the hottest that there is."""
    return _runs((f"h{heat_level(rate, most)}" for rate in rates), len(rates))


def marks(letters: str) -> list[Part]:
    """What happens to the cells of a strip: `moves`, `stays` or nothing."""
    kinds = (STAYS if mark.isalpha() else "" if mark == " " else "moves" for mark in letters)
    return [part for part in _runs(kinds, len(letters)) if part.kind]


def stacked(parts: Iterable[tuple[str, float, str]], whole: float) -> list[Part]:
    """Kinds, amounts and texts, one after the other in a bar that stands for *whole*."""
    found, x = [], 0.0
    for kind, amount, text in parts:
        width = amount / whole * WIDTH if whole else 0.0
        if width:
            found.append(Part(round(x, 2), round(width, 2), kind, text))
        x += width
    return found


def flows(moved: Mapping[tuple[int, int], int], stay: Mapping[int, int]) -> Flows:
    """The Sankey diagram of the base pages that move from node to node, and of those that stay."""
    every = [Flow(*pair, nr, f"n{pair[0]}") for pair, nr in moved.items()]
    every += [Flow(node, node, nr, STAYS) for node, nr in stay.items()]
    total = sum(flow.nr for flow in every)
    thick = [max(flow.nr / total * _TALL, _LEAST) for flow in every]
    left = _boxes([flow.source for flow in every], every, thick, 0)
    right = _boxes([flow.target for flow in every], every, thick, SANKEY - _BOX)
    starts = {box.node: box.y for box in left}
    ends = {box.node: box.y for box in right}
    bands = []
    for flow, height in sorted(zip(every, thick, strict=True)):
        a, b = starts[flow.source] + height / 2, ends[flow.target] + height / 2
        starts[flow.source] += height
        ends[flow.target] += height
        bands.append(Band(_curve(a, b), round(height, 2), flow.kind, _said(flow)))
    height = max((box.y + max(box.height, _LABEL) for box in (*left, *right)), default=0.0)
    return Flows(round(height + _GAP, 2), bands, left + right)


def _boxes(
    nodes: Sequence[int], every: Sequence[Flow], heights: Sequence[float], x: float
) -> list[Box]:
    """The nodes one below the other, each as high as its flows."""
    found, y = [], 0.0
    for node in sorted(set(nodes)):
        mine = [i for i, other in enumerate(nodes) if other == node]
        height = sum(heights[i] for i in mine)
        text = f"node {node}: {size(sum(every[i].nr for i in mine))}"
        if all(every[i].kind == STAYS for i in mine):
            text += " stay"
        found.append(Box(x, round(y, 2), round(height, 2), node, text))
        y += max(height, _LABEL) + _GAP
    return found


def _curve(a: float, b: float) -> str:
    half = SANKEY / 2
    return f"M{_BOX} {a:.2f}C{half:.0f} {a:.2f} {half:.0f} {b:.2f} {SANKEY - _BOX} {b:.2f}"


def _said(flow: Flow) -> str:
    if flow.kind == STAYS:
        return f"{size(flow.nr)} stay on node {flow.source}"
    return f"{size(flow.nr)} from node {flow.source} to node {flow.target}"


def _runs(kinds: Iterable[str], nr: int) -> list[Part]:
    found, at = [], 0
    for kind, group in groupby(kinds):
        length = len([*group])
        found.append(Part(round(at / nr * WIDTH, 2), round(length / nr * WIDTH, 2), kind))
        at += length
    return found
