"""Where tasks reach with their declared accesses: on their own node, on others, and how far."""

from collections import defaultdict
from collections.abc import Iterator, Set
from heapq import merge

from pymigrate.mm.state.machine import Machine, regions_of
from pymigrate.mm.state.task import Accessed, Task, accessed
from pymigrate.records import NamedTuple
from pymigrate.units import MAX_NUMNODES, PAGE_SHIFT
from pymigrate.views.columns import aligned
from pymigrate.views.pages import placement
from pymigrate.views.pages.placement import NOT_PRESENT, Turns

_REMOTE = 20  # the distance of what lies on no node


class AccessRow(NamedTuple):
    """The accesses of a task: how many a second to each node, and their mean distance."""

    pid: int
    task: str
    node: int  # that it runs on
    nodes: dict[int, float]
    absent: float  # to pages that are not there yet
    distance: float

    @property
    def local(self) -> float:
        """Accesses a second to its own node."""
        return self.nodes.get(self.node, 0.0)

    @property
    def remote(self) -> float:
        """Accesses a second to other nodes."""
        return sum(self.nodes.values()) - self.local


class Remote(NamedTuple):
    """A page that is accessed from another node."""

    addr: int
    node: int  # of the task
    rate: float  # accesses a second


def rows(machine: Machine) -> list[AccessRow]:
    """A row for each task whose accesses are declared, by pid."""
    return [_row(machine, task) for _, task in sorted(machine.tasks.items()) if task.accesses]


def remote_pages(machine: Machine, task: Task) -> Iterator[Remote]:
    """The pages of *task* that lie elsewhere than it runs, those accessed most first.

    It is the log of a profiler, in the form that `move_pages --from-file` reads.
    """
    here = machine.local_node(task)
    near = {here, NOT_PRESENT}
    found = [
        _remote(turns, near, here, part.rate / (part.end - part.start))
        for part, turns in _placed(machine, task)
        if not near.issuperset(turns.nodes)
    ]
    return merge(*found, key=lambda page: (-page.rate, page.addr))


def _remote(turns: Turns, near: Set[int], here: int, rate: float) -> Iterator[Remote]:
    for start, end, node in turns.each():
        if node not in near:
            for page in range(start, end):
                yield Remote(page << PAGE_SHIFT, here, rate)


def format_rows(rows: list[AccessRow]) -> str:
    """A header, then a line for each task, with accesses a second."""
    table = [["PID", "TASK", "NODE", "LOCAL/s", "REMOTE/s", "ABSENT/s", "DISTANCE"]]
    table += [
        [
            str(row.pid),
            row.task,
            str(row.node),
            f"{row.local:.0f}",
            f"{row.remote:.0f}",
            f"{row.absent:.0f}",
            f"{row.distance:.1f}",
        ]
        for row in rows
    ]
    return "".join(f"{line.rstrip()}\n" for line in aligned(table, {1}))


def as_json(row: AccessRow) -> dict[str, object]:
    """The row for machines; accesses a second."""
    return {
        "pid": row.pid,
        "task": row.task,
        "node": row.node,
        "local": _number(row.local),
        "remote": _number(row.remote),
        "absent": _number(row.absent),
        "distance": _number(row.distance),
        "nodes": {str(nid): _number(rate) for nid, rate in row.nodes.items()},
    }


def _number(value: float) -> int | float:
    return int(value) if value == int(value) else round(value, 3)


def _row(machine: Machine, task: Task) -> AccessRow:
    here = machine.local_node(task)
    rates: defaultdict[int, float] = defaultdict(float)
    for part, turns in _placed(machine, task):
        for node, nr in turns.by_node().items():
            rates[node] += part.rate * nr / (part.end - part.start)
    absent = rates.pop(NOT_PRESENT, 0)
    total = sum(rates.values())
    far = sum(rate * _distance(machine, here, node) for node, rate in rates.items())
    nodes: dict[int, float] = dict(sorted(rates.items()))
    return AccessRow(task.pid, task.name, here, nodes, absent, far / total if total else 0.0)


def _distance(machine: Machine, here: int, node: int) -> int:
    return machine.distances[here][node] if node < MAX_NUMNODES else _REMOTE


def _placed(machine: Machine, task: Task) -> Iterator[tuple[Accessed, Turns]]:
    """What is accessed, with how it lies on the nodes."""
    regions = regions_of(machine, task)
    for pattern in task.accesses:
        region = regions.get(pattern.region)
        if region is None:
            continue  # not mapped yet
        for part in accessed(pattern, region.start, region.nr):
            for turns in placement.turns(machine, task, part.start, part.end):
                yield part, turns
