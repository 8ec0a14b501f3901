"""Time passes from scan to scan."""

from dataclasses import dataclass

from pymigrate.mm.clock.simulated_time import Clock, Scan
from pymigrate.mm.faults.memory import access
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from tests.conftest import new_task, touched, two_nodes


@dataclass
class Using:
    """A program that stores into pages as soon as it runs."""

    task: Task
    addr: int
    nr: int

    def run(self, machine: Machine, start: int, end: int) -> None:
        """Store into all of them."""
        access(machine, self.task, self.addr >> 12, (self.addr >> 12) + self.nr, write=True)


def scans(machine: Machine, seconds: int, *programs: Using) -> list[Scan]:
    """The scans that are made while so much time passes."""
    clock = Clock(machine, programs)
    clock.pass_time(seconds * 1000)
    return clock.scans


def test_remote_small_pages_fault_at_the_first_scan_alone(machine: Machine, task: Task) -> None:
    found = scans(machine, 10, Using(task, touched(machine, task, "8MiB", node=1), 2048))
    assert found[0] == Scan(1004, 1000, 2048, 0, 2048, 0, 2048, period=2000)
    assert {scan[2:7] for scan in found[1:]} == {(0, 0, 0, 0, 0)}


def test_huge_pages_fault_at_each_scan_locally_later(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    found = scans(machine, 40, Using(task, touched(machine, task, "8MiB", node=1), 2048))
    assert found[0] == Scan(1004, 1000, 2048, 4, 4, 0, 2048, period=2000)
    assert {scan[2:7] for scan in found[1:]} == {(2048, 4, 4, 4, 0)}


def test_scan_period_doubles_while_nothing_is_local_and_then_grows_by_three_slots(
    machine: Machine, task: Task
) -> None:
    machine.thp = "always"
    found = scans(machine, 60, Using(task, touched(machine, task, "8MiB", node=1), 2048))
    periods = [scan.period for scan in found]
    # A round is judged at the first fault of the next: in the first there was none yet, in the
    # second there were remote faults only; all are private.
    assert periods[:5] == [2000, 4000, 5200, 6760, 8788]
    assert [scan.time for scan in found[:4]] == [1004, 3012, 7020, 12228]


def test_time_of_a_cpu_is_shared_by_those_who_run_on_it(machine: Machine, task: Task) -> None:
    other = new_task(machine, "b")
    programs = [Using(who, touched(machine, who, "4KiB", node=1), 1) for who in (task, other)]
    found = scans(machine, 4, *programs)
    assert [(scan.time, scan.pid) for scan in found[:2]] == [(2004, 1000), (2004, 1001)]
    assert task.numa.runtime == other.numa.runtime == 2_000_000


def test_tasks_on_their_own_cpus_scan_by_pid(machine: Machine, task: Task) -> None:
    other = new_task(machine, "b", cpu=1)
    programs = [
        Using(other, touched(machine, other, "4KiB"), 1),
        Using(task, touched(machine, task, "4KiB"), 1),
    ]
    found = scans(machine, 2, *programs)
    assert [(scan.time, scan.pid) for scan in found] == [(1004, 1000), (1004, 1001)]


def test_nobody_scans_while_it_is_off_but_cpu_time_grows(machine: Machine, task: Task) -> None:
    machine.numa_balancing = 0
    program = Using(task, touched(machine, task, "4KiB", node=1), 1)
    assert scans(machine, 5, program) == []
    assert (machine.now, task.numa.runtime) == (5000, 5_000_000)
    machine.numa_balancing = 1
    assert [scan.time for scan in scans(machine, 1, program)] == [5004]


def test_longer_time_is_the_sum_of_shorter_ones(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    program = Using(task, touched(machine, task, "8MiB", node=1), 2048)
    pieces = [scan for _ in range(60) for scan in scans(machine, 1, program)]
    other = two_nodes("128MiB")
    other.numa_balancing, other.thp = 1, "always"
    alike = new_task(other)
    at_once = scans(other, 60, Using(alike, touched(other, alike, "8MiB", node=1), 2048))
    assert [scan.time for scan in pieces] == [scan.time for scan in at_once]
    assert machine.counters == other.counters
