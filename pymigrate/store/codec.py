"""The machine as rows and blobs, and back: the one place that names every field of every type.

A type with a few fields is a table: its columns, what makes rows of a machine, and what puts rows
into a machine stand side by side, in TABLES and below it. A run map is a blob, see KINDS.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from pymigrate.errors import StoreError
from pymigrate.mm.address_space import AddressSpace
from pymigrate.mm.driver import Driver
from pymigrate.mm.machine import (
    Cpuset,
    Device,
    HugePool,
    Left,
    Machine,
    Node,
    Pin,
    Region,
    Task,
    Zone,
)
from pymigrate.mm.memmap import Busy, FolioWork
from pymigrate.mm.mempolicy import Mempolicy
from pymigrate.mm.mm import Mm
from pymigrate.mm.numa_state import NumaMm, NumaTask
from pymigrate.mm.release import RELEASES
from pymigrate.mm.runs import R, RunMap
from pymigrate.mm.stable_tree import RmapItem
from pymigrate.mm.swap import LruBatch
from pymigrate.mm.vma import Vma
from pymigrate.mm.vmstat import Counters
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.store.blobs import KINDS, pack, policy_of, policy_text, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Row = tuple[Any, ...]  # ints, texts, bytes and None, by the table's columns
    Rows = dict[str, list[Row]]  # of each table, in the order of the machine
    MapKey = tuple[str, int]  # kind of the run map, and what its owner is called
    Maps = Mapping[MapKey, RunMap[Any]]  # runs of the kind's type

# What reading raises where something else stands than was once written.
MISFITS = (ValueError, TypeError, LookupError, AttributeError)
DERIVED = frozenset(
    {"driver_calls", "events", "meanwhile", "traces_steps", "zonelists"}
)  # fields of Machine that are not kept


class DamagedError(StoreError):
    """A file does not hold what was once written."""

    def __init__(self, path: str) -> None:
        super().__init__("is damaged; `pymigrate boot` starts afresh", path)


class Table(NamedTuple):
    """How one type is kept: the order of its rows is that of the machine."""

    columns: str
    rows: Callable[[Machine], list[Row]]
    read: Callable[[Machine, Iterable[Row], Maps], None]


class StoredRunMap(RunMap[R]):
    """A run map as it was stored; it becomes a plain RunMap when it is first looked at."""

    __slots__ = ()

    def __init__(self, kind: str, blob: bytes, path: str = "") -> None:
        self.changed = False  # runs and starts are left unset, for __getattr__ to fill
        self.unread = lambda: decode_runs(kind, blob, path)

    def __getattr__(self, name: str) -> Any:  # a list of runs or of their starts
        if name not in ("runs", "starts"):
            raise AttributeError(name)
        self.runs = self.unread()
        self.starts = [run.start for run in self.runs]
        del self.unread
        # The attributes of a class with __getattr__ take twice as long to look up.
        self.__class__ = RunMap  # type: ignore[assignment]  # its layout is the same
        return self.runs if name == "runs" else self.starts


def rows_of(machine: Machine) -> Rows:
    """All of *machine* but its run maps."""
    return {name: table.rows(machine) for name, table in TABLES.items()}


def maps_of(machine: Machine) -> dict[MapKey, RunMap[Any]]:
    """The run maps of *machine*."""
    maps: dict[MapKey, RunMap[Any]] = {}
    for node in machine.nodes.values():
        maps["memmap", node.nid] = node.memmap
        maps["pool", node.nid] = node.hugetlb.free
        for zone in node.zones:
            maps["free", zone.start] = zone.free
    for device in machine.devices.values():
        maps["device_free", device.number] = device.free
        maps["device_memmap", device.number] = device.memmap
    for mm in machine.mms.values():
        maps["page_table", mm.mm_id] = mm.page_table
        maps["tables", mm.mm_id] = mm.tables
        maps["resv", mm.mm_id] = mm.resv
    for space in machine.spaces.values():
        maps["pages", space.space_id] = space.pages
        maps["policies", space.space_id] = space.policies
        maps["space_resv", space.space_id] = space.resv
    maps["stable_tree", 0] = machine.stable_tree.pages
    return maps


def machine_of(rows: Rows, maps: Maps) -> Machine:
    """The machine with those *rows* and *maps*.

    Raises one of MISFITS if they make no machine.
    """
    machine = Machine({}, {})
    for name, table in TABLES.items():
        table.read(machine, rows[name], maps)
    return machine


def encode_runs(kind: str, runs: list[Any]) -> bytes:  # runs of the kind's type
    """The blob of a run map."""
    return KINDS[kind].encode(runs)


def decode_runs(kind: str, blob: bytes, path: str = "") -> list[Any]:  # runs of the kind's type
    """The runs of a blob. Raises DamagedError, which names *path*."""
    try:
        return KINDS[kind].decode(blob)
    except MISFITS:
        raise DamagedError(path) from None


# Machine and what is kept once


def _machine_rows(machine: Machine) -> list[Row]:
    return [
        (
            machine.release.name,
            machine.thp,
            int(machine.demotion),
            machine.numa_balancing,
            _text(chain.from_iterable(machine.weights.items())),
            _counters_text(machine.counters),
            machine.next_pid,
            machine.next_id,
            machine.next_region,
            machine.now,
            machine.resv_huge_pages,
            machine.last_call,
        )
    ]


def _read_machine(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    [(release, thp, demotion, balancing, weights, counters, *rest)] = rows
    machine.release = RELEASES[release]
    machine.thp, machine.demotion, machine.numa_balancing = thp, bool(demotion), balancing
    machine.weights = _pairs(weights)
    machine.counters = _counters(counters)
    machine.next_pid, machine.next_id, machine.next_region, *rest = rest
    machine.now, machine.resv_huge_pages, machine.last_call = rest


def _distance_rows(machine: Machine) -> list[Row]:
    return [
        (nid, _text(chain.from_iterable(others.items())))
        for nid, others in machine.distances.items()
    ]


def _read_distances(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    machine.distances = {nid: _pairs(others) for nid, others in rows}


def _region_rows(machine: Machine) -> list[Row]:
    return [(*key, *region) for key, region in machine.regions.items()]


def _read_regions(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    machine.regions = {(task, name): Region(*region) for task, name, *region in rows}


def _lru_batch_rows(machine: Machine) -> list[Row]:
    return [
        (cpu, _text(batch.waiting), _text(batch.mlocked))
        for cpu, batch in machine.lru_batches.items()
    ]


def _read_lru_batches(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    machine.lru_batches = {
        cpu: LruBatch(_ints(waiting), _ints(mlocked)) for cpu, waiting, mlocked in rows
    }


def _pin_rows(machine: Machine) -> list[Row]:
    return [(pin.pid, pin.start, pin.nr, int(pin.is_long), pack(pin.pfns)) for pin in machine.pins]


def _read_pins(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    machine.pins = [
        Pin(pid, start, nr, bool(is_long), tuple(unpack(pfns)))
        for pid, start, nr, is_long, pfns in rows
    ]


def _busy_rows(machine: Machine) -> list[Row]:
    return [(pfn, work.kind.value, work.left) for pfn, work in machine.busy.items()]


def _read_busy(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    machine.busy = {pfn: FolioWork(Busy(kind), left) for pfn, kind, left in rows}


def _driver_rows(machine: Machine) -> list[Row]:
    return [
        (
            driver.driver_id,
            driver.name,
            driver.kind,
            driver.interface,
            " ".join(driver.isolates),
            " ".join(driver.migrates),
            pack(driver.pages),
            driver.isolated,
        )
        for driver in machine.drivers.values()
    ]


def _read_drivers(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    for driver_id, name, kind, interface, isolates, migrates, pages, isolated in rows:
        machine.drivers[name] = Driver(
            driver_id,
            name,
            kind,
            interface,
            isolates.split(),
            migrates.split(),
            list(unpack(pages)),
            isolated,
        )


def _rmap_item_rows(machine: Machine) -> list[Row]:
    return [(node, *item) for node, items in machine.stable_tree.items.items() for item in items]


def _read_rmap_items(machine: Machine, rows: Iterable[Row], maps: Maps) -> None:
    machine.stable_tree.pages = maps["stable_tree", 0]
    for node, *item in rows:
        machine.stable_tree.items.setdefault(node, []).append(RmapItem(*item))


def _cpuset_rows(machine: Machine) -> list[Row]:
    return [
        (key, c.name, f"{c.cpus:x}", f"{c.mems:x}", int(c.memory_migrate), f"{c.old_mems:x}")
        for key, c in machine.cpusets.items()
    ]


def _read_cpusets(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    for key, name, cpus, mems, memory_migrate, old_mems in rows:
        machine.cpusets[key] = Cpuset(
            name,
            Cpumask(cpus, 16),
            Nodemask(mems, 16),
            bool(memory_migrate),
            Nodemask(old_mems, 16),
        )


def _left_rows(machine: Machine) -> list[Row]:
    return [tuple(left) for left in machine.left]


def _read_left(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    machine.left = [Left(*row) for row in rows]


# Nodes


def _node_rows(machine: Machine) -> list[Row]:
    return [
        (
            node.nid,
            f"{node.cpus:x}",
            _counters_text(node.numa),
            node.hugetlb.nr,
            node.hugetlb.surplus,
        )
        for node in machine.nodes.values()
    ]


def _read_nodes(machine: Machine, rows: Iterable[Row], maps: Maps) -> None:
    for nid, cpus, numa, nr, surplus in rows:
        memmap, pool = maps["memmap", nid], HugePool(maps["pool", nid], nr, surplus)
        machine.nodes[nid] = Node(nid, Cpumask(cpus, 16), [], memmap, _counters(numa), pool)


def _zone_rows(machine: Machine) -> list[Row]:
    return [
        (
            node.nid,
            zone.name,
            zone.start,
            zone.nr,
            zone.nr_free,
            zone.watermark_min,
            zone.watermark_low,
            zone.watermark_high,
            zone.reserve,
        )
        for node in machine.nodes.values()
        for zone in node.zones
    ]


def _read_zones(machine: Machine, rows: Iterable[Row], maps: Maps) -> None:
    for nid, name, start, nr, *rest in rows:
        machine.nodes[nid].zones.append(Zone(name, start, nr, maps["free", start], *rest))


def _device_rows(machine: Machine) -> list[Row]:
    return [(device.name, device.number, device.nr) for device in machine.devices.values()]


def _read_devices(machine: Machine, rows: Iterable[Row], maps: Maps) -> None:
    for name, number, nr in rows:
        free, memmap = maps["device_free", number], maps["device_memmap", number]
        machine.devices[name] = Device(name, number, nr, free, memmap)


# Address spaces of processes and of files


def _mm_rows(machine: Machine) -> list[Row]:
    return [
        (mm.mm_id, mm.family, *mm.brk, mm.start_stack, _text(mm.numa))
        for mm in machine.mms.values()
    ]


def _read_mms(machine: Machine, rows: Iterable[Row], maps: Maps) -> None:
    for mm_id, family, brk, brk_end, start_stack, numa in rows:
        table, tables = maps["page_table", mm_id], maps["tables", mm_id]
        brks, resv = (brk, brk_end), maps["resv", mm_id]
        machine.mms[mm_id] = Mm(
            mm_id, family, [], table, tables, resv, brks, start_stack, NumaMm(*_ints(numa))
        )


def _vma_rows(machine: Machine) -> list[Row]:
    return [
        (
            mm.mm_id,
            vma.start,
            vma.end,
            int(vma.flags),
            vma.pgoff,
            vma.space,
            policy_text(vma.policy),
            vma.anon_vma,
            int(vma.anon_chained),
            int(vma.is_resv_owner),
        )
        for mm in machine.mms.values()
        for vma in mm.vmas
    ]


def _read_vmas(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    for mm_id, start, end, flags, pgoff, space, policy, anon_vma, *marks in rows:
        chained, is_resv_owner = map(bool, marks)
        machine.mms[mm_id].vmas.append(
            Vma(start, end, flags, pgoff, space, _policy(policy), anon_vma, chained, is_resv_owner)
        )


def _space_rows(machine: Machine) -> list[Row]:
    return [
        (space.space_id, space.name, space.fs, space.size, space.inode, *space.readahead)
        for space in machine.spaces.values()
    ]


def _read_spaces(machine: Machine, rows: Iterable[Row], maps: Maps) -> None:
    for space_id, name, fs, size, inode, *readahead in rows:
        pages, policies = maps["pages", space_id], maps["policies", space_id]
        window = (readahead[0], readahead[1], readahead[2])
        machine.spaces[space_id] = AddressSpace(
            space_id, name, fs, size, inode, pages, policies, window, maps["space_resv", space_id]
        )


# Tasks


def _task_rows(machine: Machine) -> list[Row]:
    for task in machine.tasks.values():
        assert machine.mms.get(task.mm.mm_id) is task.mm, f"{task.name} has a strange mm"
    return [
        (
            task.pid,
            task.name,
            task.comm,
            task.uid,
            f"{task.cpus:x}",
            task.mm.mm_id,
            f"{task.mems_allowed:x}",
            policy_text(task.policy),
            task.il_prev,
            task.il_weight,
            task.parent,
            task.cpuset,
            f"{task.user_cpus:x}",
            task.caps,
            int(task.is_dumpable),
            _text(task.numa),
        )
        for task in machine.tasks.values()
    ]


def _read_tasks(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    for pid, name, comm, uid, cpus, mm_id, mems, policy, *rest in rows:
        il_prev, il_weight, parent, cpuset, user, caps, is_dumpable, numa = rest
        machine.tasks[pid] = Task(
            pid,
            name,
            comm,
            uid,
            Cpumask(cpus, 16),
            machine.mms[mm_id],
            Nodemask(mems, 16),
            _policy(policy),
            il_prev,
            il_weight,
            parent,
            cpuset,
            Cpumask(user, 16),
            caps,
            bool(is_dumpable),
            NumaTask(*_ints(numa)),
        )


# In the order of reading: a row's owner comes before it.
TABLES = {
    "machine": Table(
        "release thp demotion numa_balancing weights counters next_pid next_id next_region"
        " now resv_huge_pages last_call",
        _machine_rows,
        _read_machine,
    ),
    "distance": Table("nid others", _distance_rows, _read_distances),
    "node": Table("nid cpus numa nr_hugepages surplus_hugepages", _node_rows, _read_nodes),
    "zone": Table(
        "nid name start nr nr_free watermark_min watermark_low watermark_high reserve",
        _zone_rows,
        _read_zones,
    ),
    "device": Table("name number nr", _device_rows, _read_devices),
    "mm": Table("mm_id family brk brk_end start_stack numa", _mm_rows, _read_mms),
    "vma": Table(
        "mm_id start end flags pgoff space policy anon_vma anon_chained is_resv_owner",
        _vma_rows,
        _read_vmas,
    ),
    "space": Table(
        "space_id name fs size inode ra_start ra_size ra_async_size", _space_rows, _read_spaces
    ),
    "task": Table(
        "pid name comm uid cpus mm_id mems_allowed policy il_prev il_weight parent cpuset"
        " user_cpus caps is_dumpable numa",
        _task_rows,
        _read_tasks,
    ),
    "region": Table("key_task key_name task name start nr", _region_rows, _read_regions),
    "lru_batch": Table("cpu waiting mlocked", _lru_batch_rows, _read_lru_batches),
    "pin": Table("pid start nr is_long pfns", _pin_rows, _read_pins),
    "driver": Table(
        "driver_id name kind interface isolates migrates pages isolated",
        _driver_rows,
        _read_drivers,
    ),
    "busy": Table("pfn kind passes", _busy_rows, _read_busy),
    "left_behind": Table("pid mapping node nr why", _left_rows, _read_left),
    "rmap_item": Table("node mm_id family page", _rmap_item_rows, _read_rmap_items),
    "cpuset": Table("key name cpus mems memory_migrate old_mems", _cpuset_rows, _read_cpusets),
}


# Small values as text


def _text(numbers: Iterable[int]) -> str:
    return " ".join(map(str, numbers))


def _ints(text: str) -> list[int]:
    return [int(word) for word in text.split()]


def _pairs(text: str) -> dict[int, int]:
    numbers = iter(_ints(text))
    return dict(zip(numbers, numbers, strict=True))


def _counters_text(counters: Counters) -> str:
    return " ".join([f"{name} {nr}" for name, nr in counters.items()])


def _counters(text: str) -> Counters:
    words = iter(text.split())
    return Counters(zip(words, map(int, words), strict=True))


def _policy(text: str | None) -> Mempolicy | None:
    return None if text is None else policy_of(text)
