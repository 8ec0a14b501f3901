"""The tables of a state file: which types it has, and where in a machine their values are."""

from __future__ import annotations

from collections.abc import Iterator
from operator import setitem
from typing import Any

from pymigrate.mm.base.costs import Costs
from pymigrate.mm.base.memmap import Busy, FolioWork
from pymigrate.mm.base.release import RELEASES
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Inserted, Mm
from pymigrate.mm.state.node import (
    AccessCoordinate,
    Allocation,
    CompactKnobs,
    CompactState,
    Device,
    Driver,
    HugePool,
    KsmKnobs,
    LruBatch,
    LruGen,
    MemoryFailures,
    Node,
    Zone,
)
from pymigrate.mm.state.numa import (
    Faults,
    FaultTable,
    NumaGroup,
    NumaKnobs,
    NumaMm,
    NumaTask,
    NumaVma,
    Promotion,
)
from pymigrate.mm.state.stable_tree import RmapItem
from pymigrate.mm.state.task import AccessPattern, Cpuset, Left, Pin, Region, Task
from pymigrate.mm.state.vma import Vma
from pymigrate.records import NamedTuple
from pymigrate.store.blobs import PTES, Codec
from pymigrate.store.table import (
    BOOL,
    COUNTERS,
    CPUS,
    INT_DICT,
    INT_TUPLE,
    INTS,
    NODES,
    PACKED,
    PACKED_TUPLE,
    POLICY,
    WORDS,
    Table,
    numbers_of,
    optional,
)

# The fields of Machine that are not kept; the ledger is, but apart.
DERIVED = frozenset(("hopeless", "ledger", "scope", "tiers", "watch", "zonelists"))
# Those that other tables fill.
_PARTS = """
    nodes distances tasks mms spaces regions lru_batches pins busy stable_tree cpusets drivers left
    devices contigs numa_groups allocations
""".split()


class Distances(NamedTuple):
    """How far the nodes are from node *nid*."""

    nid: int
    others: dict[int, int]


def _faults_of(text: str) -> FaultTable:
    numbers = [int(word) for word in text.split()]
    width = 2 + len(Faults._fields)
    rows = [numbers[i : i + width] for i in range(0, len(numbers), width)]
    return {(nid, private): Faults(*counts) for nid, private, *counts in rows}


_FAULTS = Codec(
    lambda table: " ".join(
        str(number) for key, faults in table.items() for number in (*key, *faults)
    ),
    _faults_of,
)


def _tasks(machine: Machine) -> Iterator[tuple[Task]]:
    for task in machine.tasks.values():
        assert machine.mms.get(task.mm.mm_id) is task.mm, f"{task.name} has a strange mm"
        yield (task,)


def _put_task(machine: Machine, task: Any) -> None:  # a Task that has the number of its mm as yet
    task.mm = machine.mms[task.mm]
    machine.tasks[task.pid] = task


def _put_machine(machine: Machine, kept: Machine) -> None:
    for name in TABLES["machine"].fields:
        setattr(machine, name, getattr(kept, name))


def _put_vma(machine: Machine, vma: Vma, mm_id: int) -> None:
    machine.mms[mm_id].vmas.append(vma)


def _put_pool(machine: Machine, pool: HugePool, nid: int) -> None:
    machine.nodes[nid].hugetlb = pool


def _put_compact_state(machine: Machine, state: CompactState, nid: int, number: int) -> None:
    machine.nodes[nid].zones[number].compact = state


# In the order of reading: a row's owner comes before it.
TABLES = {
    "machine": Table(
        Machine,
        lambda machine: [(machine,)],
        _put_machine,
        codecs={
            "release": Codec(lambda release: release.name, RELEASES.__getitem__),
            "demotion": BOOL,
            "weights": INT_DICT,
            "bad_zero_pages": INT_TUPLE,
            "counters": COUNTERS,
            "costs": numbers_of(Costs, float),
            "numa_knobs": numbers_of(NumaKnobs),
            "compact_knobs": numbers_of(CompactKnobs),
            "ksm_knobs": numbers_of(KsmKnobs),
            "can_soft_offline": BOOL,
        },
        elsewhere=[*DERIVED, *_PARTS],
    ),
    "distance": Table(
        Distances,
        lambda machine: ((Distances(*item),) for item in machine.distances.items()),
        lambda machine, row: setitem(machine.distances, row.nid, row.others),
        codecs={"others": INT_DICT},
    ),
    "node": Table(
        Node,
        lambda machine: zip(machine.nodes.values()),
        lambda machine, node: setitem(machine.nodes, node.nid, node),
        codecs={
            "cpus": CPUS,
            "numa": COUNTERS,
            "perf": optional(numbers_of(AccessCoordinate)),
            "promotion": numbers_of(Promotion),
            "failures": numbers_of(MemoryFailures),
            "lrugen": numbers_of(LruGen),
        },
        maps={"memmap": "memmap"},
        owner="nid",
        elsewhere=["zones", "hugetlb"],
    ),
    "huge_pool": Table(
        HugePool,
        lambda machine: ((node.hugetlb, nid) for nid, node in machine.nodes.items()),
        _put_pool,
        keys="nid",
        codecs={"back": PACKED},
        maps={"free": "pool"},
        owner="nid",
    ),
    "zone": Table(
        Zone,
        lambda machine: ((zone, nid) for nid, node in machine.nodes.items() for zone in node.zones),
        lambda machine, zone, nid: machine.nodes[nid].zones.append(zone),
        keys="nid",
        maps={
            "free": "free",
            "pageblocks": "pageblocks",
            "offline": "offline",
            "foreign": "foreign",
        },
        owner="start",
        elsewhere=["compact"],
    ),
    "compact_state": Table(
        CompactState,
        lambda machine: (
            (zone.compact, nid, number)
            for nid, node in machine.nodes.items()
            for number, zone in enumerate(node.zones)
        ),
        _put_compact_state,
        keys="nid zone",
        codecs={"blockskip_flush": BOOL},
    ),
    "device": Table(
        Device,
        lambda machine: zip(machine.devices.values()),
        lambda machine, device: setitem(machine.devices, device.name, device),
        maps={"free": "device_free", "memmap": "device_memmap"},
        owner="number",
    ),
    "allocation": Table(
        Allocation,
        lambda machine: ((made, name) for name, made in machine.allocations.items()),
        lambda machine, made, name: setitem(machine.allocations, name, made),
        keys="name",
        codecs={"pfns": PACKED_TUPLE},
    ),
    "contig": Table(
        Extent,
        lambda machine: ((extent, name) for name, extent in machine.contigs.items()),
        lambda machine, extent, name: setitem(machine.contigs, name, extent),
        keys="name",
    ),
    "region": Table(
        Region,
        lambda machine: ((region, *key) for key, region in machine.regions.items()),
        lambda machine, region, *key: setitem(machine.regions, key, region),
        keys="key_task key_name",
    ),
    "lru_batch": Table(
        LruBatch,
        lambda machine: ((batch, cpu) for cpu, batch in machine.lru_batches.items()),
        lambda machine, batch, cpu: setitem(machine.lru_batches, cpu, batch),
        keys="cpu",
        codecs=dict.fromkeys("waiting mlocked deactivated lazyfreed".split(), INTS),
    ),
    "pin": Table(
        Pin,
        lambda machine: zip(machine.pins),
        lambda machine, pin: machine.pins.append(pin),
        codecs={"is_long": BOOL, "runs": PTES},
    ),
    "driver": Table(
        Driver,
        lambda machine: zip(machine.drivers.values()),
        lambda machine, driver: setitem(machine.drivers, driver.name, driver),
        codecs={"isolates": WORDS, "migrates": WORDS, "pages": PACKED},
    ),
    "busy": Table(
        FolioWork,
        lambda machine: ((work, pfn) for pfn, work in machine.busy.items()),
        lambda machine, work, pfn: setitem(machine.busy, pfn, work),
        keys="pfn",
        codecs={"kind": Codec(lambda kind: kind.value, Busy)},
    ),
    "left_behind": Table(
        Left,
        lambda machine: zip(machine.left),
        lambda machine, left: machine.left.append(left),
    ),
    "rmap_item": Table(
        RmapItem,
        lambda machine: (
            (item, node) for node, items in machine.stable_tree.items.items() for item in items
        ),
        lambda machine, item, node: machine.stable_tree.items.setdefault(node, []).append(item),
        keys="node",
    ),
    "cpuset": Table(
        Cpuset,
        lambda machine: zip(machine.cpusets.values()),
        lambda machine, cpuset: setitem(machine.cpusets, cpuset.name, cpuset),
        codecs={"cpus": CPUS, "mems": NODES, "memory_migrate": BOOL, "old_mems": NODES},
    ),
    "mm": Table(
        Mm,
        lambda machine: zip(machine.mms.values()),
        Machine.add_mm,
        codecs={
            "brk": INT_TUPLE,
            "ancestors": INT_TUPLE,
            "numa": numbers_of(NumaMm),
            "inserted": Codec(lambda inserted: inserted.last, Inserted),
            "has_moved": BOOL,
        },
        maps={"page_table": "page_table", "tables": "tables", "resv": "resv"},
        owner="mm_id",
        elsewhere=["vmas"],
    ),
    "vma": Table(
        Vma,
        lambda machine: ((vma, mm.mm_id) for mm in machine.mms.values() for vma in mm.vmas),
        _put_vma,
        keys="mm_id",
        codecs={
            "policy": POLICY,
            "anon_chained": BOOL,
            "is_resv_owner": BOOL,
            "has_lost_page": BOOL,
            "numab": optional(numbers_of(NumaVma)),
        },
    ),
    "space": Table(
        AddressSpace,
        lambda machine: zip(machine.spaces.values()),
        lambda machine, space: setitem(machine.spaces, space.space_id, space),
        codecs={"readahead": INT_TUPLE, "is_deleted": BOOL},
        maps={"pages": "pages", "policies": "policies", "resv": "space_resv"},
        owner="space_id",
    ),
    "task": Table(
        Task,
        _tasks,
        _put_task,
        codecs={
            "cpus": CPUS,
            "mm": Codec(lambda mm: mm.mm_id, int),
            "mems_allowed": NODES,
            "policy": POLICY,
            "user_cpus": CPUS,
            "is_dumpable": BOOL,
            "numa": numbers_of(NumaTask),
            "numa_faults": _FAULTS,
        },
        elsewhere=["accesses"],
    ),
    "access": Table(
        AccessPattern,
        lambda machine: (
            (access, task.pid) for task in machine.tasks.values() for access in task.accesses
        ),
        lambda machine, access, pid: machine.tasks[pid].accesses.append(access),
        keys="pid",
    ),
    "numa_group": Table(
        NumaGroup,
        lambda machine: zip(machine.numa_groups.values()),
        lambda machine, group: setitem(machine.numa_groups, group.gid, group),
        codecs={"faults": _FAULTS},
    ),
}
