"""Automatic NUMA balancing: section 9 of the engine's specification."""

import pytest

from pymigrate.mm.machine import Machine, Task
from pymigrate.mm.mempolicy import BALANCING, MPOL
from pymigrate.mm.pte import Pte
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls.madvise import Madv, madvise
from pymigrate.syscalls.mempolicy import mbind
from pymigrate.syscalls.migrate import move_pages
from pymigrate.syscalls.mmap import mprotect
from pymigrate.syscalls.process import fork, sched_setaffinity, touch
from tests.conftest import hold, mapped, new_file, new_task, nodes_of, touched, two_nodes
from tests.property.invariants import check

PAGE, MIB = 4096, 1 << 20
NAMES = {
    "pte": "numa_pte_updates",
    "huge": "numa_huge_pte_updates",
    "faults": "numa_hint_faults",
    "local": "numa_hint_faults_local",
    "migrated": "numa_pages_migrated",
    "success": "pgmigrate_success",
    "thp": "thp_migration_success",
}


@pytest.fixture
def machine() -> Machine:
    machine = two_nodes("128MiB")
    machine.numa_balancing = 1
    return machine


@pytest.fixture
def task(machine: Machine) -> Task:
    return new_task(machine)


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


def test_local_huge_pages_are_scanned_again_and_again(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    addr = touched(machine, task, "8MiB", node=1)
    counted = running(machine, task, addr, 8 * MIB, 1.1, stride=2 * MIB)
    assert counted == {
        "pte": 2048,
        "huge": 4,
        "faults": 4,
        "migrated": 2048,
        "success": 2048,
        "thp": 4,
    }
    later = running(machine, task, addr, 8 * MIB, 20, stride=2 * MIB)
    scans = later["huge"] // 4
    assert scans > 1
    assert later == {
        "pte": 2048 * scans,
        "huge": 4 * scans,
        "faults": 4 * scans,
        "local": 4 * scans,
    }


def test_local_small_pages_are_left_alone(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8MiB")
    assert running(machine, task, addr, 8 * MIB, 10) == {}


@pytest.mark.parametrize(("flag", "node"), [(0, 1), (BALANCING, 0)])
def test_bound_pages_come_only_with_the_flag(
    machine: Machine, task: Task, flag: int, node: int
) -> None:
    addr = touched(machine, task, "1MiB", node=1)
    mbind(machine, task, addr, MIB, MPOL.BIND | flag, Nodemask.of(0, 1), 0)
    running(machine, task, addr, MIB, 5)
    assert nodes_of(machine, task, addr, "1MiB") == [[256, node]]


def test_nothing_comes_when_it_is_off(machine: Machine, task: Task) -> None:
    machine.numa_balancing = 0
    addr = touched(machine, task, "1MiB", node=1)
    assert running(machine, task, addr, MIB, 5) == {}


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


def test_dirty_pages_of_files_and_read_only_ones_stay(machine: Machine, task: Task) -> None:
    dirty = touched(machine, task, "16KiB", space=new_file(machine, "16KiB"), is_shared=True)
    space = new_file(machine, "16KiB", inode=3)
    text = mapped(machine, task, "16KiB", "r", space=space, is_shared=True)
    touch(machine, task, text, 4 * PAGE, write=False)
    sched_setaffinity(machine, task, Cpumask.of(1))
    assert running(machine, task, dirty, 4 * PAGE, 5) == {}


def test_a_full_node_takes_nothing(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "1MiB", node=1)
    for zone in machine.nodes[0].zones:
        zone.watermark_high = zone.nr_free
    counted = running(machine, task, addr, MIB, 1.1)
    assert counted == {"pte": 256, "faults": 256}
    assert nodes_of(machine, task, addr, "1MiB") == [[256, 1]]


def test_each_fault_is_a_call_of_the_engine(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "12KiB", node=1)
    machine.events = []
    running(machine, task, addr, 3 * PAGE, 1.1)
    names = [event.name for event in machine.events]
    assert names.count("mm_migrate_pages_start") == 3


def test_what_others_do_ends_a_hint(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB", node=1)
    other = mapped(machine, task, "4KiB")
    running(machine, task, other, PAGE, 1.1)
    run = task.mm.page_table.at(addr >> 12)
    assert run is not None
    assert run.flags & Pte.HINT
    mprotect(machine, task, addr, PAGE, "r")
    move_pages(machine, task, task, [addr + PAGE], [0], 2)
    flags = [part.flags & Pte.HINT for part in task.mm.page_table.between(run.start, run.end)]
    assert flags == [0, 0, Pte.HINT]
    madvise(machine, task, addr, 4 * PAGE, Madv.DONTNEED)
    check(machine)
