"""Waits by their formulas; how true they are nobody has measured."""

import pytest

from pymigrate.mm.base.costs import Costs
from pymigrate.mm.state.cost import Kind, Tally
from pymigrate.nodemask import Nodemask
from pymigrate.plan.calls import Mbind, MigratePages, MovePages, Offline, SetMems
from pymigrate.plan.pause import batch_of, folio_time, locked, waits
from tests.conftest import two_nodes

COSTS = Costs()
PAGE_US = COSTS.unmap_us + COSTS.remap_us + 4096 / 11e3
ONE, TWO = Nodemask.of(0), Nodemask.of(1)


def test_batch_is_512_base_pages_or_one_huge_page_and_one_page_where_each_is_flushed() -> None:
    assert [batch_of(two_nodes(), order) for order in (0, 2, 9, 18)] == [512, 128, 1, 1]
    assert batch_of(two_nodes(kernel="6.1"), 0) == 1


def test_page_waits_for_its_batch() -> None:
    [wait] = waits(two_nodes(), {Kind(0, 1, 0, 1, 0): 5000}, 1)
    assert wait[:3] == (0, 512, 1)
    assert wait.time == pytest.approx(512 * PAGE_US + COSTS.flush_us)


def test_fewer_pages_than_a_batch_are_a_batch() -> None:
    [wait] = waits(two_nodes(), {Kind(0, 1, 0, 1, 0): 5}, 1)
    assert wait.time == pytest.approx(5 * PAGE_US + COSTS.flush_us)


def test_flush_reaches_each_thread_and_each_further_mapper_and_no_more_than_all_cpus() -> None:
    machine, kind = two_nodes(), Kind(0, 1, 0, 2, 1)  # 2 CPUs
    machine.nodes[1].cpus = type(machine.nodes[1].cpus).parse("1-7")
    alone = folio_time(machine, kind, 512, 1)
    for threads, more in ((1, 1), (3, 3), (100, 7)):
        [wait] = waits(machine, {kind: 512}, threads)
        assert wait.time == pytest.approx(alone + more * COSTS.flush_cpu_us)


def test_each_further_mapper_costs_an_entry_a_page() -> None:
    often, once = (folio_time(two_nodes(), Kind(0, 1, 0, n, n - 1), 512, 1) for n in (21, 1))
    assert often - once == pytest.approx(512 * 20 * (COSTS.pte_unmap_us + COSTS.pte_remap_us))


def test_longest_wait_of_each_order_is_told() -> None:
    kinds = {Kind(0, 1, 0, 1, 0): 512, Kind(0, 1, 0, 3, 2): 512, Kind(0, 1, 9, 1, 0): 2}
    assert [wait[:3] for wait in waits(two_nodes(), kinds, 1)] == [(0, 512, 3), (9, 1, 1)]


@pytest.mark.parametrize(
    ("call", "unlocked", "locked_to_the_end"),
    [
        (MigratePages(1, ONE, TWO), 200.0, 5200.0),
        (SetMems("a", TWO), 200.0, 5200.0),
        (Mbind(1, 0, 4096, 2, TWO, True), 300.0, 5300.0),
        (MovePages(1, 1, (range(1),), True, 1), 0.1, 0.1),
        (Offline(0), 0.0, 0.0),
    ],
    ids=["migrate_pages", "cpuset", "mbind", "move_pages", "offline"],
)
def test_mmap_lock_is_held_while_pages_are_listed(
    call: MigratePages | SetMems | Mbind | MovePages | Offline,
    unlocked: float,
    locked_to_the_end: float,
) -> None:
    tally = Tally()
    tally.kinds.update({Kind(0, 1, 0, 1, 0): 2000, Kind(1, 0, 0, 1, 0): 1000})
    for kernel, expected in (("6.12", unlocked), ("6.1", locked_to_the_end)):
        assert locked(two_nodes(kernel=kernel), call, tally, 5000.0) == pytest.approx(expected)
