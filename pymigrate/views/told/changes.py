"""What a command changes: where pages lie, what is mapped, set and allowed, and what it counted."""

from collections.abc import Container

from pymigrate.mm.base.vmstat import EVENTS, NODE_STATS, NUMA_EVENTS
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.records import NamedTuple
from pymigrate.units import PAGE_SHIFT, format_size
from pymigrate.views.pages.regions import region_names, region_offsets
from pymigrate.views.proc import numa_maps

Places = dict[tuple[int, str], dict[int, int]]  # (pid, mapping) -> pages by node

_MARKS = (
    (Vm.SHARED, "shared"),
    (Vm.LOCKED, "locked"),
    (Vm.SEQ_READ, "sequential"),
    (Vm.RAND_READ, "random"),
    (Vm.DONTCOPY, "dontfork"),
    (Vm.HUGEPAGE, "hugepage"),
    (Vm.NOHUGEPAGE, "nohugepage"),
    (Vm.MERGEABLE, "mergeable"),
)
_NONE = "none"


class Snapshot(NamedTuple):
    """Where everything lies, what else can be changed, and the counters."""

    places: Places
    facts: dict[str, str]
    counters: dict[str, int]


class Change(NamedTuple):
    """One mapping whose pages lie elsewhere now; counts are base pages by node."""

    pid: int
    mapping: str
    before: dict[int, int]
    after: dict[int, int]


class Fact(NamedTuple):
    """Something else that is not as it was: *what* it is about; "none" where it is not there."""

    what: str
    before: str
    after: str


class Changes(NamedTuple):
    """All that differs between two states."""

    moves: list[Change]
    facts: list[Fact]
    counted: dict[str, int]


def snapshot(machine: Machine, but: Container[int] = ()) -> Snapshot:
    """The state that diff() compares with, without the tasks whose pids are in *but*."""
    places: Places = {}
    facts = _settings(machine) | _cpusets(machine)
    for task in machine.processes:
        if task.pid in but:
            continue
        names = region_names(machine, task)
        for row in numa_maps.rows(machine, task):
            nodes = places.setdefault((task.pid, names(row.start)), {})
            for nid, nr in row.nodes.items():
                nodes[nid] = nodes.get(nid, 0) + nr
        facts |= _mappings(machine, task) | _pins(machine, task)
    for task in machine.tasks.values():
        if task.pid not in but:
            facts |= _task_facts(task)
    return Snapshot(places, facts, counters(machine))


def counters(machine: Machine) -> dict[str, int]:
    """What the machine and its nodes have counted."""
    found = dict(machine.counters)
    for node in machine.nodes.values():
        for name, nr in node.numa.items():
            found[name] = found.get(name, 0) + nr
    return found


def counted(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """The counters that are not as before, with the difference."""
    return {
        name: after[name] - before.get(name, 0)
        for name in (*NUMA_EVENTS, *NODE_STATS, *EVENTS)
        if after.get(name, 0) != before.get(name, 0)
    }


def diff(before: Snapshot, machine: Machine, but: Container[int] = ()) -> Changes:
    """What has changed since *before*, without the tasks whose pids are in *but*."""
    after = snapshot(machine, but)
    moves = [
        Change(*key, before.places.get(key, {}), after.places.get(key, {}))
        for key in dict.fromkeys([*before.places, *after.places])
        if before.places.get(key, {}) != after.places.get(key, {})
    ]
    facts = [
        Fact(what, before.facts.get(what, _NONE), after.facts.get(what, _NONE))
        for what in dict.fromkeys([*before.facts, *after.facts])
        if before.facts.get(what) != after.facts.get(what)
    ]
    return Changes(moves, facts, counted(before.counters, after.counters))


def format_diff(changes: Changes) -> str:
    """Text for people: a line for each mapping and for each fact, then the counters."""
    lines = []
    for change in changes.moves:
        nodes = sorted({*change.before, *change.after})
        moves = ", ".join(
            f"N{nid} {change.before.get(nid, 0)} -> {change.after.get(nid, 0)}"
            for nid in nodes
            if change.before.get(nid, 0) != change.after.get(nid, 0)
        )
        lines.append(f"{change.pid} {change.mapping}: {moves} pages")
    lines += [f"{fact.what}: {fact.before} -> {fact.after}" for fact in changes.facts]
    lines += [f"{name} +{nr}" for name, nr in changes.counted.items()]
    return "".join(f"{line}\n" for line in lines) or "no change\n"


def as_json(changes: Changes) -> dict[str, object]:
    """What a command would change, for machines: see docs/json.md."""
    return {
        "changes": [
            {
                "pid": change.pid,
                "mapping": change.mapping,
                "before": {str(nid): nr for nid, nr in sorted(change.before.items())},
                "after": {str(nid): nr for nid, nr in sorted(change.after.items())},
            }
            for change in changes.moves
        ],
        "other": [fact._asdict() for fact in changes.facts],
        "counters": changes.counted,
    }


def _settings(machine: Machine) -> dict[str, str]:
    from pymigrate.syscalls import sysctl  # which only a dry run needs, and compaction with it

    return sysctl.read_all(machine)


def _cpusets(machine: Machine) -> dict[str, str]:
    return {
        f"cpuset {name or '/'}": f"CPUs {group.cpus or '-'}, nodes {group.mems or '-'}"
        + (", memory_migrate" if group.memory_migrate else "")
        for name, group in machine.cpusets.items()
    }


def _task_facts(task: Task) -> dict[str, str]:
    return {
        f"{task.pid} {'thread' if task.thread_of else 'process'}": task.name,
        f"{task.pid} policy": str(task.policy or "default"),
        f"{task.pid} cpuset": task.cpuset or "/",
        f"{task.pid} CPUs": str(task.cpus),
        f"{task.pid} nodes": str(task.mems_allowed),
    }


def _mappings(machine: Machine, task: Task) -> dict[str, str]:
    name = region_offsets(machine, task)
    return {f"{task.pid} {name(vma.start)}": _mapping(vma) for vma in task.mm.vmas}


def _mapping(vma: Vma) -> str:
    prot = "".join(
        letter
        for bit, letter in ((Vm.READ, "r"), (Vm.WRITE, "w"), (Vm.EXEC, "x"))
        if vma.flags & bit
    )
    marks = [mark for bit, mark in _MARKS if vma.flags & bit]
    policy = str(vma.policy) if vma.policy else "no policy"
    return " ".join([format_size(vma.nr << PAGE_SHIFT), prot or "---", *marks, policy])


def _pins(machine: Machine, task: Task) -> dict[str, str]:
    name = region_offsets(machine, task)
    facts: dict[str, str] = {}
    for pin in machine.pins:
        if pin.pid == task.pid:
            how = "pinned" if pin.is_long else "held"
            what = f"{task.pid} {name(pin.start)} {how}"
            more = f"{facts[what]} and " if what in facts else ""
            facts[what] = f"{more}{format_size(pin.nr << PAGE_SHIFT)}"
    return facts
