"""A picture of the machine: how full its nodes are, and on which nodes each task's memory lies."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Driver, Node
from pymigrate.mm.state.task import Task
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.columns import aligned
from pymigrate.views.pictures.strips import (
    ABSENT,
    ZERO_PAGE,
    Label,
    count_cells,
    labels_of,
    short_size,
    sign,
    turns,
)

USED_SIGN, FREE_SIGN = "#", "-"
MIN_CELLS, MAX_CELLS = 16, 128
_INDENT, _GAP = "  ", "  "
LEGEND = (
    "A cell is an equal part of a region, drawn as the node of most of its pages;",
    "where nodes mix, cells take turns in proportion. '.': absent, 'z': zero page.",
)


class NodeRow(NamedTuple):
    """A node; counts are base pages."""

    nid: int
    cpus: str
    total: int
    free: int
    distances: dict[int, int]
    hugetlb: dict[str, int] | None = None  # hugetlb's 2 MiB pages: nr, free, surplus


class StripRow(NamedTuple):
    """A VMA of *nr* pages from page *start*; `cells` are nodes, ABSENT or ZERO_PAGE."""

    label: Label
    start: int
    nr: int
    pages: dict[int, int]  # how many lie on each node, are ABSENT, or the ZERO_PAGE
    cells: list[int]


class TaskRow(NamedTuple):
    """A task and its VMAs, by address."""

    pid: int
    task: str
    comm: str
    uid: int
    cpus: str
    policy: str
    strips: list[StripRow]


class DriverRow(NamedTuple):
    """A driver with movable pages; counts are base pages by node."""

    name: str
    kind: str
    nodes: dict[int, int]


class DeviceRow(NamedTuple):
    """A device with private memory; counts are base pages."""

    name: str
    used: int
    total: int


class Picture(NamedTuple):
    """All that is drawn."""

    nodes: list[NodeRow]
    tasks: list[TaskRow]
    drivers: list[DriverRow]
    devices: list[DeviceRow]


class Span(NamedTuple):
    """A piece of a line; *nid* and *role* say how to colour it."""

    text: str
    role: str = ""  # head, dim, node, used, free, or cell
    nid: int = ABSENT


def rows(machine: Machine, tasks: list[Task], cells: int) -> Picture:
    """The nodes, and *tasks* with strips of at most *cells* cells.

    The cost is that of the cells and of the runs of pages, not of the pages.
    """
    return Picture(
        [_node_row(machine, node) for _, node in sorted(machine.nodes.items())],
        [_task_row(machine, task, cells) for task in tasks],
        [_driver_row(driver) for driver in machine.drivers.values()],
        [DeviceRow(d.name, d.nr - d.nr_free, d.nr) for d in machine.devices.values()],
    )


def cells_that_fit(machine: Machine, tasks: list[Task], width: int) -> int:
    """How many cells a strip may have beside its label in a line of *width* characters."""
    labels = [label for task in tasks for _, label in labels_of(machine, task)]
    used = len(_INDENT) + sum(size + len(_GAP) for size in _widths(labels))
    return min(max(width - used, MIN_CELLS), MAX_CELLS)


def lines(picture: Picture, width: int) -> Iterator[list[Span]]:
    """The picture as lines of at most *width* characters, if that is not too narrow."""
    yield from _node_lines(picture.nodes, width)
    yield []
    yield from _distance_lines(picture.nodes)
    if any(node.hugetlb for node in picture.nodes):
        yield []
        yield from _pool_lines(picture.nodes)
    if picture.devices:
        yield []
        yield from _device_lines(picture.devices)
    if picture.drivers:
        yield []
        yield from _driver_lines(picture.drivers)
    widths = _widths([strip.label for task in picture.tasks for strip in task.strips])
    for task in picture.tasks:
        yield []
        yield _task_line(task)
        for strip in task.strips:
            yield _strip_line(strip, widths)
    if widths:
        yield []
        yield from ([Span(text, "dim")] for text in LEGEND)


def format_rows(picture: Picture, width: int) -> str:
    """The picture as plain text."""
    return plain_text(lines(picture, width))


def plain_text(lines: Iterable[list[Span]]) -> str:
    """*lines* without colours, in ASCII."""
    return "".join("".join(span.text for span in line).rstrip() + "\n" for line in lines)


def as_json(picture: Picture) -> dict[str, object]:
    """The picture for machines."""
    return {
        "nodes": [node._asdict() for node in picture.nodes],
        "devices": [device._asdict() for device in picture.devices],
        "drivers": [driver._asdict() for driver in picture.drivers],
        "tasks": [
            {**task._asdict(), "strips": [_strip_json(strip) for strip in task.strips]}
            for task in picture.tasks
        ],
    }


def _node_row(machine: Machine, node: Node) -> NodeRow:
    distances = dict(sorted(machine.distances[node.nid].items()))
    pool = {"nr": node.hugetlb.nr, "free": node.hugetlb.nr_free, "surplus": node.hugetlb.surplus}
    return NodeRow(
        node.nid,
        str(node.cpus),
        node.nr_pages,
        node.nr_free,
        distances,
        pool if node.hugetlb.nr else None,
    )


def _task_row(machine: Machine, task: Task, cells: int) -> TaskRow:
    strips = []
    for vma, label in labels_of(machine, task):
        counts = count_cells(task, vma.start, vma.nr, min(cells, vma.nr))
        pages: Counter[int] = Counter()
        for count in counts:
            pages.update(count)
        strip = StripRow(label, vma.start, vma.nr, dict(sorted(pages.items())), turns(counts))
        strips.append(strip)
    policy = str(task.policy or "default")
    return TaskRow(task.pid, task.name, task.comm, task.uid, str(task.cpus), policy, strips)


def _node_lines(nodes: list[NodeRow], width: int) -> Iterator[list[Span]]:
    table = [["NODE", "CPUS"], *[[str(node.nid), node.cpus or "none"] for node in nodes]]
    sizes = [["USED", "FREE", "TOTAL"]]
    for node in nodes:
        amounts = (node.total - node.free, node.free, node.total)
        sizes.append([short_size(pages) for pages in amounts])
    heads, tails = aligned(table, {1}, _GAP), aligned(sizes, set(), _GAP)
    room = width - len(heads[0]) - len(tails[0]) - 2 * len(_GAP)
    bar = min(max(room, MIN_CELLS), 40)
    yield [Span(f"{heads[0]}{_GAP}{' ' * bar}{_GAP}{tails[0]}", "head")]
    for node, head, tail in zip(nodes, heads[1:], tails[1:], strict=True):
        used = _used_cells(node, bar)
        yield [
            Span(head[: len("NODE")], "node", node.nid),
            Span(f"{head[len('NODE') :]}{_GAP}"),
            Span(USED_SIGN * used, "used", node.nid),
            Span((FREE_SIGN if node.total else " ") * (bar - used), "free"),
            Span(f"{_GAP}{tail}"),
        ]


def _used_cells(node: NodeRow, bar: int) -> int:
    """How much of the bar to fill: some if anything is used, all only if nothing is free."""
    used = node.total - node.free
    if not used or not node.free:
        return bar if used else 0
    return min(max(round(bar * used / node.total), 1), bar - 1)


def _distance_lines(nodes: list[NodeRow]) -> Iterator[list[Span]]:
    table = [["DISTANCE", *[str(node.nid) for node in nodes]]]
    table += [[str(node.nid), *map(str, node.distances.values())] for node in nodes]
    return _table_lines(table, set())


def _pool_lines(nodes: list[NodeRow]) -> Iterator[list[Span]]:
    """How many huge pages the pool of each node has, for nodes that have one."""
    table = [["HUGETLB", "2MiB PAGES", "FREE", "SURPLUS"]]
    table += [[str(node.nid), *map(str, node.hugetlb.values())] for node in nodes if node.hugetlb]
    return _table_lines(table, set())


def _device_lines(devices: list[DeviceRow]) -> Iterator[list[Span]]:
    """How full the private memory of each device is."""
    table = [["DEVICE", "USED", "TOTAL"]]
    table += [[d.name, short_size(d.used), short_size(d.total)] for d in devices]
    return _table_lines(table, {0})


def _driver_row(driver: Driver) -> DriverRow:
    nodes = Counter(nid_of(pfn) for pfn in driver.pages if pfn >= 0)
    return DriverRow(driver.name, driver.kind, dict(sorted(nodes.items())))


def _driver_lines(drivers: list[DriverRow]) -> Iterator[list[Span]]:
    """Where each driver's movable pages lie."""
    table = [["DRIVER", "KIND", "PAGES"]]
    for driver in drivers:
        places = " ".join(f"N{nid}={nr}" for nid, nr in driver.nodes.items())
        table.append([driver.name, driver.kind, places or "none"])
    return _table_lines(table, {0, 1, 2})


def _table_lines(table: list[list[str]], left: set[int]) -> Iterator[list[Span]]:
    """A header, then the lines below it."""
    for number, line in enumerate(aligned(table, left, _GAP)):
        yield [Span(line.rstrip(), "" if number else "head")]


def _task_line(task: TaskRow) -> list[Span]:
    comm = f" ({task.comm})" if task.comm != task.task else ""
    facts = f"  uid {task.uid}, CPUs {task.cpus}, {task.policy}"
    return [Span(f"{task.pid} {task.task}{comm}", "head"), Span(facts, "dim")]


def _strip_line(strip: StripRow, widths: list[int]) -> list[Span]:
    name, size, policy = strip.label
    wide = f"{name.ljust(widths[0])}{_GAP}{size.rjust(widths[1])}{_GAP}"
    return [
        Span(f"{_INDENT}{wide}"),
        Span(f"{policy.ljust(widths[2])}{_GAP}", "dim"),
        *[Span(sign(cell) * len([*group]), "cell", cell) for cell, group in groupby(strip.cells)],
    ]


def _widths(labels: list[Label]) -> list[int]:
    return [max(map(len, column)) for column in zip(*labels, strict=True)]


def _strip_json(strip: StripRow) -> dict[str, object]:
    return {
        "name": strip.label.name,
        "start": f"{strip.start << PAGE_SHIFT:#x}",
        "pages": strip.nr,
        "policy": strip.label.policy,
        "absent": strip.pages.get(ABSENT, 0),
        "zero_page": strip.pages.get(ZERO_PAGE, 0),
        "nodes": {nid: nr for nid, nr in strip.pages.items() if nid >= 0},
        "strip": strip.cells,
    }
