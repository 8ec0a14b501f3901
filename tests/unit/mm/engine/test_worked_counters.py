"""Examples of what a call adds to the counters of migration, and what its event says."""

import pytest

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.mmap import mprotect, munmap
from pymigrate.syscalls.process import fork, touch
from pymigrate.syscalls.sysctl import write
from pymigrate.uapi import MPOL
from tests.conftest import (
    HUGE,
    PAGE,
    errno_of,
    hold,
    mapped,
    nodes_of,
    placed_on,
    touched,
    two_nodes,
)
from tests.property.invariants import check
from tests.unit.mm.conftest import entry_events

ZERO, ONE = Nodemask.of(0), Nodemask.of(1)
PINS = pytest.mark.parametrize("pins", [0, 1], ids=["reference", "pin"])


@pytest.fixture
def machine() -> Machine:
    machine = two_nodes("64MiB")
    machine.thp = "madvise"
    return machine


def huge(machine: Machine, task: Task, pages: int = 512) -> int:
    """A THP, of which the first *pages* pages are written; give its address."""
    addr = mapped(machine, task, "2MiB")
    madvise(machine, task, addr, HUGE, Madv.HUGEPAGE)
    touch(machine, task, addr, pages * PAGE)
    assert machine.counters["thp_fault_alloc"]
    return addr


def moving(machine: Machine, task: Task, old: Nodemask = ZERO, new: Nodemask = ONE) -> int:
    """What migrate_pages() returns; the counters begin anew."""
    machine.counters.clear()
    left = migrate_pages(machine, task, task, old, new)
    check(machine)
    return left


def counts(machine: Machine) -> tuple[int, int, tuple[int, int, int]]:
    """Pages that moved and failed; THPs that moved, failed and were split."""
    names = ("success", "fail", "split")
    found = machine.counters
    thp = tuple(found[f"thp_migration_{name}"] for name in names)
    return found["pgmigrate_success"], found["pgmigrate_fail"], (thp[0], thp[1], thp[2])


def fill(machine: Machine, task: Task) -> None:
    """Leave node 1 without a free page."""
    saved, task.policy = task.policy, Mempolicy(MPOL.BIND, 0, ONE, ONE)
    machine.thp = "never"
    before = set(machine.tasks)
    room = machine.nodes[1].nr_free << 12
    addr = mapped(machine, task, f"{room}B")
    for at in range(addr, addr + room, PAGE):
        if machine.nodes[1].nr_free <= machine.nodes[1].zones[0].watermark_min:
            break
        touch(machine, task, at, PAGE)
    assert set(machine.tasks) == before
    task.policy, machine.thp = saved, "madvise"


def test_one_thp_mapped_whole(machine: Machine, task: Task) -> None:
    addr = huge(machine, task)
    fork(machine, task, "b")
    machine.watch = Watch([])
    assert (moving(machine, task), counts(machine)) == (0, (512, 0, (1, 0, 0)))
    assert entry_events(machine) == ["set_migration_pmd"] * 2 + ["remove_migration_pmd"] * 2
    assert nodes_of(machine, task, addr, "2MiB") == [[512, 1]]


@PINS
@pytest.mark.parametrize("is_huge", [False, True], ids=["four small pages", "a THP"])
def test_one_page_is_held(machine: Machine, task: Task, is_huge: bool, pins: int) -> None:
    addr = huge(machine, task) if is_huge else touched(machine, task, "16KiB")
    hold(machine, task, addr + PAGE, pins=pins)
    expected = (0, 512, (0, 1, 0)) if is_huge else (3, 1, (0, 0, 0))
    assert (moving(machine, task), counts(machine)) == (1, expected)
    assert machine.counters["thp_split_page"] == 0


@pytest.mark.parametrize("how", ["half munmapped", "a page dropped"])
def test_a_thp_partially_mapped(machine: Machine, task: Task, how: str) -> None:
    addr = huge(machine, task)
    if how == "half munmapped":
        munmap(machine, task, addr, HUGE // 2)
    else:
        madvise(machine, task, addr, PAGE, Madv.DONTNEED)
    assert (moving(machine, task), counts(machine)) == (0, (512, 0, (0, 1, 1)))
    assert machine.counters["thp_split_page"] == 1


@pytest.mark.parametrize(("pins", "tries"), [(0, 2), (1, 10)], ids=["reference", "pin"])
def test_a_thp_in_part_mapped_and_held(machine: Machine, task: Task, pins: int, tries: int) -> None:
    addr = huge(machine, task)
    madvise(machine, task, addr, PAGE, Madv.DONTNEED)
    hold(machine, task, addr + PAGE, pins=pins)
    assert (moving(machine, task), counts(machine)) == (1, (0, 512, (0, 1, 0)))
    assert machine.counters["thp_split_page_failed"] == tries


def test_a_thp_mapped_page_by_page_and_its_second_migration(machine: Machine, task: Task) -> None:
    addr = huge(machine, task)
    mprotect(machine, task, addr, PAGE, "r")
    assert (moving(machine, task), counts(machine)) == (0, (512, 0, (1, 0, 0)))
    assert machine.counters["thp_deferred_split_page"] == 2
    assert (moving(machine, task, ONE, ZERO), counts(machine)) == (0, (512, 0, (0, 1, 1)))
    assert machine.counters["thp_split_page"] == 1


def test_a_thp_that_another_process_maps_whole_is_not_partially_mapped(
    machine: Machine, task: Task
) -> None:
    addr = huge(machine, task)
    fork(machine, task, "b")
    madvise(machine, task, addr, PAGE, Madv.DONTNEED)
    assert (moving(machine, task), counts(machine)) == (0, (512, 0, (1, 0, 0)))
    assert machine.counters["thp_deferred_split_page"] == 0


def test_a_thp_and_a_target_without_any_room(machine: Machine, task: Task) -> None:
    machine.max_ptes_none = 511  # else it is split before, when there is no room to fill
    addr = huge(machine, task, pages=100)
    fill(machine, task)
    assert (moving(machine, task), counts(machine)) == (1, (412, 1, (0, 1, 1)))
    assert machine.counters["thp_split_pmd"] == 1
    assert nodes_of(machine, task, addr, "2MiB") == [[100, 0], [412, -1]]


def test_thps_that_are_to_be_tried_again_fail_when_another_finds_no_room(
    machine: Machine, task: Task
) -> None:
    with placed_on(task, 1):
        room = huge(machine, task)
    pinned, free, held = (huge(machine, task) for _ in range(3))
    fill(machine, task)
    munmap(machine, task, room, HUGE)
    hold(machine, task, pinned)
    hold(machine, task, held, pins=0)  # it cannot be split
    assert errno_of(moving, machine, task) == "ENOMEM"
    check(machine)
    assert counts(machine) == (512, 1024, (1, 2, 0))
    found = [nodes_of(machine, task, addr, "2MiB") for addr in (pinned, free, held)]
    assert found == [[[512, 0]], [[512, 1]], [[512, 0]]]


@pytest.mark.parametrize(("pool", "fresh"), [(1, 0), (0, 1)])
def test_a_hugetlb_page(machine: Machine, task: Task, pool: int, fresh: int) -> None:
    write(machine, machine.shell_of(0), "nr_hugepages", "1", 0)
    write(machine, machine.shell_of(0), "nr_hugepages", str(pool), 1)
    addr = touched(machine, task, "2MiB", hugetlb=True)
    assert (moving(machine, task), counts(machine)) == (0, (512, 0, (0, 0, 0)))
    assert machine.counters["htlb_buddy_alloc_success"] == fresh
    assert nodes_of(machine, task, addr, "2MiB") == [[512, 1]]
    assert [node.hugetlb.nr for node in machine.nodes.values()] == [pool, 1]


def test_a_hugetlb_page_with_an_extra_reference(machine: Machine, task: Task) -> None:
    write(machine, machine.shell_of(0), "nr_hugepages", "1", 0)
    addr = touched(machine, task, "2MiB", hugetlb=True)
    hold(machine, task, addr, pins=0)
    machine.watch = Watch([])
    assert (moving(machine, task), counts(machine)) == (1, (0, 512, (0, 0, 0)))
    assert entry_events(machine) == ["set_migration_pte", "remove_migration_pte"] * 10


def test_batches_of_small_pages_and_a_thp(machine: Machine, task: Task) -> None:
    touched(machine, task, "2052KiB")
    huge(machine, task)
    touched(machine, task, "2400KiB")
    machine.watch = Watch([])
    assert (moving(machine, task), counts(machine)) == (0, (513 + 512 + 600, 0, (1, 0, 0)))
    kinds = [name[0] for name in entry_events(machine)]
    lengths = [len(part) for part in "".join(kinds).replace("rs", "r s").split()]
    assert lengths == [2 * 512, 2 * (1 + 1), 2 * 512, 2 * 88]


def test_a_thp_split_for_memory_moves_its_highest_pieces(machine: Machine, task: Task) -> None:
    addr = huge(machine, task)
    fill(machine, task)
    [zone] = machine.nodes[1].zones
    filler = next(run for run in task.mm.page_table.runs if run.lanes and run.lanes[0] >> 32)
    munmap(machine, task, filler.start << 12, 5 * PAGE)
    assert zone.nr_free > zone.watermark_min
    assert (moving(machine, task), counts(machine)) == (1, (5, 1, (0, 1, 1)))
    assert nodes_of(machine, task, addr, "2MiB") == [[507, 0], [5, 1]]
