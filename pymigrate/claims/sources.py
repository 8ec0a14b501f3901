"""What a claim can name: counters, meminfo, numa_maps, nodes, tasks, accesses, what stayed."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from pymigrate.arguments import find_task
from pymigrate.claims.parse import Named
from pymigrate.mm.state.machine import Machine, regions_of
from pymigrate.mm.state.task import Region, Task
from pymigrate.records import NamedTuple
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.pages import placement
from pymigrate.views.proc import meminfo, numa_maps, vmstat
from pymigrate.views.told import accesses

_OF_A_MAP = ("anon", "dirty", "mapmax", "swapcache", "active", "writeback")
_OF_A_TASK = ("policy", "cpus", "mems", "node")
_OF_ACCESSES = ("local", "remote", "absent", "distance")
_KINDS = ("heap", "stack")


class Found(NamedTuple):
    """What a name stands for: a number or a text; *whole* is what it may be a part of."""

    value: float | str
    whole: float | None = None
    unit: int = 0  # bytes that each stands for; 0: it is no memory


Record = Mapping[str, object]


def find(machine: Machine, name: Named, record: Record | None = None) -> Found:
    """What *name* stands for; a step's own *record* comes before the machine.

    Raises ValueError for what is not there to be named, KernelError for a task that is not there.
    """
    if record is not None and name.whose is None:
        found = _of_record(record, name)
        if found is not None:
            return found
    source = _SOURCES.get(name.source)
    if source is None:
        known = [*_SOURCES, *(record or ())]
        raise ValueError(f"{name.text}: there is no {name.source}{_nearest(name.source, known)}")
    needs_one = name.source in ("numa_maps", "node", "task", "accesses")
    if needs_one != (name.whose is not None):
        form = f"{name.source}({'N' if name.source == 'node' else 'TASK'})" if needs_one else ""
        raise ValueError(f"{name.text}: expected {form or name.source + ' without parentheses'}")
    return source(machine, name)


def _of_record(record: Record, name: Named) -> Found | None:
    value: object = record.get(name.source)
    if name.source not in record:
        return None
    for part in name.parts:
        if not isinstance(value, Mapping):
            raise ValueError(f"{name.text}: {name.source} of this step has no parts")
        value = value.get(part, 0)
    if value is None:
        return Found("none")
    if isinstance(value, int | float | str):
        return Found(value)
    raise ValueError(f"{name.text}: {name.source} of this step is no number and no text")


def _vmstat(machine: Machine, name: Named) -> Found:
    return Found(_one_of(vmstat.rows(machine), name, "counter"))


def _meminfo(machine: Machine, name: Named) -> Found:
    return _in_kb(meminfo.meminfo(machine), name)


def _node(machine: Machine, name: Named) -> Found:
    assert name.whose is not None
    node = machine.nodes.get(int(name.whose)) if name.whose.isdecimal() else None
    if node is None:
        raise ValueError(f"{name.text}: there is no node {name.whose}")
    counters = vmstat.node_rows(machine, node)
    if name.parts and name.parts[0] in counters:
        return Found(_one_of(counters, name, "counter"))
    return _in_kb(meminfo.node_meminfo(machine, node.nid), name)


def _in_kb(rows: Mapping[str, int], name: Named) -> Found:
    """A line of meminfo, in bytes, with the total as its whole; hugetlb pages are numbers."""
    value = _one_of(rows, name, "line")
    if name.parts[0].startswith("HugePages_"):
        return Found(value, rows["HugePages_Total"])
    return Found(value << 10, rows["MemTotal"] << 10, 1)


def _numa_maps(machine: Machine, name: Named) -> Found:
    assert name.whose is not None
    task = find_task(machine, name.whose)
    *where, what = name.parts or ("",)
    if len(where) > 1:
        raise ValueError(f"{name.text}: expected numa_maps(TASK)[.REGION].FIELD")
    match = re.fullmatch(r"N(\d+)|pages", what)
    region, rows = _mapped(machine, task, where[0] if where else "", name)
    if match:
        counts = _placed(machine, task, region, rows)
        whole = sum(counts.values())
        value = counts.get(int(match[1]), 0) if match[1] else whole
        return Found(value, whole, 1 << PAGE_SHIFT)
    fields = {field: [getattr(row, field) for row in rows] for field in _OF_A_MAP}
    if what not in fields:
        expected = f"expected N0, N1, ..., pages or one of {', '.join(_OF_A_MAP)}"
        raise ValueError(f"{name.text}: there is no {what or 'field'}; {expected}")
    if region is not None and any(
        vma.start < region.start or vma.end > region.start + region.nr
        for vma in task.mm.vmas_between(region.start, region.start + region.nr)
    ):
        raise ValueError(f"{name.text}: a mapping reaches beyond {where[0]}; only pages and Nx can")
    values = fields[what]
    if what == "mapmax":
        return Found(max(values, default=0))
    sizes = [row.kernelpagesize_kb >> PAGE_SHIFT - 10 if row.is_huge else 1 for row in rows]
    total = sum(value * size for value, size in zip(values, sizes, strict=True))
    whole = sum(row.pages * size for row, size in zip(rows, sizes, strict=True))
    return Found(total, whole, 1 << PAGE_SHIFT)


def _mapped(
    machine: Machine, task: Task, where: str, name: Named
) -> tuple[Region | None, list[numa_maps.NumaMapsRow]]:
    """The region called *where*, and the rows of numa_maps that it, or its kind, or all have."""
    regions = regions_of(machine, task)
    if where in regions:
        region = regions[where]
        return region, numa_maps.rows(machine, task, region.start, region.start + region.nr)
    rows = numa_maps.rows(machine, task)
    if where in _KINDS:
        return None, [row for row in rows if row.kind == where]
    if where:
        near = _nearest(where, [*regions, *_KINDS])
        raise ValueError(f"{name.text}: {task.name} has no region {where}{near}")
    return None, rows


def _placed(
    machine: Machine, task: Task, region: Region | None, rows: Iterable[numa_maps.NumaMapsRow]
) -> dict[int, int]:
    """Base pages by node."""
    counts: dict[int, int] = {}
    if region is not None:
        for nr, node in placement.runs(machine, task, region.start, region.start + region.nr):
            if node >= 0:
                counts[node] = counts.get(node, 0) + nr
        return counts
    for row in rows:
        size = row.kernelpagesize_kb >> PAGE_SHIFT - 10 if row.is_huge else 1
        for node, nr in row.nodes.items():
            counts[node] = counts.get(node, 0) + nr * size
    return counts


def _task(machine: Machine, name: Named) -> Found:
    assert name.whose is not None
    task = find_task(machine, name.whose)
    rows: dict[str, str | int] = {
        "policy": str(task.policy or "default"),
        "cpus": str(task.cpus),
        "mems": str(task.mems_allowed),
        "node": machine.local_node(task),
    }
    if len(name.parts) != 1 or name.parts[0] not in rows:
        raise ValueError(f"{name.text}: expected task(TASK).{'|'.join(_OF_A_TASK)}")
    return Found(rows[name.parts[0]])


def _accesses(machine: Machine, name: Named) -> Found:
    assert name.whose is not None
    task = find_task(machine, name.whose)
    row = next((row for row in accesses.rows(machine) if row.pid == task.pid), None)
    if row is None:
        raise ValueError(f"{name.text}: no accesses of {task.name} are declared")
    if len(name.parts) != 1 or name.parts[0] not in _OF_ACCESSES:
        raise ValueError(f"{name.text}: expected accesses(TASK).{'|'.join(_OF_ACCESSES)}")
    value: float = getattr(row, name.parts[0])
    is_rate = name.parts[0] != "distance"
    return Found(value, row.local + row.remote + row.absent if is_rate else None)


def _stayed(machine: Machine, name: Named) -> Found:
    if name.parts:
        raise ValueError(f"{name.text}: stayed has no parts")
    return Found(sum(left.nr for left in machine.left), None, 1 << PAGE_SHIFT)


def _one_of(rows: Mapping[str, int], name: Named, noun: str) -> int:
    key = ".".join(name.parts)
    if key not in rows:
        raise ValueError(f"{name.text}: there is no {noun} {key}{_nearest(key, rows)}")
    return rows[key]


def _nearest(word: str, known: Iterable[str]) -> str:
    found = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; nearest is {found[0]}" if found else ""


_SOURCES = {
    "vmstat": _vmstat,
    "meminfo": _meminfo,
    "node": _node,
    "numa_maps": _numa_maps,
    "task": _task,
    "accesses": _accesses,
    "stayed": _stayed,
}
