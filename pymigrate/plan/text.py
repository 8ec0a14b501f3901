"""A plan for people, and for machines."""

from __future__ import annotations

from collections.abc import Iterable

from pymigrate.mm.state.task import Left
from pymigrate.plan.pause import HIGH, LOW
from pymigrate.plan.plan import Moved, NodeFit, Plan
from pymigrate.units import counted
from pymigrate.units import size_of_pages as size
from pymigrate.views.columns import aligned
from pymigrate.views.told import cost
from pymigrate.views.why.reasons import REASONS


def time_range(us: float) -> str:
    """An estimated time, from half of it to double.

    >>> time_range(1500.0)
    '0.75 to 3 ms'
    """
    return between(us * LOW, us * HIGH)


def between(low: float, high: float) -> str:
    """From one time to another, in microseconds.

    >>> between(2e6, 2e6)
    '2 to 2 s'
    """
    for unit, name in ((1e6, "s"), (1e3, "ms")):
        if high >= 2 * unit:
            return f"{_number(low / unit)} to {_number(high / unit)} {name}"
    return f"{_number(low)} to {_number(high)} us"


def format_plan(plan: Plan) -> str:
    """The whole answer as lines."""
    lines = [plan.goal.title]
    if plan.refused:
        lines.append(f"refused: {plan.refused}: {plan.refused.why}")
    lines += [*_moves(plan), *_stays(plan), *_nodes(plan), *_counters(plan)]
    if plan.nr:
        lines += [*_times(plan), *pauses(plan), *bandwidth(plan)]
    return "".join(f"{line}\n" for line in lines)


def ways(plan: Plan) -> list[tuple[str, str, str]]:
    """What moves: the processes, a mapping of theirs, and how much of it lies where."""
    found: dict[tuple[str, str], list[int]] = {}
    for move in plan.moves:
        found.setdefault((move.mapping, _way(move)), []).append(move.pid)
    return [(_pids(pids), mapping, way) for (mapping, way), pids in found.items()]


def reasons(plan: Plan) -> list[tuple[str, list[Left]]]:
    """What stays by its reason, a key of REASONS."""
    found: dict[str, list[Left]] = {}
    for row in plan.stays:
        found.setdefault(row.why, []).append(row)
    return list(found.items())


def as_json(plan: Plan) -> dict[str, object]:
    """The whole answer for machines: see docs/json.md. Times are in microseconds."""
    pause = plan.pause
    return {
        "plan": plan.goal.title,
        "refused": plan.refused and {"errno": plan.refused.name, "why": plan.refused.why},
        "moved": plan.nr,
        "moves": [
            {
                "pid": move.pid,
                "mapping": move.mapping,
                "pages": move.nr,
                "before": _nodes_of(move.before),
                "after": _nodes_of(move.after),
            }
            for move in plan.moves
        ],
        "stays": [
            row._asdict()
            | {
                "why": REASONS[row.why].text,
                "shows": REASONS[row.why].shows,
                "cure": REASONS[row.why].cure,
            }
            for row in plan.stays
        ],
        "blocks": list(plan.blocks),
        "nodes": [row._asdict() | {"verdict": row.verdict} for row in plan.nodes],
        "elsewhere": _nodes_of(plan.elsewhere),
        "counters": plan.counters,
        "estimated": cost.as_json(plan.time),
        "range": {"from": LOW, "to": HIGH},
        "pause": {
            "page_us": round(pause.page, 3),
            "thread_us": round(pause.thread, 3),
            "mmap_lock_us": round(pause.mmap_lock, 3),
            "is_write": pause.is_write,
            "waits": [
                {
                    "order": wait.order,
                    "folios": wait.folios,
                    "maps": wait.maps,
                    "time_us": round(wait.time, 3),
                }
                for wait in pause.waits
            ],
        },
        "bandwidth": [
            {"source": source, "target": target, "bytes": nr}
            for (source, target), nr in plan.pairs.items()
        ],
        "calls": len(plan.calls),
        "duration_us": [round(us, 3) for us in plan.duration],
    }


def verdict(row: NodeFit) -> str:
    """Whether what is to come fits, and how much does not, or gives way."""
    if row.full:
        return f"{row.verdict}: {size(row.full)} too many"
    return f"{row.verdict}: {size(row.dropped)} of it" if row.dropped else row.verdict


def _nodes_of(nodes: dict[int, int]) -> dict[str, int]:
    return {str(nid): nr for nid, nr in sorted(nodes.items())}


def _moves(plan: Plan) -> list[str]:
    if not plan.nr:
        return ["moves: nothing"]
    lines = [f"moves: {counted(plan.nr, 'page')} ({size(plan.nr)})"]
    return lines + [f"  {pids} {mapping}: {way}" for pids, mapping, way in ways(plan)]


def _pids(pids: list[int]) -> str:
    """The first process, and how many others there are.

    >>> _pids([7]), _pids([7, 8, 9])
    ('7', '7 and 2 more')
    """
    return f"{pids[0]} and {len(pids) - 1} more" if len(pids) > 1 else str(pids[0])


def _way(move: Moved) -> str:
    nodes = sorted({*move.before, *move.after})
    pairs = ((nid, move.before.get(nid, 0), move.after.get(nid, 0)) for nid in nodes)
    return ", ".join(f"N{nid} {size(a)} -> {size(b)}" for nid, a, b in pairs if a != b)


def _stays(plan: Plan) -> list[str]:
    lines = [f"stays online: {text}" for text in plan.blocks]
    if not plan.stays:
        return [*lines, "stays: nothing that was to move"]
    total = sum(row.nr for row in plan.stays)
    lines.append(f"stays: {counted(total, 'page')} ({size(total)})")
    for why, rows in reasons(plan):
        for row in rows:
            what = f"{row.pid} {row.mapping}: {counted(row.nr, 'page')} ({size(row.nr)})"
            lines.append(f"  {what} on node {row.node}: {REASONS[why].text}")
        lines.append(f"    cure: {REASONS[why].cure}")
    return lines


def _nodes(plan: Plan) -> list[str]:
    if not plan.nodes:
        return []
    head = ["NODE", "LEAVES", "ARRIVES", "FREE", "FREE AFTER", "LOW", "FITS"]
    lines = aligned([head, *map(_node, plan.nodes)], {6}, "  ")
    for nid, nr in plan.elsewhere.items():
        lines.append(f"falls back to node {nid}: {counted(nr, 'page')} ({size(nr)})")
    return [line.rstrip() for line in lines]


def _node(row: NodeFit) -> list[str]:
    sizes = (row.leaves, row.arrives, row.free, row.free_after, row.watermark_low)
    return [str(row.node), *map(size, sizes), verdict(row)]


def _counters(plan: Plan) -> list[str]:
    if not plan.counters:
        return ["counters: none changes"]
    return ["counters: " + _listed(f"{name} +{nr}" for name, nr in plan.counters.items())]


def _times(plan: Plan) -> list[str]:
    parts = cost.format_line(plan.time).partition(": ")
    lines = [f"time, estimated: {time_range(plan.time.total)}: half to double of {parts[2]}"]
    if plan.limits.are_set:
        low, high = plan.duration
        lines.append(f"chunks: {counted(len(plan.calls), 'call')}, {between(low, high)} with rests")
    return lines


def pauses(plan: Plan) -> list[str]:
    """Who waits, how long: a head, and a line for each."""
    pause = plan.pause
    lines = ["pause, estimated:"]
    for wait in pause.waits:
        maps = f", mapped {wait.maps} times" if wait.maps > 1 else ""
        what = f"{wait.folios} of {size(1 << wait.order)} at once{maps}"
        lines.append(f"  a page: {time_range(wait.time)} ({what})")
    lines.append(f"  a thread that meets all of a call's pages: {time_range(pause.thread)}")
    how = "for writing: page faults wait, too" if pause.is_write else "for reading"
    if pause.mmap_lock:
        lines.append(f"  mmap_lock: {time_range(pause.mmap_lock)} ({how})")
    return lines


def bandwidth(plan: Plan) -> list[str]:
    """What copies take of the nodes' bandwidth while they go on."""
    shortest, longest = plan.duration
    lines = []
    for (source, target), nr in plan.pairs.items():
        low, high = nr / longest / 1e3, nr / shortest / 1e3
        lines.append(
            f"bandwidth, estimated: {_number(low)} to {_number(high)} GB/s read from node {source}"
            f" and written to node {target}, on average"
        )
    return lines


def _listed(items: Iterable[str]) -> str:
    return ", ".join(items)


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
