"""Estimates of the time that migrations take."""

from collections import Counter

import pytest

from pymigrate.mm.base.costs import Costs
from pymigrate.mm.base.memmap import NODE_SHIFT, Frame
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.state.cost import Estimate, Tally, estimate, more_entries
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.migrate import migrate_pages, move_pages
from pymigrate.syscalls.process import touch
from pymigrate.units import PAGE_SIZE
from pymigrate.views.told import cost
from tests.conftest import four_nodes, hold, new_task, touched, two_nodes
from tests.unit.mm.conftest import with_task

GIB = 1 << 18  # base pages
NEAR = {0: {0: 10, 1: 20}, 1: {0: 20, 1: 10}}


def test_base_pages_move_at_the_published_rate_of_about_800_000_a_second() -> None:
    tally = Tally(pages=Counter({(0, 1): GIB}), flushes=GIB // 512)
    assert GIB / estimate(tally, Costs(), NEAR).total == pytest.approx(0.785, abs=0.001)


def test_huge_pages_move_at_the_published_rate_of_about_5000_a_second() -> None:
    tally = Tally(folios=Counter({(0, 1, 9): 512}), flushes=512)
    assert 512e6 / estimate(tally, Costs(), NEAR).total == pytest.approx(5112, abs=1)


@pytest.mark.parametrize(
    ("old", "new", "moved"),
    [
        ((0,), (1 << NODE_SHIFT, 2 << NODE_SHIFT), {(0, 1): 6, (0, 2): 5}),
        ((0, 1 << NODE_SHIFT), (0,), {(0, 0): 5, (1, 0): 5}),
        ((0, 8, 1 << NODE_SHIFT), (8, 0), {(0, 0): 7, (1, 0): 3}),
    ],
    ids=["one to two", "two to one", "a page in the middle stays"],
)
def test_pages_that_other_lanes_have_are_counted_by_node(
    old: tuple[int, ...], new: tuple[int, ...], moved: dict[tuple[int, int], int]
) -> None:
    tally = Tally()
    tally.moved(PteRun(0, 11, old), PteRun(0, 11, new), Frame(0, 0))
    assert tally.pages == moved


@pytest.mark.parametrize(
    ("kernel", "flushes"), [("6.12", 2), ("6.1", 1024)], ids=["each batch", "each entry before 6.3"]
)
def test_what_is_a_flush(kernel: str, flushes: int) -> None:
    machine, task = with_task(two_nodes(kernel=kernel))
    touched(machine, task, "4MiB")
    machine.watch = Watch(tally=Tally())
    migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1))
    assert machine.watch.tally == Tally(pages=Counter({(0, 1): 1024}), flushes=flushes)


def test_page_that_somebody_holds_costs_its_ten_attempts(machine: Machine, task: Task) -> None:
    hold(machine, task, touched(machine, task, "4KiB"))
    machine.watch = Watch(tally=Tally())
    migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1))
    assert (machine.watch.tally.pages, machine.watch.tally.attempts) == ({}, 10)
    time = cost.taken(machine, machine.watch.tally)
    assert time is not None
    assert (time.unmap, time.copy, time.other) == (0, 0, 12)


def test_farther_nodes_are_copied_to_more_slowly() -> None:
    tally = Tally(pages=Counter({(0, 1): 1000}))
    rates = [4096 / estimate(tally, Costs(), {0: {1: d}}).copy for d in (10, 15, 20, 40)]
    assert rates == pytest.approx([12, 11.5, 11, 5.5])
    device = Tally(pages=Counter({(0, 1024): 1000}))
    assert estimate(device, Costs(), {}).copy == pytest.approx(4096 / 11)


def test_long_list_of_addresses_is_told_by_its_pairs_of_nodes() -> None:
    machine, task = with_task(four_nodes())
    start = touched(machine, task, "1MiB")
    machine.watch = Watch(tally=Tally())
    addrs = [start + i * PAGE_SIZE for i in range(256)]
    move_pages(machine, task, task, addrs, [1] * 128 + [2] * 128, 2)
    assert machine.watch.tally.pages == {(0, 1): 128, (0, 2): 128}
    assert machine.watch.tally.flushes == 2


def test_hint_faults_of_balancing_are_told(machine: Machine) -> None:
    machine.numa_balancing = 1
    task = new_task(machine, cpu=1)
    start = touched(machine, task, "1MiB")
    machine.watch = Watch(tally=Tally())
    touch(machine, task, start, 1 << 20, seconds=6.0)
    assert machine.watch.tally.hint_faults == machine.counters["numa_hint_faults"] > 0
    assert machine.watch.tally.pages == {(0, 1): 256}


def test_line_leaves_out_what_took_no_time() -> None:
    line = cost.format_line(Estimate(1500, 0, 2e6, 0.25, 0))
    assert line == "estimated 2 s: unmap 1.5 ms, copy 2 s, remap 0.25 us"


def test_further_entries_of_a_page_cost_time_and_those_of_no_page_none() -> None:
    run, moved = PteRun(0, 8, (0,)), PteRun(0, 8, (1 << NODE_SHIFT,))
    tally = Tally()
    for maps in (0, 1, 3):
        tally.moved(run, moved, Frame(0, 0, pte_maps=maps))
    assert (tally.pages, tally.ptes) == ({(0, 1): 24}, 16)
    assert tally.kinds == {(0, 1, 0, maps, max(maps - 1, 0)): 8 for maps in (0, 1, 3)}


@pytest.mark.parametrize(
    ("order", "pmd_maps", "maps", "more"),
    [(0, 0, 1, 0), (0, 0, 21, 20), (9, 1, 1, 0), (9, 21, 21, 20), (9, 0, 1, 512), (2, 0, 3, 12)],
)
def test_entries_that_cost_more_than_the_folio(
    order: int, pmd_maps: int, maps: int, more: int
) -> None:
    assert more_entries(order, pmd_maps, maps) == more


def test_each_part_of_an_estimate_is_a_sum() -> None:
    tally = Tally(Counter({(0, 1): 100}), Counter({(0, 1, 9): 4}), ptes=10, flushes=5)
    tally.flushed_cpus, tally.attempts, tally.splits, tally.hint_faults = 6, 7, 2, 3
    mapping, copied = 100 * 0.45 + 4 * 2 + 10 * 0.2, 100 * 4096 + 4 * (2 << 20)
    assert estimate(tally, Costs(), NEAR) == pytest.approx(
        (mapping, 5 + 6 * 0.5, copied / 11e3, mapping, 7 * 1.2 + 2 * 100 + 3)
    )
