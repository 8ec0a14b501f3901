"""Automatic NUMA balancing: which entries become hints, and which faults move pages."""

import pytest

from pymigrate.mm.balance.hint_fault import balanced_room, is_used_from
from pymigrate.mm.balance.scan import task_numa_work
from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.frames.frames import folio_of, update_frames
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.numa import Faults, FaultTable, NumaGroup
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.mempolicy import mbind
from pymigrate.syscalls.migrate import move_pages
from pymigrate.syscalls.mmap import mprotect
from pymigrate.syscalls.process import exit_task, fork, sched_setaffinity, touch
from pymigrate.uapi import BALANCING, MPOL
from tests.conftest import (
    MIB,
    PAGE,
    flags_at,
    hold,
    mapped,
    new_file,
    new_task,
    nodes_of,
    nodes_with,
    pfn_at,
    touched,
)
from tests.property.invariants import check
from tests.unit.mm.conftest import huge

NAMES = {
    "pte": "numa_pte_updates",
    "huge": "numa_huge_pte_updates",
    "faults": "numa_hint_faults",
    "local": "numa_hint_faults_local",
    "migrated": "numa_pages_migrated",
    "success": "pgmigrate_success",
    "thp": "thp_migration_success",
}


def running(
    machine: Machine, task: Task, addr: int, length: int, seconds: float, stride: int = PAGE
) -> dict[str, int]:
    """Store into memory for so long; what was counted meanwhile."""
    machine.counters.clear()
    assert touch(machine, task, addr, length, stride=stride, seconds=seconds) is None
    check(machine)
    found = {short: machine.counters[name] for short, name in NAMES.items()}
    return {short: nr for short, nr in found.items() if nr}


def test_remote_pages_come_at_the_first_scan_and_then_rest(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8MiB", node=1)
    moved = {"pte": 2048, "faults": 2048, "migrated": 2048, "success": 2048}
    assert running(machine, task, addr, 8 * MIB, 0.9) == {}
    assert running(machine, task, addr, 8 * MIB, 1.1) == moved
    assert nodes_of(machine, task, addr, "8MiB") == [[2048, 0]]
    assert running(machine, task, addr, 8 * MIB, 20) == {}


@pytest.mark.parametrize(
    ("flag", "nodes", "node"), [(0, (0, 1), 1), (BALANCING, (0, 1), 0), (BALANCING, (1,), 1)]
)
def test_bound_pages_come_only_with_the_flag_and_to_its_nodes(
    machine: Machine, task: Task, flag: int, nodes: tuple[int, ...], node: int
) -> None:
    addr = touched(machine, task, "1MiB", node=1)
    mbind(machine, task, addr, MIB, MPOL.BIND | flag, Nodemask.of(*nodes), 0)
    running(machine, task, addr, MIB, 5)
    assert nodes_of(machine, task, addr, "1MiB") == [[256, node]]


def test_pages_follow_the_task_to_another_node(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "1MiB")
    running(machine, task, addr, MIB, 3)
    sched_setaffinity(machine, task, Cpumask.of(1))
    running(machine, task, addr, MIB, 5)
    assert nodes_of(machine, task, addr, "1MiB") == [[256, 1]]


def test_shared_and_pinned_pages_are_not_scanned(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB", node=1)
    hold(machine, task, addr)
    fork(machine, task, "b")
    machine.counters.clear()
    for _ in range(3):
        touch(machine, task, addr, 4 * PAGE, write=False, seconds=2)
    assert machine.counters["numa_pte_updates"] == 0


def test_a_full_node_takes_nothing(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "1MiB", node=1)
    for zone in machine.nodes[0].zones:
        zone.watermark_high = zone.nr_free
    counted = running(machine, task, addr, MIB, 1.1)
    assert counted == {"pte": 256, "faults": 256}
    assert nodes_of(machine, task, addr, "1MiB") == [[256, 1]]


def test_each_fault_is_a_call_of_the_engine(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "12KiB", node=1)
    machine.watch = Watch([])
    running(machine, task, addr, 3 * PAGE, 1.1)
    names = [event.name for event in machine.watch.events]
    assert names.count("mm_migrate_pages_start") == 3


def test_what_others_do_ends_a_hint(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB", node=1)
    other = mapped(machine, task, "4KiB")
    running(machine, task, other, PAGE, 1.1)
    assert flags_at(task, addr) & flags_at(task, addr + PAGE) & Pte.HINT
    mprotect(machine, task, addr, PAGE, "r")
    move_pages(machine, task, task, [addr + PAGE], [0], 2)
    assert [flags_at(task, addr + i * PAGE) & Pte.HINT for i in range(3)] == [0, 0, Pte.HINT]
    madvise(machine, task, addr, 4 * PAGE, Madv.DONTNEED)


def test_large_folio_that_is_mapped_by_pages_takes_one_fault(machine: Machine, task: Task) -> None:
    addr = huge(machine, task, "6MiB", node=1)
    for page, prot in [(511, "r"), (511, "rw"), (1023, "r"), (1023, "rw")]:
        mprotect(machine, task, addr + page * PAGE, 2 * PAGE, prot)  # huge entries are split
    counted = running(machine, task, addr, 6 * MIB, 1.1)
    assert counted == {"pte": 1536, "faults": 3, "migrated": 1536, "success": 1536, "thp": 3}
    assert nodes_of(machine, task, addr, "6MiB") == [[1536, 0]]


def test_refused_large_folio_is_accessible_as_far_as_mapped(machine: Machine, task: Task) -> None:
    addr = huge(machine, task, "2MiB", node=1)
    mprotect(machine, task, addr + 256 * PAGE, PAGE, "r")
    for zone in machine.nodes[0].zones:
        zone.watermark_high = zone.nr_free
    machine.now = 5000
    task_numa_work(machine, task)
    touch(machine, task, addr + 8 * PAGE, PAGE)
    table = task.mm.page_table
    hinted = [run for run in table.runs if run.flags & Pte.HINT]
    assert sum(run.nr for run in hinted) == 256  # behind the mapping that was touched
    assert machine.counters["numa_hint_faults"] == 1


def test_task_on_a_node_without_memory_draws_nothing() -> None:
    machine = nodes_with("64MiB", "0", cpus=("0", "1"))
    machine.numa_balancing = 1
    task = new_task(machine, cpu=1)
    addr = touched(machine, task, "16KiB")
    assert running(machine, task, addr, 4 * PAGE, 1.1) == {"pte": 4, "faults": 4}


def shared_by(machine: Machine, nid: int, last: int, group: NumaGroup | None) -> bool:
    """Whether a page on *nid* follows a fault from node 1, when CPU *last* has used it last."""
    task = new_task(machine, cpu=1)
    task.numa = task.numa._replace(preferred=1, seq=5)
    if group is not None:
        machine.numa_groups[group.gid] = group
        task.numa = task.numa._replace(group=group.gid)
    addr = touched(machine, task, "4KiB", node=nid)
    pfn = pfn_at(task, addr)
    update_frames(machine, [(pfn, 1)], lambda frame: frame._replace(cpupid=99 << 16 | last))
    return is_used_from(machine, task, folio_of(machine, pfn), 1)


@pytest.mark.parametrize(
    ("last", "faults", "follows"),
    [
        (0, None, False),
        (1, None, True),
        (1, {(0, 0): Faults(8, 10), (1, 0): Faults(8, 31)}, True),
        (1, {(0, 0): Faults(8, 10), (1, 0): Faults(8, 13)}, False),
        (1, {(0, 0): Faults(8, 10), (1, 0): Faults(8, 14)}, True),
        (1, {(0, 0): Faults(6, 10), (1, 0): Faults(8, 14)}, False),
    ],
    ids=[
        "used elsewhere last",
        "used here twice",
        "the group uses this node more than three times as much",
        "not a third more",
        "a third more",
        "and has its memory here",
    ],
)
def test_page_that_others_use_follows_a_group(
    machine: Machine, last: int, faults: FaultTable | None, follows: bool
) -> None:
    group = NumaGroup(7, 2, faults=faults) if faults else None
    assert shared_by(machine, 0, last, group) is follows


def test_slow_memory_that_nobody_was_seen_to_use_stays_in_normal_mode() -> None:
    machine = nodes_with("64MiB", "64MiB", cpus=("0", ""))
    machine.nodes[1].adistance, machine.numa_balancing = 3456, 1
    task = new_task(machine)
    addr = touched(machine, task, "16KiB", node=1)
    assert running(machine, task, addr, 4 * PAGE, 1.1) == {"pte": 4, "faults": 4}
    found = running(machine, task, addr, 4 * PAGE, 5)
    assert found["migrated"] == 4  # now it was


def test_code_that_others_map_too_stays(machine: Machine, task: Task) -> None:
    space = new_file(machine, "16KiB", fs="ext4")
    other = new_task(machine, "b", cpu=1)
    for who in (task, other):
        addr = mapped(machine, who, "16KiB", "rwx", space=space, is_shared=True)
        touch(machine, who, addr, 4 * PAGE, write=False)
    places, moved = [], []
    for machine.now in (5000, 10000):
        task_numa_work(machine, other)
        touch(machine, other, addr, 4 * PAGE, write=False)
        places.append(nodes_of(machine, other, addr, "16KiB"))
        moved.append((machine.counters["numa_pages_migrated"], other.numa.migrated))
        if task.pid in machine.tasks:
            exit_task(machine, task)
    assert places == [[[4, 0]], [[4, 1]]]
    assert moved == [(0, 0), (4, 4)]


def test_room_is_what_a_zone_has_above_its_high_watermark_with_what_lies_above() -> None:
    node = nodes_with("64MiB").nodes[0]
    dma, dma32 = node.zones
    above = dma32.nr_free - dma32.watermark_low - dma32.reserve
    below = dma.nr_free - dma.watermark_high - dma.reserve
    assert balanced_room(node, 1) == above + below - 1
    assert balanced_room(node, 512) == -(-(above + below - 512) // 512)
    dma.nr_free = dma.watermark_high + dma.reserve + 1
    assert balanced_room(node, 1) == dma32.nr_free - dma32.watermark_high - dma32.reserve - 1
    dma32.nr_free = 0
    assert balanced_room(node, 1) == 0
