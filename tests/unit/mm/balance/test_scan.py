"""When a task scans, and what of its memory."""

from typing import Any

import pytest

from pymigrate.mm.balance.scan import scan_max, scan_min, scan_start, task_numa_work, task_tick_numa
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.base.release import RELEASES
from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.numa import Faults, NumaGroup, NumaVma
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.mempolicy import mbind, set_mempolicy
from pymigrate.syscalls.mmap import mprotect, munmap
from pymigrate.uapi import BALANCING, MPOL
from tests.conftest import MIB, PAGE, flags_at, mapped, new_file, new_task, touched
from tests.unit.mm.conftest import loaded


def scanned(machine: Machine, task: Task, at: int = 0) -> int:
    """Scan at that time (ms); how many pages changed."""
    machine.now = max(machine.now, at)
    return task_numa_work(machine, task)


def hinted(task: Task, addr: int) -> bool:
    return bool(flags_at(task, addr) & Pte.HINT)


def set_knobs(machine: Machine, **knobs: int) -> None:
    machine.numa_knobs = machine.numa_knobs._replace(**knobs)


@pytest.mark.parametrize(("runtime", "is_due"), [(1_000_000, False), (1_000_001, True)])
def test_first_scan_is_due_when_cpu_time_exceeds_the_delay(
    machine: Machine, task: Task, runtime: int, is_due: bool
) -> None:
    machine.now, task.numa = 1004, task.numa._replace(runtime=runtime)
    assert task_tick_numa(machine, task) is is_due
    assert task.numa.stamp == (1000 if is_due else 0)


def test_scan_before_next_scan_waits_for_another_period(machine: Machine, task: Task) -> None:
    machine.now, task.numa = 1004, task.numa._replace(runtime=1_004_000)
    task.mm.numa = task.mm.numa._replace(next_scan=1005)
    assert not task_tick_numa(machine, task)
    assert task.numa.stamp == 1000
    machine.now = 1008
    assert not task_tick_numa(machine, task)


def test_scan_puts_off_the_next_one_by_a_period(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB", node=1)
    scanned(machine, task, at=1004)
    assert task.mm.numa.next_scan == 2004
    assert task.numa.stamp == 8
    assert task.numa.scans == 1


@pytest.mark.parametrize(
    ("size", "low", "high"),
    [("4KiB", 1000, 60000), ("64MiB", 250, 15000), ("68MiB", 200, 12000)],
    ids=["one window", "four windows", "five windows"],
)
def test_scan_periods_go_with_the_number_of_windows(
    machine: Machine, task: Task, size: str, low: int, high: int
) -> None:
    set_knobs(machine, scan_size_mb=16)
    touched(machine, task, size)
    assert scan_min(machine, task) == scan_start(machine, task) == low
    assert scan_max(machine, task) == high


def test_no_more_than_2560_mb_are_scanned_in_a_second(machine: Machine, task: Task) -> None:
    set_knobs(machine, scan_period_min_ms=1)
    assert scan_min(machine, task) == 100
    set_knobs(machine, scan_size_mb=5120)
    assert scan_min(machine, task) == 1000


def test_group_that_shares_much_scans_more_slowly(machine: Machine, task: Task) -> None:
    touched(machine, task, "4KiB")
    faults = {(0, 1): Faults(mem=99), (1, 0): Faults(mem=300)}
    machine.numa_groups[7] = NumaGroup(7, nr_tasks=4, faults=faults)
    task.numa = task.numa._replace(group=7)
    assert scan_start(machine, task) == 1000 * 4 * 301 // 400
    assert scan_max(machine, task) == 60000 * 4 * 301 // 400


def test_of_private_memory_remote_pages_alone_are_hinted(machine: Machine, task: Task) -> None:
    far, near = touched(machine, task, "32KiB", node=1), touched(machine, task, "16KiB")
    assert scanned(machine, task) == 8
    assert (hinted(task, far), hinted(task, near)) == (True, False)


def test_hinted_pages_do_not_count_again(machine: Machine, task: Task) -> None:
    touched(machine, task, "32KiB", node=1)
    assert scanned(machine, task) == 8
    assert scanned(machine, task, at=5000) == 0
    assert machine.counters["numa_pte_updates"] == 8


def test_huge_pages_are_hinted_be_they_local_or_not(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    near, far = touched(machine, task, "2MiB"), touched(machine, task, "2MiB", node=1)
    assert scanned(machine, task) == 1024
    assert machine.counters["numa_huge_pte_updates"] == 2
    assert (hinted(task, near), hinted(task, far)) == (True, True)


def test_local_huge_pages_are_not_hinted_in_tiering_mode(machine: Machine, task: Task) -> None:
    machine.thp, machine.numa_balancing = "always", 2
    touched(machine, task, "2MiB")
    touched(machine, task, "2MiB", node=1)
    assert scanned(machine, task) == 0


@pytest.mark.parametrize(("kernel", "nr"), [("6.1", 0), ("6.12", 4), ("7.2", 4)])
def test_old_kernels_pass_over_shared_objects_without_a_policy(
    machine: Machine, task: Task, kernel: str, nr: int
) -> None:
    machine.release = RELEASES[kernel]
    touched(machine, task, "16KiB", node=1, is_shared=True, space=new_file(machine, "16KiB"))
    assert scanned(machine, task) == nr


def test_local_pages_of_shared_objects_are_hinted(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB", is_shared=True, space=new_file(machine, "16KiB"))
    mbind(machine, task, addr, 4 * PAGE, MPOL.BIND | BALANCING, Nodemask.of(0, 1), 0)
    assert scanned(machine, task) == 4


@pytest.mark.parametrize(
    "policy", [MPOL.LOCAL, MPOL.PREFERRED, MPOL.BIND, MPOL.INTERLEAVE], ids=lambda mode: mode.name
)
def test_policy_of_the_task_keeps_its_pages(machine: Machine, task: Task, policy: MPOL) -> None:
    touched(machine, task, "16KiB", node=1)
    nodes = Nodemask() if policy == MPOL.LOCAL else Nodemask.of(0, 1)
    set_mempolicy(machine, task, policy, nodes)
    assert scanned(machine, task) == 0


@pytest.mark.parametrize("prot", ["none", "r"])
def test_inaccessible_memory_is_passed_over(machine: Machine, task: Task, prot: str) -> None:
    addr = touched(machine, task, "16KiB", node=1)
    mprotect(machine, task, addr, 4 * PAGE, prot)
    assert scanned(machine, task) == (4 if prot == "r" else 0)


def test_read_only_mappings_of_files_are_passed_over(machine: Machine, task: Task) -> None:
    space = new_file(machine, "16KiB", fs="ext4")
    loaded(machine, task, "16KiB", "r", space=space, is_shared=True)
    new_home = new_task(machine, "b", cpu=1)
    assert scanned(machine, new_home) == scanned(machine, task) == 0


def test_scan_stops_after_its_size_and_goes_on_there(machine: Machine, task: Task) -> None:
    set_knobs(machine, scan_size_mb=2)
    touched(machine, task, "5MiB", node=1)
    assert [scanned(machine, task, at=5000 * i) for i in range(3)] == [512, 512, 256]
    assert task.mm.numa.seq == 1


def test_unchanged_memory_is_looked_at_eight_times_as_far(machine: Machine, task: Task) -> None:
    set_knobs(machine, scan_size_mb=1)
    mapped(machine, task, "10MiB")
    start = task.mm.vmas[0].start
    scanned(machine, task)
    # Chunks of a scan's size end at blocks of 2 MiB.
    assert (task.mm.numa.offset - start, task.mm.numa.seq) == (8 * MIB // PAGE, 0)


def test_scan_behind_the_last_mapping_starts_a_new_round(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB", node=1)
    high = touched(machine, task, "16KiB", node=1)
    assert rounds(machine, task, range(1)) == [8]
    task.mm.numa = task.mm.numa._replace(offset=high // PAGE)
    munmap(machine, task, high, 4 * PAGE)
    assert scanned(machine, task, at=5000) == 4
    assert task.mm.numa.seq == 3  # one round had ended before the scan, one ends with it


def test_new_mapping_waits_but_in_the_first_round(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB", node=1)
    assert scanned(machine, task, at=1000) == 4
    late = touched(machine, task, "16KiB", node=1)
    assert scanned(machine, task, at=2000) == 0
    assert scanned(machine, task, at=2999) == 0
    assert scanned(machine, task, at=3000) == 4
    assert hinted(task, late)


def rounds(machine: Machine, task: Task, numbers: range) -> list[int]:
    """Take the hints away after each scan, without a fault; how many pages each has changed."""
    found = []
    for number in numbers:
        found.append(scanned(machine, task, at=10_000 * number))
        table = task.mm.page_table
        runs = [run.with_flags(run.flags & ~Pte.HINT) for run in table.runs]
        table.edit([(run.start, run.end, (run,)) for run in runs])
    return found


def test_later_scans_force_just_one_unused_mapping(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB", node=1)
    touched(machine, task, "16KiB", node=1)
    other = touched(machine, task, "32KiB", node=1)
    assert rounds(machine, task, range(2)) == [16, 16]
    used = task.mm.find_vma(other // PAGE)
    assert used is not None
    assert used.numab is not None
    used.numab = used.numab._replace(faulted=NumaVma.bit_of(task.pid))
    assert scanned(machine, task, at=20_000) == 8 + 4


def test_a_scan_that_has_done_enough_forces_nothing(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB", node=1)
    other = touched(machine, task, "2MiB", node=1)
    rounds(machine, task, range(2))
    set_knobs(machine, scan_size_mb=2)
    used = task.mm.find_vma(other // PAGE)
    assert used is not None
    assert used.numab is not None
    used.numab = used.numab._replace(faulted=NumaVma.bit_of(task.pid))
    assert scanned(machine, task, at=20_000) == 512
    assert (task.mm.numa.offset, task.mm.numa.seq) == (used.end, 2)


def test_a_mark_of_use_grows_old_after_four_delays(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB", node=1)
    scanned(machine, task)
    [vma] = task.mm.vmas
    assert vma.numab is not None
    vma.numab = vma.numab._replace(faulted=1)
    marks = []
    for at in (5000, 5001, 9000, 9001):
        scanned(machine, task, at)
        marks.append((vma.numab.reset, vma.numab.faulted, vma.numab.faulted_before))
    assert marks == [(5000, 1, 0), (9000, 0, 1), (9000, 0, 1), (13000, 0, 0)]


def test_unused_mapping_is_scanned_if_no_other_is_left(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB", node=1)
    assert rounds(machine, task, range(5)) == [4, 4, 4, 4, 4]


def test_part_of_a_mapping_that_is_split_off_is_new(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "32KiB", node=1)
    scanned(machine, task)
    mprotect(machine, task, addr + 2 * PAGE, 2 * PAGE, "r")
    states: list[Any] = [vma.numab is not None for vma in task.mm.vmas]
    assert states == [False, True, False]


def test_mapping_that_was_scanned_in_this_round_is_passed_over(
    machine: Machine, task: Task
) -> None:
    touched(machine, task, "16KiB", node=1)
    assert rounds(machine, task, range(1)) == [4]
    [vma] = task.mm.vmas
    assert vma.numab is not None
    vma.numab = vma.numab._replace(prev_seq=1)
    assert (scanned(machine, task, at=10_000), task.mm.numa.seq) == (0, 2)


def test_hugetlb_memory_is_passed_over(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 1, 1)
    touched(machine, task, "2MiB", node=1, hugetlb=True)
    assert scanned(machine, task) == 0
