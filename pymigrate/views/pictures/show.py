"""A picture of the machine: how full its nodes are, and on which nodes each task's memory lies."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby

from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Driver, Node
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.records import NamedTuple
from pymigrate.units import PAGE_SHIFT, counted
from pymigrate.views.columns import aligned
from pymigrate.views.pictures.strips import (
    ABSENT,
    HEAT_SIGNS,
    NODE_SIGNS,
    ZERO_PAGE,
    Label,
    bounds_of,
    count_cells,
    heat_level,
    heat_of,
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
    heat: list[float] | None = None  # accesses a second to a page, if they are drawn
    space: int = 0  # the id of what it shares with other VMAs

    @property
    def resident(self) -> int:
        """How many of its pages lie on nodes."""
        return sum(nr for node, nr in self.pages.items() if node >= 0)


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


class Rest(NamedTuple):
    """VMAs that are not drawn, and their resident pages."""

    strips: int
    pages: int


class Picture(NamedTuple):
    """All that is drawn."""

    nodes: list[NodeRow]
    tasks: list[TaskRow]
    drivers: list[DriverRow]
    devices: list[DeviceRow]
    rest: Rest | None = None  # what is left out


class Draw(NamedTuple):
    """How tasks are drawn: with how many cells a strip, and what of them."""

    cells: int
    is_scaled: bool = False  # a strip is as long as its VMA is large
    top: int | None = None  # only so many VMAs: those with the most resident pages
    has_heat: bool = False  # declared accesses, too


class Span(NamedTuple):
    """A piece of a line; *nid* and *role* say how to colour it."""

    text: str
    role: str = ""  # head, dim, node, used, free, or cell
    nid: int = ABSENT


def rows(machine: Machine, tasks: list[Task], draw: Draw) -> Picture:
    """The nodes, and *tasks* with their strips.

    The cost is that of the cells and of the runs of pages, not of the pages.
    """
    most = max((vma.nr for task in tasks for vma in task.mm.vmas), default=1)
    picture = Picture(
        [_node_row(machine, node) for _, node in sorted(machine.nodes.items())],
        [_task_row(machine, task, draw, most) for task in tasks],
        [_driver_row(driver) for driver in machine.drivers.values()],
        [DeviceRow(d.name, d.nr - d.nr_free, d.nr) for d in machine.devices.values()],
    )
    return picture if draw.top is None else _largest(picture, draw.top)


def _largest(picture: Picture, top: int) -> Picture:
    """The picture with no more than *top* strips; of those that share memory only the first."""
    strips = [strip for task in picture.tasks for strip in task.strips]
    strips.sort(key=lambda strip: (-strip.resident, -strip.nr))
    kept: list[StripRow] = []
    for strip in strips:
        if len(kept) < top and not any(strip.space and strip.space == one.space for one in kept):
            kept.append(strip)
    ids = set(map(id, kept))
    tasks = [
        task._replace(strips=[strip for strip in task.strips if id(strip) in ids])
        for task in picture.tasks
    ]
    left = [strip.resident for strip in strips if id(strip) not in ids]
    rest = Rest(len(left), sum(left)) if left else None
    return picture._replace(tasks=[task for task in tasks if task.strips], rest=rest)


def cells_that_fit(machine: Machine, tasks: list[Task], width: int) -> int:
    """How many cells a strip may have beside its label in a line of *width* characters."""
    labels = [label for task in tasks for _, label in labels_of(machine, task)]
    used = len(_INDENT) + sum(size + len(_GAP) for size in _widths(labels))
    return min(max(width - used, MIN_CELLS), MAX_CELLS)


def lines(picture: Picture, width: int) -> Iterator[list[Span]]:
    """The picture as lines of at most *width* characters, if that is not too narrow."""
    yield from _node_lines(picture.nodes, width)
    yield []
    yield from _distance_lines(picture.nodes, width)
    if any(node.hugetlb for node in picture.nodes):
        yield []
        yield from _pool_lines(picture.nodes)
    if picture.devices:
        yield []
        yield from _device_lines(picture.devices)
    if picture.drivers:
        yield []
        yield from _driver_lines(picture.drivers)
    strips = [strip for task in picture.tasks for strip in task.strips]
    widths = _widths([strip.label for strip in strips])
    most = max((rate for strip in strips for rate in strip.heat or ()), default=0.0)
    for task in picture.tasks:
        yield []
        yield _task_line(task)
        for strip in task.strips:
            yield _strip_line(strip, widths)
            if any(strip.heat or ()):
                yield _heat_line(strip, widths, most)
    if picture.rest:
        yield []
        nr, pages = picture.rest
        yield [Span(f"and {counted(nr, 'more mapping')} with {short_size(pages)}", "dim")]
    if widths:
        yield []
        yield from ([Span(text, "dim")] for text in legend(picture, most > 0))


def legend(picture: Picture, has_heat: bool) -> list[str]:
    """What the signs stand for."""
    more = [node.nid for node in picture.nodes if 9 < node.nid < len(NODE_SIGNS)]
    said = [*LEGEND]
    if more:
        said.append(f"{sign(more[0])} to {sign(more[-1])}: nodes {more[0]} to {more[-1]}.")
    return [*said, heat_legend()] if has_heat else said


def heat_legend() -> str:
    """What the signs of heat stand for."""
    most, less = HEAT_SIGNS[-1], HEAT_SIGNS[-2:0:-1]
    return f"Heat is declared accesses a page: '{most}' most, then by halves '{less}'."


def heat_spans(heat: Iterable[float], most: float) -> Iterator[Span]:
    """Accesses a second to a page, as signs; *most* is the hottest of the picture."""
    for level, group in groupby(heat_level(rate, most) for rate in heat):
        yield Span(HEAT_SIGNS[level] * len([*group]), "heat", level)


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
        **({"rest": picture.rest._asdict()} if picture.rest else {}),
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


def _task_row(machine: Machine, task: Task, draw: Draw, most: int) -> TaskRow:
    """The task; *most* pages are as long as a strip may be."""
    strips = []
    for vma, label in labels_of(machine, task):
        cells = max(draw.cells * vma.nr // most, 1) if draw.is_scaled else draw.cells
        counts = count_cells(task, vma.start, vma.nr, min(cells, vma.nr))
        pages: Counter[int] = Counter()
        for count in counts:
            pages.update(count)
        bounds = bounds_of(vma.start, vma.nr, len(counts))
        heat = heat_of(machine, task, bounds) if draw.has_heat else None
        nodes, space = dict(sorted(pages.items())), vma.space if vma.is_shared else 0
        strips.append(StripRow(label, vma.start, vma.nr, nodes, turns(counts), heat, space))
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


def _distance_lines(nodes: list[NodeRow], width: int) -> Iterator[list[Span]]:
    """A matrix; where that is too wide, which nodes are how far, for each node."""
    table = [["DISTANCE", *[str(node.nid) for node in nodes]]]
    table += [[str(node.nid), *map(str, node.distances.values())] for node in nodes]
    if len(aligned(table, set(), _GAP)[0]) <= width:
        yield from _table_lines(table, set())
        return
    table = [["NODE", "DISTANCE: NODES"]]
    for node in nodes:
        far = (
            f"{distance}: {Nodemask.collect(n for n, d in node.distances.items() if d == distance)}"
            for distance in sorted({*node.distances.values()})
        )
        table.append([str(node.nid), "  ".join(far)])
    yield from _table_lines(table, {1})


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


def _heat_line(strip: StripRow, widths: list[int], most: float) -> list[Span]:
    left = len(_INDENT) + sum(width + len(_GAP) for width in widths)
    return [Span(" " * left), *heat_spans(strip.heat or (), most)]


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
        **({} if strip.heat is None else {"heat": [round(rate, 3) for rate in strip.heat]}),
    }
