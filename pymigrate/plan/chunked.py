"""Plans that keep limits: move_pages() in chunks, alone or ahead of what brings the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pymigrate.mm.calls.cgroup import find_cpuset
from pymigrate.mm.calls.cpuset import cpuset_mems_allowed, cpuset_of, effective_mems
from pymigrate.mm.calls.mempolicy import node_pairs
from pymigrate.mm.frames.page_alloc import zonelist
from pymigrate.mm.offline.memory_hotplug import memory_blocks
from pymigrate.mm.state.cost import Tally
from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Nodemask
from pymigrate.plan.calls import Call, MigratePages, Offline, SetMems
from pymigrate.plan.chunks import PERIOD, make_moved, moved
from pymigrate.plan.cuts import make_cut
from pymigrate.plan.pause import HIGH
from pymigrate.plan.plan import Goal, Limits, Outcome, Plan, PlanError, add, play, told
from pymigrate.plan.segments import Segment
from pymigrate.units import END_OF_MEMORY
from pymigrate.units import size_of_pages as size


def make_chunked(machine: Machine, goal: Goal, limits: Limits) -> Plan:
    """The plan of *goal* in chunks that keep *limits*.

    A process's pages move in chunks of move_pages(), a policy is given range by range. A cpuset
    has its old nodes and the new ones while chunks move, then the new ones alone; a node's memory
    goes block by block after the chunks. Raises PlanError for what breaks a limit all the same.
    """
    match goal.calls:
        case (MigratePages(pid, old, new),):
            pairs = node_pairs(old, new, Nodemask.collect(machine.nodes))
            segments = [Segment(pid, 0, END_OF_MEMORY, *pair) for pair in pairs]
            return make_moved(machine, goal, segments, limits)
        case (SetMems() | Offline() as call,):
            whole = play(machine, goal, goal.calls)
            if whole.refused:
                return told(machine, goal, goal.calls, whole, limits)
            if isinstance(call, Offline):
                if whole.blocks:
                    raise PlanError(
                        f"{whole.blocks[0]}; a node that keeps memory is not emptied in chunks,"
                        " which would move what it keeps"
                    )
                last = [call._replace(blocks=tuple(_online(machine, call.node)))]
                segments = list(_off_node(machine, goal, call.node))
                return _ahead(machine, goal, [], segments, last, limits)
            first = list(_widened(machine, call))
            segments = list(_to_mems(machine, whole.machine, goal))
            return _ahead(machine, goal, first, segments, [call], limits)
        case _:
            return make_cut(machine, goal, limits)


def _online(machine: Machine, node: int) -> Iterator[int]:
    """The memory blocks of a node that are online, by number."""
    return (block.number for block in memory_blocks(machine, node) if block.is_online)


def _off_node(machine: Machine, goal: Goal, node: int) -> Iterator[Segment]:
    """The processes' memory on *node* goes to the nearest other, as offlining does first."""
    others = [nid for nid in zonelist(machine, node) if nid != node]
    for pid in goal.pids if others else ():
        yield Segment(pid, 0, END_OF_MEMORY, node, others[0])


def _widened(machine: Machine, call: SetMems) -> Iterator[SetMems]:
    """The cpuset has its nodes and the new ones, unless either has the other's already."""
    mems = find_cpuset(machine, call.name).mems
    if mems and mems | call.mems not in (mems, call.mems):
        yield SetMems(call.name, mems | call.mems)


def _to_mems(machine: Machine, after: Machine, goal: Goal) -> Iterator[Segment]:
    """The tasks' memory follows their cpusets from what they allow to what they do *after*."""
    nodes = Nodemask.collect(machine.nodes)
    for pid in goal.pids:
        cpuset = cpuset_of(machine, machine.tasks[pid])
        old = effective_mems(machine, cpuset)
        new = cpuset_mems_allowed(after, after.tasks[pid])
        for pair in node_pairs(old, new, nodes) if cpuset.memory_migrate and old != new else ():
            yield Segment(pid, 0, END_OF_MEMORY, *pair)


def _ahead(
    machine: Machine,
    goal: Goal,
    first: Sequence[Call],
    segments: Iterable[Segment],
    last: Sequence[Call],
    limits: Limits,
) -> Plan:
    """*segments* move in chunks between *first* and *last*, which find little left to do."""
    opened = play(machine, goal, first)
    tasks = opened.machine.tasks
    may_go = [
        segment
        for segment in segments
        if segment.target in cpuset_mems_allowed(opened.machine, tasks[segment.pid])
    ]
    chunks, middle = moved(opened.machine, goal, may_go, limits)
    last, closed = _closed(middle.machine, goal, last, limits)
    return told(machine, goal, [*first, *chunks, *last], _joined(opened, middle, closed), limits)


def _closed(
    machine: Machine, goal: Goal, calls: Sequence[Call], limits: Limits
) -> tuple[Sequence[Call], Outcome]:
    """The last *calls* and what they come to; fewer memory blocks at a time if limits want it."""
    while True:
        outcome = play(machine, goal, calls)
        late = set(_breaking(calls, outcome, limits))
        if not late:
            return calls, outcome
        calls = [part for call in calls for part in (_halves(call) if call in late else [call])]


def _halves(call: Call) -> Iterator[Offline]:
    if isinstance(call, Offline):
        middle = len(call.blocks) // 2
        yield from (
            call._replace(blocks=part) for part in (call.blocks[:middle], call.blocks[middle:])
        )


def _breaking(calls: Sequence[Call], outcome: Outcome, limits: Limits) -> Iterator[Call]:
    """Those of *calls* that break *limits*. Raises PlanError for one that cannot be cut."""
    for call, us, nr in zip(calls, outcome.times, outcome.sizes, strict=False):
        is_late = bool(limits.max_pause) and us * HIGH > limits.max_pause
        if not is_late and nr <= limits.most_nr(PERIOD):
            continue
        if isinstance(call, Offline) and len(call.blocks) > 1:
            yield call
            continue
        what = f"memory block {call.blocks[0]}" if isinstance(call, Offline) else "the cpuset"
        rest = f"with {size(nr)} that move_pages() cannot move ahead of it"
        if is_late:
            raise PlanError(
                f"{what} takes up to {us * HIGH:.3g} us {rest}, longer than the pause may be"
            )
        raise PlanError(f"{what} moves more at one go than the limit allows, {rest}")


def _joined(*outcomes: Outcome) -> Outcome:
    """What calls have come to one after the other; the last ones find all that stays."""
    tally, dropped, end = Tally(), dict[int, int](), outcomes[-1]
    for outcome in outcomes:
        add(tally, outcome.tally)
        for nid, nr in outcome.dropped.items():
            dropped[nid] = dropped.get(nid, 0) + nr
    return end._replace(
        tally=tally,
        dropped=dropped,
        refused=next((each.refused for each in outcomes if each.refused), None),
        times=[us for outcome in outcomes for us in outcome.times],
        mmap_lock=max(outcome.mmap_lock for outcome in outcomes),
    )
