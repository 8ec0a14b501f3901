"""A machine that has everything, and what it is when it comes from a store."""

from pathlib import Path
from typing import Any

import pytest

from pymigrate.errors import StoreError
from pymigrate.mm.base.costs import Costs
from pymigrate.mm.base.memmap import Busy, FolioWork, Frame, FrameRun
from pymigrate.mm.base.pageblock import BlockRun, MigrateType
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.release import RELEASES
from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.base.vmstat import Counters
from pymigrate.mm.state.address_space import AddressSpace, PolicyRun
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
    NumaGroup,
    NumaKnobs,
    NumaMm,
    NumaTask,
    NumaVma,
    Promotion,
)
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.mm.state.stable_tree import RmapItem, StableTree
from pymigrate.mm.state.task import AccessPattern, Cpuset, Left, Pin, Region, Task
from pymigrate.mm.state.vma import Vma
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.records import names_of
from pymigrate.store.store import Boot, Store
from pymigrate.store.tables import DERIVED
from pymigrate.uapi import MPOL, RELATIVE, STATIC
from tests.conftest import new_task, touched, two_nodes

WIDE_CPUS, WIDE_NODES = Cpumask.of(0, 63, 64, 300), Nodemask.of(1, 64, 1023)
POLICY = Mempolicy(MPOL.PREFERRED_MANY, STATIC, WIDE_NODES, Nodemask.of(3, 700), 64)
OTHER_POLICY = Mempolicy(MPOL.WEIGHTED_INTERLEAVE, RELATIVE, Nodemask.of(2), Nodemask.of(2, 5))
BOOT = Boot("/scenarios/two-node.yaml", "1:2:abc", "6.12", "0.1")


def plain(value: Any) -> Any:
    """*value* as tuples that compare deeply, with types and the order of dictionaries."""
    if isinstance(value, RunMap):
        return "RunMap", plain(value.runs), plain(value.starts)
    if names_of(value):
        names = [name for name in names_of(value) if name not in DERIVED]
        return type(value).__name__, [(name, plain(getattr(value, name))) for name in names]
    if isinstance(value, dict):
        return type(value).__name__, [(plain(key), plain(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value).__name__, [plain(item) for item in value]
    return type(value).__name__, value


def full_machine() -> Machine:
    """A machine in which every field of every type has some value that is not its default."""
    node, mm = _full_node(), _full_mm()
    pages, policies = RunMap([PteRun(3, 1, (1,))]), RunMap([PolicyRun(3, 4, POLICY)])
    resv = RunMap([Extent(1024, 512)])
    space = AddressSpace(8, "naïve file", "ext4", 4097, 6, pages, policies, (1, 2, 3), resv, True)
    other_mm = Mm(1, 1)
    other = Task(3, "b", "b", 0, Cpumask.of(1), other_mm, Nodemask.of(1))
    thread = Task(4, "c", "b", 0, Cpumask.of(1), other_mm, Nodemask.of(1), thread_of=3)
    return Machine(
        {3: node, 0: Node(0, Cpumask())},
        {3: {3: 10, 0: 21}, 0: {3: 22, 0: 11}},
        RELEASES["6.1"],
        "always",
        True,
        2,
        {3: 4, 0: 2},
        {7: _full_task(mm), 3: other, 4: thread},
        {2: mm, 1: other_mm},
        {8: space, 1: AddressSpace(1, "", "shm", 0)},
        {("b", "x"): Region("b", "x", 5, 6), ("a b", "y z"): Region("a", "y", 1 << 50, 1)},
        Counters(pgfree=3, pgfault=1),
        {300: LruBatch([5, 1 << 40], [4], [6, 7], [8]), 0: LruBatch()},
        [Pin(7, 1, 2, True, (PteRun(1, 2, (1 << 41, 3)),)), Pin(8, 9, 9, False, ())],
        {1 << 33: FolioWork(Busy.WRITEBACK, 3)},
        StableTree(RunMap([PteRun(5, 1, (7,))]), {5: [RmapItem(2, 11, 4), RmapItem(2, 11, 6)]}),
        4,
        3,
        1,
        {"b": Cpuset("b", WIDE_CPUS, WIDE_NODES, True, Nodemask.of(9)), "": _root_cpuset()},
        {"z": Driver(9, "z", "scripted", "2016", ["true"], ["EAGAIN", "success"], [5, -1], 3)},
        2000,
        300,
        1 << 46,
        77,
        "mbind",
        [Left(7, "heap", 3, 5, "pinned")],
        {"gpu": Device("gpu", 1, 99, RunMap([Extent(1025 << 32, 9)]), node.memmap)},
        contigs={"camera": Extent(1 << 33, 9)},
        seed=(1 << 62) + 5,
        num_poisoned_pages=6,
        bad_zero_pages=(-1, 5),
        max_ptes_none=511,
        defrag="never",
        compact_knobs=CompactKnobs(0, 1, 2),
        nr_overcommit_huge_pages=5,
        ksm_knobs=KsmKnobs(1, 0, 3),
        can_soft_offline=False,
        allocations={"x": Allocation(3, 2, (16, 64))},
        costs=Costs(*[1 / (3 + i) for i in range(len(Costs._fields))]),
        numa_knobs=NumaKnobs(1, 2, 3, 4, 5, 6),
        numa_groups={9: NumaGroup(9, 2, 3, 4, {(3, 0): Faults(5, 6)}, 7)},
    )


def _full_node() -> Node:
    frame = Frame(9, 3, 2, 1, 9, 4, 5, 6)
    zone = Zone("normal", 5, 700, RunMap([Extent(5, 6), Extent(1 << 40, 7)]), 13, 3, 4, 5, 6)
    zone.pageblocks = RunMap([BlockRun(512, 1024, MigrateType.CMA, True)])
    zone.compact = CompactState(1, 2, 3, 4, 5, 6, 7, 8, True)
    zone.offline = RunMap([Extent(4096, 4096)])
    zone.foreign = RunMap([Extent(8192, 4096)])
    memmap = RunMap([FrameRun(20, 4, frame), FrameRun(30, 1, Frame(1, 0)), FrameRun(40, 2, frame)])
    pool = HugePool(RunMap([Extent(512, 512)]), 3, 2, [512])
    node = Node(3, WIDE_CPUS, [zone], memmap, Counters(numa_hit=5, numa_miss=1 << 62), pool)
    node.perf, node.adistance = AccessCoordinate(80, 81, 1000, 900), 2880
    node.promotion = Promotion(1, 2, 3, 4, 5)
    node.hand, node.next_proactive = 7, 33500
    node.failures = MemoryFailures(10, 1, 2, 3, 4)
    node.lrugen = LruGen(5, 2, 3)
    return node


def _full_mm() -> Mm:
    table = RunMap(
        [
            PteRun(1, 4, (7, 9, 8, 6), 0, 31),
            PteRun(1 << 35, 1024, (512,), 9, 128),
            PteRun(1 << 36, 5, ()),
        ]
    )
    vmas = [
        Vma(1, 9, 0x80000003, 4, 8, POLICY, 6, True, True, NumaVma(1, 2, 3, 4, 5, 6), 3, True, 5),
        Vma(12, 13, 1, 12, policy=OTHER_POLICY),
    ]
    tables, resv = RunMap([Extent(512, 1024)]), RunMap([Extent(1024, 512)])
    return Mm(
        2,
        11,
        vmas,
        table,
        tables,
        resv,
        (17, 19),
        23,
        NumaMm(4, 5, 6),
        Inserted(3),
        8192,
        True,
        (1, 5),
    )


def _full_task(mm: Mm) -> Task:
    return Task(
        7,
        "a b",
        "\x00'\"\n",
        26,
        WIDE_CPUS,
        mm,
        WIDE_NODES,
        POLICY,
        4,
        5,
        "init",
        "/x",
        Cpumask.of(99),
        1 << 23,
        False,
        NumaTask(*range(1, 15)),
        [AccessPattern("x", 0.1, 0.2, 0.3, 0.4, 5), AccessPattern("y", 7.5)],
        {(3, 1): Faults(1, 2, 3, 4), (0, 0): Faults()},
        euid=1,
        suid=2,
        gid=3,
        permitted=1 << 40,
    )


def _root_cpuset() -> Cpuset:
    return Cpuset("", Cpumask.of(0), Nodemask.of(0), False, Nodemask(), "cpuset memory")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "state.db")


def booted(path: str, machine: Machine | None = None) -> Machine:
    """A machine with one task with memory, stored in *path*."""
    if machine is None:
        machine = two_nodes()
        touched(machine, new_task(machine), "1MiB")
    store = Store(path)
    store.begin(write=True)
    store.replace(machine, BOOT)
    store.commit()
    store.close()
    return machine


def loaded(path: str) -> Machine:
    """What *path* holds."""
    store = Store(path)
    store.begin(write=False)
    machine = store.load()
    store.close()
    return machine


def error_of(path: str, anew: bool = False) -> str:
    """What is wrong with *path* when a command begins."""
    with pytest.raises(StoreError) as failure:
        _open_and_load(path, anew)
    assert failure.value.path == path
    assert str(failure.value) == f"{path}: {failure.value.message}"
    return failure.value.message


def _open_and_load(path: str, anew: bool) -> None:
    store = Store(path, 0.05, anew=anew)
    try:
        store.begin(write=False)
        store.booted()
        store.load()
    finally:
        store.close()
