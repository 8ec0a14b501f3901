"""Sweeps: which pages are accessed in a time, and which accesses store."""

import pytest

from pymigrate.mm.base.pte import Pte
from pymigrate.mm.clock.access_sweep import Accessing, Sweep, run_sweep, sweeps
from pymigrate.mm.clock.simulated_time import Scan, balance
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import AccessPattern, Region, Task
from tests.conftest import PAGE, balancing_nodes, mapped, new_task, touched, two_nodes


@pytest.fixture
def machine() -> Machine:
    return two_nodes()


def state(task: Task, addr: int, nr: int) -> str:
    """Each page: not present, loaded from only, or stored into."""
    shown = ""
    for page in range(addr // PAGE, addr // PAGE + nr):
        run = task.mm.page_table.at(page)
        shown += "." if run is None else "s" if run.lanes and run.flags & Pte.DIRTY else "l"
    return shown


def swept(
    machine: Machine, task: Task, nr: int, rate: int, write: int, times: list[int]
) -> list[str]:
    """What has become of *nr* new pages at each of *times*."""
    addr = mapped(machine, task, f"{nr * 4}KiB")
    sweep = Sweep(addr // PAGE, nr, rate * 1000, write)
    shown = []
    for begin, end in zip([0, *times], times, strict=False):
        run_sweep(machine, task, sweep, begin, end)
        shown.append(state(task, addr, nr))
    return shown


def test_pages_are_accessed_in_order_at_an_even_rate(machine: Machine, task: Task) -> None:
    found = swept(machine, task, 8, 4, 1000, [249, 250, 1000, 1749, 2000])
    assert found == ["........", "s.......", "ssss....", "ssssss..", "ssssssss"]


@pytest.mark.parametrize(
    ("write", "seconds", "expected"),
    [
        (0, 9, "llll"),
        (1000, 1, "ssss"),
        (500, 1, "llll"),
        (500, 2, "ssss"),
        (250, 3, "llll"),
        (250, 4, "ssss"),
        (1, 999, "llll"),
        (1, 1000, "ssss"),
    ],
)
def test_whole_sweeps_store(
    machine: Machine, task: Task, write: int, seconds: int, expected: str
) -> None:
    assert swept(machine, task, 4, 4, write, [seconds * 1000]) == [expected]


def test_sweep_that_stores_may_be_cut_by_the_time(machine: Machine, task: Task) -> None:
    found = swept(machine, task, 4, 4, 500, [1500, 1750, 3500])
    assert found == ["ssll", "sssl", "ssss"]


@pytest.mark.parametrize("step", [1, 7, 60, 333, 1000, 4000])
def test_how_time_is_cut_changes_nothing(machine: Machine, task: Task, step: int) -> None:
    times = [*range(step, 4000, step), 4000]
    assert swept(machine, task, 16, 7, 300, times)[-1] == "l" * 16
    assert swept(machine, task, 16, 20, 300, times)[-1] == "s" * 16


def test_each_part_of_a_pattern_is_swept_for_itself(machine: Machine, task: Task) -> None:
    named(machine, task, "heap", touched(machine, task, "400KiB"), 100)
    pattern = AccessPattern("heap", 1000, 0.25, hot=0.1, hot_rate=0.9, hot_at=20 * PAGE)
    start = machine.regions["a", "heap"].start
    assert [*sweeps(machine, task, pattern)] == [
        Sweep(start, 20, 22_222, 250),
        Sweep(start + 20, 10, 900_000, 250),
        Sweep(start + 30, 70, 77_778, 250),
    ]


def test_region_that_is_not_mapped_is_not_accessed(machine: Machine, task: Task) -> None:
    assert [*sweeps(machine, task, AccessPattern("heap", 1000))] == []


def test_a_signal_ends_the_use_of_one_region_alone(machine: Machine, task: Task) -> None:
    named(machine, task, "code", mapped(machine, task, "8KiB", "r"), 2)
    heap = mapped(machine, task, "8KiB")
    named(machine, task, "heap", heap, 2)
    task.accesses = [AccessPattern("code", 1, 1.0), AccessPattern("heap", 1, 1.0)]
    program = Accessing(task)
    program.run(machine, 0, 1000)
    program.run(machine, 1000, 2000)
    assert program.signals == {"code": "SIGSEGV"}
    assert state(task, heap, 2) == "ss"


def named(machine: Machine, task: Task, name: str, addr: int, nr: int) -> None:
    machine.regions[task.name, name] = Region(task.name, name, addr // PAGE, nr)


def test_declared_accesses_draw_pages_while_time_passes() -> None:
    machine = balancing_nodes()
    new_task(machine, "idle")
    task = new_task(machine)
    named(machine, task, "heap", touched(machine, task, "16KiB", node=1), 4)
    task.accesses = [AccessPattern("heap", 100)]
    scan = Scan(1004, task.pid, 4, 0, 4, 0, 4, period=2000)
    assert balance(machine, 1100) == ({task.pid: (4, 0, 4)}, [scan], [])
    assert machine.now == 1100
