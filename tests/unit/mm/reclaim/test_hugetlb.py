"""The hugetlb pools grow and shrink, and give migration its destinations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.mm.base.memmap import POOL_FRAME, nid_of
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.offline.contig import alloc_contig_range
from pymigrate.mm.reclaim import hugetlb
from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.spaces.hugetlb_pool import in_turn
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.cpuset import attach_task, create
from pymigrate.syscalls.migrate import migrate_pages, move_pages
from pymigrate.syscalls.mmap import munmap
from pymigrate.syscalls.process import touch
from pymigrate.uapi import MPOL_MF_MOVE
from tests.conftest import (
    HUGE,
    MIB,
    PAGE,
    errno_of,
    hold,
    kernel_page,
    mapped,
    nodes_of,
    nodes_with,
    pfn_at,
    placed_on,
    touched,
)
from tests.property.invariants import check


def pools(machine: Machine) -> list[tuple[int, int, int]]:
    """Of each node: the pages of its pool, the free and the surplus ones."""
    check(machine)
    found = [node.hugetlb for node in machine.nodes.values()]
    return [(pool.nr, pool.nr_free, pool.surplus) for pool in found]


@pytest.mark.parametrize(
    ("before", "used", "after", "expected"),
    [
        pytest.param([(5,)], "0", [], [(3, 3, 0), (2, 2, 0)], id="shared out over the nodes"),
        pytest.param([(5,), (8,)], "0", [], [(4, 4, 0), (4, 4, 0)], id="on with whose turn it is"),
        pytest.param([(1, 1), (4,)], "0", [], [(1, 1, 0), (3, 3, 0)], id="on with the node alone"),
        pytest.param([(3, 1)], "0", [], [(0, 0, 0), (3, 3, 0)], id="one node's for itself"),
        pytest.param(
            [(3, 1), (4, 0), (1, 1)], "0", [], [(4, 4, 0), (1, 1, 0)], id="it shrinks for itself"
        ),
        pytest.param(
            [(2, 0), (4, 1), (3,)], "0", [], [(0, 0, 0), (3, 3, 0)], id="they shrink in turn"
        ),
        pytest.param(
            [(2, 0), (4, 1), (3, 1), (4,)], "0", [], [(2, 2, 0), (2, 2, 0)], id="where it shrank"
        ),
        pytest.param([(9,), (8,), (6,), (7,)], "0", [], [(3, 3, 0), (4, 4, 0)], id="both turns"),
        pytest.param([(3, 0)], "4MiB", [(0, 0)], [(2, 0, 2), (0, 0, 0)], id="in use: surplus"),
        pytest.param(
            [(3, 0)], "4MiB", [(0, 0), (1, 0)], [(2, 0, 1), (0, 0, 0)], id="taken back in part"
        ),
        pytest.param(
            [(3, 0)], "4MiB", [(0, 0), (3, 0)], [(3, 1, 0), (0, 0, 0)], id="taken back, and more"
        ),
        pytest.param(
            [(1, 0), (2, 1)], "6MiB", [(1,)], [(1, 0, 1), (2, 0, 1)], id="the most: the surplus"
        ),
    ],
)
def test_pools_grow_and_shrink(
    machine: Machine,
    task: Task,
    before: list[tuple[int, ...]],
    used: str,
    after: list[tuple[int, ...]],
    expected: list[tuple[int, int, int]],
) -> None:
    for count in before:
        set_nr_hugepages(machine, *count)
    if used != "0":
        touched(machine, task, used, hugetlb=True)
    for count in after:
        set_nr_hugepages(machine, *count)
    assert pools(machine) == expected


def test_the_frames_of_a_pool_are_in_use(machine: Machine) -> None:
    before = machine.nodes[0].nr_free
    set_nr_hugepages(machine, 2, 0)
    assert machine.nodes[0].nr_free == before - 1024
    [extent] = machine.nodes[0].hugetlb.free.runs
    assert frame_of(machine, extent.start) == POOL_FRAME
    set_nr_hugepages(machine, 0, 0)
    assert machine.nodes[0].nr_free == before
    assert pools(machine) == [(0, 0, 0), (0, 0, 0)]


def test_a_pool_gets_what_memory_there_is(machine: Machine, task: Task) -> None:
    touched(machine, task, "60MiB", node=1)
    set_nr_hugepages(machine, 1000, 1)
    nr = machine.nodes[1].hugetlb.nr
    assert nr == machine.counters["htlb_buddy_alloc_success"] == 1
    assert machine.counters["htlb_buddy_alloc_fail"] == 1


def test_a_full_node_leaves_its_share_to_the_others(machine: Machine, task: Task) -> None:
    touched(machine, task, "62MiB", node=0)
    set_nr_hugepages(machine, 6)
    assert pools(machine) == [(0, 0, 0), (6, 6, 0)]


def test_reserved_pages_stay_when_the_pool_shrinks(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 4, 0)
    mapped(machine, task, "4MiB", hugetlb=True)
    set_nr_hugepages(machine, 1, 0)
    assert pools(machine) == [(2, 2, 1), (0, 0, 0)]


def test_a_surplus_elsewhere_keeps_as_many_free_pages(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 2, 0)
    touched(machine, task, "4MiB", hugetlb=True)
    set_nr_hugepages(machine, 0, 0)
    set_nr_hugepages(machine, 3, 1)
    set_nr_hugepages(machine, 0, 1)
    assert pools(machine) == [(2, 0, 2), (2, 2, 2)]


def test_what_was_reserved_and_not_used_takes_the_surplus_along(
    machine: Machine, task: Task
) -> None:
    set_nr_hugepages(machine, 4, 0)
    addr = mapped(machine, task, "6MiB", hugetlb=True)
    set_nr_hugepages(machine, 1, 0)
    assert pools(machine) == [(3, 3, 2), (0, 0, 0)]
    munmap(machine, task, addr, 3 * HUGE)
    assert pools(machine) == [(1, 1, 0), (0, 0, 0)]


def test_a_surplus_page_that_is_given_back_leaves_the_pool(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 3, 0)
    addr = touched(machine, task, "6MiB", hugetlb=True)
    set_nr_hugepages(machine, 1, 0)
    munmap(machine, task, addr, HUGE)
    assert pools(machine) == [(2, 0, 1), (0, 0, 0)]


@given(st.dictionaries(st.integers(0, 9), st.integers(0, 5)), st.integers(0, 40), st.integers(0, 9))
def test_turns_are_taken_one_by_one(has: dict[int, int], nr: int, first: int) -> None:
    left, turn, taken = dict(has), first, dict.fromkeys(has, 0)
    for _ in range(nr):
        order = [nid for nid in range(turn, 10) if nid in has]
        order += [nid for nid in range(turn) if nid in has]
        at = next((at for at, nid in enumerate(order) if left[nid]), len(order) - 1)
        if not order:
            break
        turn = order[(at + 1) % len(order)]
        if left[order[at]]:
            left[order[at]] -= 1
            taken[order[at]] += 1
    assert in_turn(has, nr, first) == (taken, turn)


def test_a_node_that_has_no_more_leaves_the_rest_to_others() -> None:
    machine = nodes_with("16MiB", "64MiB")
    set_nr_hugepages(machine, 25)
    assert pools(machine) == [(7, 7, 0), (18, 18, 0)]
    assert machine.counters["htlb_buddy_alloc_success"] == 25
    assert machine.counters["htlb_buddy_alloc_fail"] > 0
    check(machine)


@pytest.mark.parametrize("counts", [(9,), (12, 30), (3, 17, 60, 8)])
@pytest.mark.parametrize("stride", [0, 700, 3000], ids=["empty", "cut up", "cut in few"])
def test_it_ends_as_page_by_page(
    counts: tuple[int, ...], stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = []
    for _ in range(2):
        machine = nodes_with("64MiB", "24MiB", "40MiB")
        for node in machine.nodes.values():
            for pfn in range(node.zones[0].start, node.zones[0].start + 6000, stride or 6000):
                if stride and pfn < node.zones[-1].start + node.zones[-1].nr:
                    kernel_page(machine, pfn)
        set_nr_hugepages(machine, 2, 1)
        for count in counts:
            set_nr_hugepages(machine, count)
        check(machine)
        numa = [node.numa for node in machine.nodes.values()]
        free = [[zone.free.runs for zone in node.zones] for node in machine.nodes.values()]
        ends.append((pools(machine), machine.counters, numa, free))
        monkeypatch.setattr(hugetlb, "_room", lambda *_: 0)
    assert ends[0] == ends[1]


def moved(machine: Machine, task: Task) -> int:
    return migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1))


def test_a_fresh_page_joins_the_pool_of_its_node(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 1, 0)
    addr = touched(machine, task, "2MiB", hugetlb=True)
    free = [node.nr_free for node in machine.nodes.values()]
    assert moved(machine, task) == 0
    assert nodes_of(machine, task, addr, "2MiB") == [[512, 1]]
    assert pools(machine) == [(0, 0, 0), (1, 0, 0)]
    assert [node.nr_free for node in machine.nodes.values()] == [free[0] + 512, free[1] - 512]


def test_a_surplus_moves_along(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 2, 0)
    addr = touched(machine, task, "4MiB", hugetlb=True)
    set_nr_hugepages(machine, 1, 0)
    move_pages(machine, task, task, [addr], [1], MPOL_MF_MOVE)
    assert pools(machine) == [(1, 0, 0), (1, 0, 1)]


def test_reserved_pages_are_no_destination(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 1, 0)
    set_nr_hugepages(machine, 1, 1)
    addr = mapped(machine, task, "4MiB", hugetlb=True)
    touch(machine, task, addr, PAGE)
    assert moved(machine, task) == 0
    assert machine.counters["htlb_buddy_alloc_success"] == 3
    assert pools(machine) == [(0, 0, 0), (2, 1, 0)]


def test_without_any_memory_the_call_ends_with_enomem(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 1, 0)
    addr = touched(machine, task, "2MiB", hugetlb=True)
    touched(machine, task, "63MiB", node=1)
    assert errno_of(moved, machine, task) == "ENOMEM"
    assert nodes_of(machine, task, addr, "2MiB") == [[512, 0]]
    assert machine.counters["htlb_buddy_alloc_fail"] == 1


@pytest.mark.parametrize(
    ("pool", "after"),
    [(1, [(1, 0, 0), (1, 1, 0)]), (0, [(1, 0, 0), (0, 0, 0)])],
    ids=["of the pool", "fresh"],
)
def test_a_destination_that_was_not_used_is_given_back(
    machine: Machine, task: Task, pool: int, after: list[tuple[int, int, int]]
) -> None:
    set_nr_hugepages(machine, 1, 0)
    set_nr_hugepages(machine, pool, 1)
    addr = touched(machine, task, "2MiB", hugetlb=True)
    free = machine.nodes[1].nr_free
    hold(machine, task, addr, pins=0)
    assert moved(machine, task) == 1
    assert pools(machine) == after
    assert machine.nodes[1].nr_free == free


def test_a_free_page_in_the_way_is_replaced_on_its_node(machine: Machine) -> None:
    set_nr_hugepages(machine, 2, 1)
    [extent] = machine.nodes[1].hugetlb.free.runs
    machine.counters.clear()
    alloc_contig_range(machine, extent.start, extent.start + 512)
    left = [(run.start, run.nr) for run in machine.nodes[1].hugetlb.free.runs]
    assert sum(nr for _, nr in left) == 1024
    assert all(nid_of(start) == 1 for start, _ in left)
    assert machine.nodes[1].hugetlb.free.between(extent.start, extent.start + 512) == []
    assert machine.nodes[1].hugetlb.nr == 2
    assert machine.counters["htlb_buddy_alloc_success"] == 1


def test_a_free_page_that_cannot_be_replaced_stays(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 1, 1)
    [extent] = machine.nodes[1].hugetlb.free.runs
    with placed_on(task, 1):
        touch(machine, task, mapped(machine, task, "61MiB"), 61 * MIB)
    start = extent.start
    assert errno_of(alloc_contig_range, machine, start, start + 512) == "ENOMEM"
    assert pools(machine)[1] == (1, 1, 0)


def test_a_page_in_use_moves_out_of_the_way(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 1, 1)
    addr = mapped(machine, task, "2MiB", hugetlb=True)
    touch(machine, task, addr, PAGE)
    old = pfn_at(task, addr)
    alloc_contig_range(machine, old, old + 512)
    assert pfn_at(task, addr) != old
    assert nodes_of(machine, task, addr, "2MiB") == [[512, 1]]


def test_a_task_takes_pages_of_its_cpusets_nodes_alone(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 1, 0)
    set_nr_hugepages(machine, 1, 1)
    create(machine, machine.shell_of(0), "one", task.cpus, Nodemask.of(1), False)
    attach_task(machine, machine.shell_of(0), task, "one")
    assert errno_of(mapped, machine, task, "4MiB", hugetlb=True) == "ENOMEM"
    addr = touched(machine, task, "2MiB", hugetlb=True)
    assert nodes_of(machine, task, addr, "2MiB") == [[512, 1]]
