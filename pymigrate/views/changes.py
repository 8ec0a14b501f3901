"""What a command changes: where each task's pages lay before and after it, and what it counted."""

from typing import NamedTuple

from pymigrate.mm.machine import Machine
from pymigrate.mm.vmstat import EVENTS
from pymigrate.views import numa_maps
from pymigrate.views.regions import region_names

Places = dict[tuple[int, str], dict[int, int]]  # (pid, mapping) -> pages by node


class Snapshot(NamedTuple):
    """Where everything lies, and the counters."""

    places: Places
    counters: dict[str, int]


class Change(NamedTuple):
    """One mapping whose pages lie elsewhere now; counts are base pages by node."""

    pid: int
    mapping: str
    before: dict[int, int]
    after: dict[int, int]


def snapshot(machine: Machine) -> Snapshot:
    """The state that diff() compares with."""
    places: Places = {}
    for task in machine.tasks.values():
        names = region_names(machine, task)
        for row in numa_maps.rows(machine, task):
            nodes = places.setdefault((task.pid, names(row.start)), {})
            for nid, nr in row.nodes.items():
                nodes[nid] = nodes.get(nid, 0) + nr
    return Snapshot(places, dict(machine.counters))


def diff(before: Snapshot, machine: Machine) -> tuple[list[Change], dict[str, int]]:
    """What has changed since *before*: mappings, and events with how often they happened."""
    after = snapshot(machine)
    changes = [
        Change(*key, before.places.get(key, {}), after.places.get(key, {}))
        for key in dict.fromkeys([*before.places, *after.places])
        if before.places.get(key, {}) != after.places.get(key, {})
    ]
    counted = {
        name: after.counters[name] - before.counters.get(name, 0)
        for name in EVENTS
        if after.counters.get(name, 0) != before.counters.get(name, 0)
    }
    return changes, counted


def format_diff(changes: list[Change], counted: dict[str, int]) -> str:
    """Text for people: a line for each mapping, then the counters."""
    lines = []
    for change in changes:
        nodes = sorted({*change.before, *change.after})
        moves = ", ".join(
            f"N{nid} {change.before.get(nid, 0)} -> {change.after.get(nid, 0)}"
            for nid in nodes
            if change.before.get(nid, 0) != change.after.get(nid, 0)
        )
        lines.append(f"{change.pid} {change.mapping}: {moves} pages")
    lines += [f"{name} +{nr}" for name, nr in counted.items()]
    return "".join(f"{line}\n" for line in lines) or "no change\n"


def as_json(changes: list[Change], counted: dict[str, int]) -> dict[str, object]:
    """The same for machines."""
    return {
        "changes": [
            {
                "pid": change.pid,
                "mapping": change.mapping,
                "before": {str(nid): nr for nid, nr in sorted(change.before.items())},
                "after": {str(nid): nr for nid, nr in sorted(change.after.items())},
            }
            for change in changes
        ],
        "counters": counted,
    }
