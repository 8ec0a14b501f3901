"""Each page to where it is used, as far as tasks declare their accesses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise

from pymigrate.mm.frames.page_alloc import zonelist
from pymigrate.mm.state.machine import Machine, regions_of
from pymigrate.mm.state.task import Task, accessed
from pymigrate.nodemask import Nodemask
from pymigrate.plan.chunks import make_moved
from pymigrate.plan.plan import UNLIMITED, Goal, Limits, Plan, PlanError
from pymigrate.plan.segments import Segment
from pymigrate.records import NamedTuple

_Memory = tuple[str, int]  # a file or an address space, by its id


class _Use(NamedTuple):
    """The pages [start, end) of some memory are accessed from a node."""

    start: int
    end: int
    rate: float  # accesses a second to each page
    node: int
    pid: int
    shift: int  # from a page of the memory to one of the process


class _Place(NamedTuple):
    """Pages [start, end) of a process are used from a node most."""

    pid: int
    node: int
    start: int
    end: int


def make_balanced(
    machine: Machine, uid: int, tasks: Iterable[Task], limits: Limits = UNLIMITED
) -> Plan:
    """The plan of calls that bring each page of *tasks*' to the node that accesses it most.

    Accesses of all processes that map a page count; of equals the lowest node. Raises PlanError
    if no task of them declares any; else as make_moved() does.
    """
    pids = {machine.process_of(task).pid for task in tasks}
    places = sorted(_places(machine, pids))
    if not places:
        raise PlanError("no task declares its accesses (access: of the scenario)")
    segments = [
        Segment(place.pid, place.start, place.end, source, place.node)
        for place in places
        for source in machine.memory_nodes
        if source != place.node
    ]
    segments.sort(key=lambda each: (each.pid, each.target, each.source, each.a))
    wanted = Nodemask.collect({place.node for place in places})
    known = tuple(dict.fromkeys(place.pid for place in places))
    return make_moved(machine, Goal(_title(known), uid, known, wanted, ()), segments, limits)


def _title(pids: tuple[int, ...]) -> str:
    many = f"processes {', '.join(map(str, pids))}" if len(pids) > 1 else f"process {pids[0]}"
    return f"plan: pages of {many} to the nodes that access them"


def _places(machine: Machine, pids: set[int]) -> Iterator[_Place]:
    """Where the accessed pages of *pids* should be, each page once."""
    uses: defaultdict[_Memory, list[_Use]] = defaultdict(list)
    for _, task in sorted(machine.tasks.items()):
        for memory, use in _uses(machine, task):
            uses[memory].append(use)
    for known in uses.values():
        last: _Place | None = None
        for place in _most(known, pids):
            if last and place[:2] == last[:2] and place.start == last.end:
                last = last._replace(end=place.end)
                continue
            if last:
                yield last
            last = place
        if last:
            yield last


def _most(uses: list[_Use], pids: set[int]) -> Iterator[_Place]:
    """The parts of a memory that one of *pids* maps, with the node that accesses them most."""
    for a, b in pairwise(sorted({point for use in uses for point in use[:2]})):
        here = [use for use in uses if use.start <= a and b <= use.end]
        mover = next((use for use in here if use.pid in pids), None)
        if mover is None:
            continue
        rates: defaultdict[int, float] = defaultdict(float)
        for use in here:
            rates[use.node] += use.rate
        node = min(rates, key=lambda nid: (-rates[nid], nid))
        yield _Place(mover.pid, node, a + mover.shift, b + mover.shift)


def _uses(machine: Machine, task: Task) -> Iterator[tuple[_Memory, _Use]]:
    """What a task accesses, by memory: shared mappings are their file's."""
    regions = regions_of(machine, task)
    node = zonelist(machine, machine.local_node(task))[0]
    pid = machine.process_of(task).pid
    for pattern in task.accesses:
        region = regions.get(pattern.region)
        if region is None:
            continue
        for part in accessed(pattern, region.start, region.nr):
            rate = part.rate / (part.end - part.start)
            for vma, a, b in task.mm.parts(part.start, part.end):
                memory, shift = ("mm", task.mm.mm_id), 0
                if vma.space and vma.is_shared:
                    memory, shift = ("file", vma.space), vma.start - vma.pgoff
                yield memory, _Use(a - shift, b - shift, rate, node, pid, shift)
