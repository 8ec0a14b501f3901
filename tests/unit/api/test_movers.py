"""Machine's methods for what else moves pages."""

import pytest

import pymigrate
from pymigrate.api.machine import Machine

TIERS = """\
machine:
  nodes:
    0: {cpus: "0-1", memory: 256MiB, movable: 128MiB}
    1: {cpus: "2-3", memory: 256MiB}
    2: {memory: 256MiB, adistance: 2000}
  demotion: true
  numa_balancing: 1
tasks:
  a:
    cpus: "2-3"
    memory: [{as: heap, size: 16MiB, pages: [[4096, 0]]}]
    access: [{region: heap, rate: 1000000}]
"""


@pytest.fixture
def m() -> Machine:
    return pymigrate.boot(TIERS)


def test_balance_brings_pages_to_their_user(m: Machine) -> None:
    assert [(row.local, row.remote) for row in m.accesses()] == [(0, 1000000)]
    [row] = m.balance(4)
    assert (row.task, row.node, row.hint_faults) == ("a", 1, row.pages_migrated)
    assert [(row.local, row.remote) for row in m.accesses()] == [(1000000, 0)]


def test_time_does_not_run_backwards(m: Machine) -> None:
    with pytest.raises(ValueError, match="seconds is -1"):
        m.balance(-1)


def test_reclaim_demotes(m: Machine) -> None:
    assert m.reclaim("4MiB", node=0) == 1024
    assert m.vmstat()["pgdemote_direct"] == 1024
    assert sum(run.pages for run in m.placement("a", "heap") if run.node == 2) == 1024
    with pytest.raises(pymigrate.KernelError) as failure:
        m.reclaim("1GiB", who="a")
    assert failure.value.name == "EAGAIN"


def test_compact_says_how_each_zone_ended(m: Machine) -> None:
    assert {(run.node, run.result) for run in m.compact()} == {
        (node, "complete") for node in (0, 1, 2)
    }
    with pytest.raises(pymigrate.KernelError):
        m.compact(7)


def test_blocks_go_offline_and_come_back(m: Machine) -> None:
    blocks = m.offline(1)
    assert [block.errno for block in blocks] == [None] * 2
    assert m.nodes[1].memory == 0
    assert m.online(1, [blocks[0].number])[0].errno is None
    assert m.nodes[1].memory == 128 << 20


def test_time_of_what_happens_in_the_block(m: Machine) -> None:
    with m.timed() as timed:
        m.migrate_pages("a", 0, 1)
    assert timed.total == pytest.approx(timed.time.unmap + timed.time.copy + 1851.2, abs=0.1)
    with m.timed() as nothing:
        m.migrate_pages("a", 0, 1)
    assert nothing.total == 0


def test_plan_says_what_the_call_then_does() -> None:
    machine = pymigrate.boot("two-node")
    plan = machine.plan("db", 1)
    cut = machine.plan("db", "1", from_nodes=[0], max_pause="20ms", limit="256MiB")
    assert machine.migrate_pages("db", 0, 1).moved == plan.nr == cut.nr == 29187
    assert (len(plan.calls), len(cut.calls), plan.is_whole) == (1, 5, True)
    assert machine.vmstat()["pgmigrate_success"] == plan.counters["pgmigrate_success"]
