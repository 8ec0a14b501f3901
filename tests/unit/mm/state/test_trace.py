"""What the migration tracepoints say of base pages."""

from itertools import pairwise

import pytest

from pymigrate.mm.state.events import Event
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.mempolicy import mbind
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.mmap import mprotect
from pymigrate.syscalls.process import fork, touch
from tests.conftest import PAGE, errno_of, hold, mapped, new_file, pfn_at, touched, two_nodes

THP = "nr_thp_succeeded=0 nr_thp_failed=0 nr_thp_split=0 nr_split=0"


@pytest.fixture
def machine() -> Machine:
    return two_nodes("4MiB")


def moving(machine: Machine, task: Task) -> list[Event]:
    """The events of a migration from node 0 to node 1."""
    machine.watch = Watch([])
    migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1))
    return [event for event in machine.watch.events if isinstance(event, Event)]


def entries(events: list[Event], addr: int) -> list[str]:
    """The events about entries: "+" and the page for set, "-" for remove."""
    signs = {"set_migration_pte": "+", "remove_migration_pte": "-"}
    return [f"{signs[e.name]}{e.page - (addr >> 12)}" for e in events if e.page is not None]


def test_nothing_is_noted_unless_somebody_watches(machine: Machine, task: Task) -> None:
    touched(machine, task, "4KiB")
    migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1))
    assert machine.watch.events is None


def test_a_call_is_framed_by_its_mode_reason_and_counts(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    before = pfn_at(task, addr)
    assert moving(machine, task) == [
        Event("mm_migrate_pages_start", "mode=MIGRATE_SYNC reason=syscall_or_cpuset"),
        Event("set_migration_pte", "pte=write,young,dirty order=0", addr >> 12, task.pid, before),
        Event("remove_migration_pte", "order=0", addr >> 12, task.pid, before),
        Event(
            "mm_migrate_pages",
            f"nr_succeeded=1 nr_failed=0 {THP} mode=MIGRATE_SYNC reason=syscall_or_cpuset",
        ),
    ]


def test_mbind_is_a_reason_of_its_own(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    machine.watch = Watch([])
    mbind(machine, task, addr, PAGE, 2, Nodemask.of(1), 2)
    assert machine.watch.events[0].text == "mode=MIGRATE_SYNC reason=mempolicy_mbind"


def test_a_call_that_queues_nothing_says_nothing(machine: Machine, task: Task) -> None:
    touched(machine, task, "4KiB", node=1)
    assert moving(machine, task) == []


@pytest.mark.parametrize(
    ("pins", "expected", "counts"),
    [
        pytest.param(None, "+0 +1 +2 -0 -1 -2", (3, 0), id="it is unmapped before any is moved"),
        pytest.param(0, "+0 +1 +2 -0 -2 -1 +1 -1", (2, 1), id="a page with a reference: twice"),
        pytest.param(1, "+0 +2 -0 -2", (2, 1), id="a pinned page is not even unmapped"),
    ],
)
def test_what_is_told_of_a_batch(
    machine: Machine, task: Task, pins: int | None, expected: str, counts: tuple[int, int]
) -> None:
    addr = touched(machine, task, "12KiB")
    if pins is not None:
        hold(machine, task, addr + PAGE, pins=pins)
    events = moving(machine, task)
    assert entries(events, addr) == expected.split()
    assert events[-1].text.startswith("nr_succeeded={} nr_failed={} ".format(*counts))


def test_batches_are_512_pages(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "2400KiB")
    found = entries(moving(machine, task), addr)
    changes = [i for i, (a, b) in enumerate(pairwise(found), 1) if a[0] != b[0]]
    assert changes == [512, 1024, 1112]


def test_memory_that_runs_out_ends_the_batch(machine: Machine, task: Task) -> None:
    touched(machine, task, "3800KiB", node=1)
    addr = touched(machine, task, "128KiB")
    hold(machine, task, addr, pins=0)
    machine.watch = Watch([])
    assert errno_of(migrate_pages, machine, task, task, Nodemask.of(0), Nodemask.of(1)) == "ENOMEM"
    found = entries(machine.watch.events, addr)
    assert found[:2] == ["+0", "+1"]
    assert found[-1] == "-0"
    assert found.count("+0") == 1  # no second stage
    assert machine.watch.events[-1].text.startswith("nr_succeeded=28 nr_failed=2 ")


def test_all_entries_of_a_page_follow_each_other_parent_first(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    child = fork(machine, task, "b")
    events = moving(machine, child)
    assert entries(events, addr) == ["+0", "+0", "+1", "+1", "-0", "-0", "-1", "-1"]
    assert [event.pid for event in events[1:-1]] == [task.pid, child.pid] * 4
    texts = [event.text for event in events[1:3]]
    assert texts == ["pte=read,young,dirty order=0", "pte=read,dirty order=0"]


def test_read_only_exclusive_entries_say_so(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    mprotect(machine, task, addr, PAGE, "r")
    assert moving(machine, task)[1].text == "pte=read-exclusive,young,dirty order=0"


def test_a_files_entries_come_in_the_order_of_its_mappings(machine: Machine, task: Task) -> None:
    file = new_file(machine, "8KiB")
    first = mapped(machine, task, "8KiB", space=file, is_shared=True)
    second = mapped(machine, task, "8KiB", space=file, is_shared=True)
    touch(machine, task, second, PAGE)
    touch(machine, task, first, 2 * PAGE, write=False)
    touch(machine, task, second + PAGE, PAGE, write=False)
    events = moving(machine, task)
    pages = [e.page for e in events if e.name == "set_migration_pte"]
    a, b = first >> 12, second >> 12
    assert pages == [a, b, a + 1, b + 1]
    texts = [event.text for event in events[1:3]]
    assert texts == ["pte=write,young order=0", "pte=write,young,dirty order=0"]
