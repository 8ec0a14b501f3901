"""Which faults map huge pages, and what becomes of them when they are written again."""

import pytest

from pymigrate.mm.base.pageblock import PAGEBLOCK_NR
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.gup import pin
from pymigrate.syscalls.madvise import Madv, madvise
from pymigrate.syscalls.mempolicy import set_mempolicy
from pymigrate.syscalls.mmap import munmap
from pymigrate.syscalls.process import exit_task, fork, touch
from pymigrate.uapi import MPOL
from tests.conftest import (
    HUGE,
    MIB,
    PAGE,
    kernel_page,
    mapped,
    new_task,
    nodes_of,
    pfn_at,
    two_nodes,
)
from tests.property.invariants import check
from tests.unit.mm.conftest import loaded


@pytest.fixture
def machine() -> Machine:
    machine = two_nodes()
    machine.thp, machine.defrag = "always", "never"
    return machine


def scatter(machine: Machine, nid: int, free: int = 0) -> None:
    """Let the kernel have a page of each pageblock of a node, but for its last *free* ones."""
    zones = machine.nodes[nid].zones
    for start in range(zones[0].start, zones[-1].end - free * PAGEBLOCK_NR, PAGEBLOCK_NR):
        kernel_page(machine, start)


def orders(task: Task) -> list[tuple[int, int]]:
    """What maps the pages that are there: how many of which order, one after another."""
    found: list[tuple[int, int]] = []
    for run in task.mm.page_table.runs:
        if found and found[-1][1] == run.order:
            found[-1] = (found[-1][0] + run.nr, run.order)
        else:
            found.append((run.nr, run.order))
    return found


def counted(machine: Machine) -> tuple[int, int, int]:
    """Huge pages that faults got, those that they did not get, and the faults."""
    check(machine)
    counters = machine.counters
    return counters["thp_fault_alloc"], counters["thp_fault_fallback"], counters["pgfault"]


@pytest.mark.parametrize(
    ("thp", "advice", "order"),
    [
        ("always", None, 9),
        ("always", Madv.NOHUGEPAGE, 0),
        ("madvise", None, 0),
        ("madvise", Madv.HUGEPAGE, 9),
        ("never", Madv.HUGEPAGE, 0),
    ],
)
def test_the_setting_and_the_advice_decide(
    machine: Machine, task: Task, thp: str, advice: Madv | None, order: int
) -> None:
    machine.thp = thp
    addr = mapped(machine, task, "2MiB")
    if advice is not None:
        madvise(machine, task, addr, HUGE, advice)
    touch(machine, task, addr, HUGE)
    assert orders(task) == [(512, order)]
    assert counted(machine) == ((1, 0, 1) if order else (0, 0, 512))


def test_huge_pages_are_mapped_where_a_whole_block_is(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "8MiB")
    munmap(machine, task, addr, MIB)
    munmap(machine, task, addr + 7 * MIB, MIB)
    touch(machine, task, addr + MIB, 6 * MIB)
    assert orders(task) == [(256, 0), (1024, 9), (256, 0)]
    assert counted(machine) == (2, 0, 514)


def test_a_mapping_below_a_block_has_none(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "3MiB")
    munmap(machine, task, addr, MIB // 2)
    munmap(machine, task, addr + 2 * MIB, MIB)
    touch(machine, task, addr + MIB, MIB)
    assert orders(task) == [(256, 0)]


def test_an_access_to_a_page_maps_its_whole_block(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "6MiB")
    touch(machine, task, addr + 3 * MIB, 2 * PAGE)
    assert nodes_of(machine, task, addr, "6MiB") == [[512, -1], [512, 0], [512, -1]]
    assert counted(machine) == (1, 0, 1)


@pytest.mark.parametrize("page", [0, 1023], ids=["first", "last"])
def test_a_block_with_a_page_table_gets_base_pages(machine: Machine, task: Task, page: int) -> None:
    addr = mapped(machine, task, "4MiB")
    machine.thp = "never"
    touch(machine, task, addr + page * PAGE, PAGE)
    machine.thp = "always"
    touch(machine, task, addr, 2 * HUGE)
    assert orders(task) == [(512, 0), (512, 9)] if page == 0 else [(512, 9), (512, 0)]


@pytest.mark.parametrize(("first", "nr"), [(100, 924), (0, 600)], ids=["from there", "up to there"])
def test_an_access_that_meets_a_block_in_part_sees_its_table_too(
    machine: Machine, task: Task, first: int, nr: int
) -> None:
    addr = mapped(machine, task, "4MiB")
    machine.thp = "never"
    touch(machine, task, addr + (50 if first else 1000) * PAGE, PAGE)
    machine.thp = "always"
    touch(machine, task, addr + first * PAGE, nr * PAGE)
    expected = [(413, 0), (512, 9)] if first else [(512, 9), (89, 0)]
    assert orders(task) == expected


def test_reading_maps_the_huge_zero_page(machine: Machine, task: Task) -> None:
    addr = loaded(machine, task, "4MiB")
    assert orders(task) == [(1024, 9)]
    assert nodes_of(machine, task, addr, "4MiB") == [[1024, -1]]
    assert counted(machine) == (0, 0, 2)
    assert machine.counters["thp_zero_page_alloc"] == 1
    touch(machine, new_task(machine, "b"), addr, PAGE, write=False)
    assert machine.counters["thp_zero_page_alloc"] == 1


@pytest.mark.parametrize(
    ("mode", "defrag"),
    [(MPOL.INTERLEAVE, "never"), (MPOL.BIND, "defer"), (MPOL.BIND, "never")],
    ids=["interleaved", "kcompactd is woken", "neither"],
)
def test_base_pages_fill_the_blocks_for_which_no_huge_page_is_left(
    machine: Machine, task: Task, mode: int, defrag: str
) -> None:
    machine.defrag = defrag
    scatter(machine, 0, free=2)
    scatter(machine, 1)
    set_mempolicy(machine, task, mode, Nodemask.of(0))
    addr = mapped(machine, task, "8MiB")
    assert touch(machine, task, addr, 4 * HUGE) is None
    assert nodes_of(machine, task, addr, "8MiB") == [[2048, 0]]
    assert orders(task) == [(1024, 9), (1024, 0)]
    assert counted(machine) == (2, 2, 2 + 1024)


def test_base_pages_are_interleaved_without_huge_ones(machine: Machine, task: Task) -> None:
    scatter(machine, 0)
    scatter(machine, 1)
    set_mempolicy(machine, task, MPOL.INTERLEAVE, Nodemask.of(0, 1))
    addr = mapped(machine, task, "4MiB")
    touch(machine, task, addr + HUGE // 2, HUGE)
    assert nodes_of(machine, task, addr, "4MiB") == [[256, -1], *[[1, 0], [1, 1]] * 256, [256, -1]]
    assert counted(machine) == (0, 2, 512)


@pytest.mark.parametrize(
    ("defrag", "node", "order"), [("never", 0, 0), ("always", 1, 9)], ids=["here", "anywhere"]
)
def test_only_who_may_reclaim_asks_other_nodes(
    machine: Machine, task: Task, defrag: str, node: int, order: int
) -> None:
    machine.defrag = defrag
    scatter(machine, 0)
    addr = mapped(machine, task, "4MiB")
    touch(machine, task, addr, 2 * HUGE)
    assert orders(task) == [(1024, order)]
    assert nodes_of(machine, task, addr, "4MiB") == [[1024, node]]


def test_who_may_reclaim_asks_its_own_node_first(machine: Machine, task: Task) -> None:
    machine.defrag = "always"
    scatter(machine, 0, free=1)
    addr = mapped(machine, task, "4MiB")
    touch(machine, task, addr, 2 * HUGE)
    assert nodes_of(machine, task, addr, "4MiB") == [[512, 0], [512, 1]]


@pytest.mark.parametrize(
    ("kernel", "expected", "faults"), [("7.2", [(512, 9)], 2), ("6.12", [(512, 0)], 2)]
)
def test_a_store_into_the_huge_zero_page(
    kernel: str, expected: list[tuple[int, int]], faults: int
) -> None:
    machine = two_nodes(kernel=kernel)
    machine.thp = "always"
    task = new_task(machine)
    addr = loaded(machine, task, "2MiB")
    touch(machine, task, addr + PAGE, PAGE)
    assert orders(task) == expected
    assert machine.counters["pgfault"] == faults
    check(machine)


def test_a_store_into_the_huge_zero_page_that_finds_no_huge_page_splits_it() -> None:
    machine = two_nodes(kernel="7.2")
    machine.thp, machine.defrag = "always", "never"
    task = new_task(machine)
    addr = loaded(machine, task, "2MiB")
    scatter(machine, 0)
    scatter(machine, 1)
    touch(machine, task, addr + PAGE, PAGE)
    assert orders(task) == [(512, 0)]
    assert nodes_of(machine, task, addr, "2MiB") == [[1, -1], [1, 0], [510, -1]]
    assert counted(machine) == (0, 1, 2)


def forked(machine: Machine, task: Task) -> tuple[int, Task]:
    addr = mapped(machine, task, "2MiB")
    touch(machine, task, addr, HUGE)
    return addr, fork(machine, task, "child")


def test_a_store_into_a_shared_huge_page_splits_it(machine: Machine, task: Task) -> None:
    addr, child = forked(machine, task)
    touch(machine, child, addr + PAGE, PAGE)
    assert (orders(task), orders(child)) == ([(512, 9)], [(512, 0)])
    assert pfn_at(child, addr) == pfn_at(task, addr)
    assert pfn_at(child, addr + PAGE) != pfn_at(task, addr + PAGE)


def test_the_last_one_that_maps_a_huge_page_stores_into_it(machine: Machine, task: Task) -> None:
    addr, child = forked(machine, task)
    pfn = pfn_at(task, addr)
    exit_task(machine, task)
    touch(machine, child, addr + PAGE, PAGE)
    assert orders(child) == [(512, 9)]
    assert pfn_at(child, addr) == pfn
    assert counted(machine) == (1, 0, 2)


def test_a_held_huge_page_that_was_shared_is_split(machine: Machine, task: Task) -> None:
    addr, child = forked(machine, task)
    pin(machine, child, addr, PAGE, is_long=False)
    exit_task(machine, task)
    touch(machine, child, addr + PAGE, PAGE)
    assert orders(child) == [(512, 0)]
