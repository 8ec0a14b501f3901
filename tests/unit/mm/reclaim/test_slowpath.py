"""Allocations that find no room wake kswapd, which demotes."""

import pytest

from pymigrate.mm.frames.page_alloc import available
from pymigrate.mm.frames.placement import ThisNode
from pymigrate.mm.reclaim.slowpath import have_room
from pymigrate.mm.reclaim.vmscan import wakeup_kswapd
from pymigrate.mm.state.machine import Machine, telling
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.mm.state.scope import Scope, Watch
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.scenario.boot.build import boot
from pymigrate.scenario.spec.models import MachineSpec
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.mmap import munmap
from pymigrate.syscalls.process import fork, touch
from pymigrate.syscalls.reclaim import reclaim
from pymigrate.uapi import MPOL
from tests.conftest import check, mapped, new_file, new_task, nodes_of, touched


@pytest.fixture
def machine() -> Machine:
    nodes = {0: {"cpus": "0", "memory": "64MiB"}, 1: {"memory": "128MiB", "adistance": 2880}}
    return boot(MachineSpec.model_validate({"nodes": nodes, "demotion": True}), "6.12")


def bound(machine: Machine, name: str, *nodes: int) -> Task:
    """A task that may only use *nodes*."""
    task = new_task(machine, name)
    mask = Nodemask.of(*nodes)
    task.policy = Mempolicy(MPOL.BIND, 0, mask, mask)
    return task


def demoted(machine: Machine) -> int:
    """The pages that kswapd has demoted; all is as it should be."""
    check(machine)
    nr = machine.nodes[0].numa["pgdemote_kswapd"]
    assert machine.counters["pgsteal_kswapd"] == nr
    return nr


def stored(machine: Machine, task: Task, size: str) -> int:
    """Map *size* and write to all of it; give the address."""
    addr = mapped(machine, task, size)
    assert touch(machine, task, addr, int(size.removesuffix("MiB")) << 20) is None
    return addr


def test_memory_hungry_job_evicts_others(machine: Machine) -> None:
    idle, job = bound(machine, "idle", 0), bound(machine, "job", 0)
    old = stored(machine, idle, "40MiB")
    new = stored(machine, job, "40MiB")
    assert nodes_of(machine, job, new, "40MiB") == [[10240, 0]]
    assert demoted(machine) == 4352
    assert nodes_of(machine, idle, old, "40MiB") == [[4352, 1], [10240 - 4352, 0]]
    assert machine.nodes[0].nr_free > machine.nodes[0].zones[-1].watermark_low


def test_a_node_below_its_low_watermark_gets_room_for_all(machine: Machine) -> None:
    machine.demotion = False
    nr = available(machine.nodes[0], to_min=True)
    touched(machine, bound(machine, "job", 0), f"{nr * 4}KiB")
    machine.demotion = True
    assert have_room(machine, new_task(machine), ThisNode(0), 64)
    assert available(machine.nodes[0], to_min=False) >= 64


def test_what_the_others_use_stays(machine: Machine) -> None:
    other, job = bound(machine, "other", 0), bound(machine, "job", 0)
    cold, hot = stored(machine, other, "24MiB"), stored(machine, other, "8MiB")
    stored(machine, job, "32MiB")  # all was looked at
    touch(machine, other, hot, 8 << 20, write=False)
    stored(machine, job, "16MiB")
    assert nodes_of(machine, other, hot, "8MiB") == [[2048, 0]]
    assert nodes_of(machine, other, cold, "24MiB")[0][1] == 1
    assert demoted(machine) == 4352


def test_who_may_use_the_lower_tier_fills_it_before_others_are_evicted(machine: Machine) -> None:
    idle, job = bound(machine, "idle", 0), new_task(machine, "job")
    stored(machine, idle, "40MiB")
    new = stored(machine, job, "40MiB")
    assert demoted(machine) == 0
    assert {nid for _, nid in nodes_of(machine, job, new, "40MiB")} == {0, 1}


def test_job_alone_keeps_what_it_stored_last(machine: Machine) -> None:
    job = bound(machine, "job", 0)
    addr = stored(machine, job, "100MiB")
    found = nodes_of(machine, job, addr, "100MiB")
    assert [nid for _, nid in found] == [1, 0]
    assert found[0][0] == demoted(machine)


def test_when_no_tier_has_room_the_oom_killer_comes(machine: Machine) -> None:
    job = bound(machine, "job", 0)
    addr = mapped(machine, job, "256MiB")
    assert touch(machine, job, addr, 256 << 20) == "SIGKILL"
    assert machine.counters["oom_kill"] == 1
    assert machine.counters["pgmigrate_fail"] == 3
    assert machine.nodes[0].nr_free == machine.nodes[0].nr_pages


def test_without_demotion_nothing_is_reclaimed(machine: Machine) -> None:
    machine.demotion = False
    idle, job = bound(machine, "idle", 0), bound(machine, "job", 0)
    stored(machine, idle, "40MiB")
    addr = mapped(machine, job, "40MiB")
    touch(machine, job, addr, 40 << 20)
    assert machine.counters["oom_kill"] == 1
    assert demoted(machine) == 0


def test_copies_of_shared_pages_find_room(machine: Machine) -> None:
    task = bound(machine, "parent", 0)
    addr = stored(machine, task, "40MiB")
    child = fork(machine, task, "child")
    assert touch(machine, child, addr, 40 << 20) is None
    assert demoted(machine) == 4352
    for each in (task, child):
        assert sum(nr for nr, nid in nodes_of(machine, each, addr, "40MiB") if nid >= 0) == 10240


def test_holes_between_present_pages_are_filled_while_those_move(machine: Machine) -> None:
    job = bound(machine, "job", 0)
    addr = stored(machine, job, "48MiB")
    for i in range(0, 48, 2):
        munmap(machine, job, addr + (i << 20), 1 << 19)
    other = stored(machine, job, "28MiB")
    for i in range(0, 48, 2):
        assert touch(machine, job, addr + (i << 20) + (1 << 19), 3 << 19) is None
    assert demoted(machine) == 256
    assert sum(nr for nr, nid in nodes_of(machine, job, other, "28MiB") if nid >= 0) == 7168


@pytest.mark.parametrize(("fs", "nr"), [("tmpfs", 4352), ("ext4", 4416)])
def test_page_cache_finds_room(machine: Machine, fs: str, nr: int) -> None:
    idle, job = bound(machine, "idle", 0), bound(machine, "job", 0)
    stored(machine, idle, "40MiB")
    addr = mapped(machine, job, "40MiB", space=new_file(machine, "40MiB", fs), is_shared=True)
    assert touch(machine, job, addr, 40 << 20, write=fs == "tmpfs") is None
    assert demoted(machine) == nr


def test_strided_stores_find_room(machine: Machine) -> None:
    idle, job = bound(machine, "idle", 0), bound(machine, "job", 0)
    stored(machine, idle, "60MiB")
    addr = mapped(machine, job, "8MiB")
    assert touch(machine, job, addr, 8 << 20, stride=8192) is None
    assert demoted(machine) == 256


def test_it_is_the_same_with_somebody_watching(machine: Machine) -> None:
    machine.watch = Watch([])
    idle, job = bound(machine, "idle", 0), bound(machine, "job", 0)
    old = touched(machine, idle, "56MiB")
    stored(machine, job, "8MiB")
    nr = demoted(machine)
    assert nodes_of(machine, idle, old, "56MiB")[0] == [nr, 1]
    starts = {e.text for e in machine.watch.events if e.name == "mm_migrate_pages_start"}
    assert starts == {"mode=MIGRATE_ASYNC reason=demotion"}


def test_access_in_the_middle_of_a_migration_reclaims_nothing(machine: Machine) -> None:
    idle, job = bound(machine, "idle", 0), bound(machine, "job", 0)
    stored(machine, idle, "60MiB")
    addr = mapped(machine, job, "8MiB")
    with telling(machine, Scope(memalloc=True)):
        touch(machine, job, addr, 8 << 20)
    assert demoted(machine) == 0


def test_engine_leaves_it_to_be_reclaimed_afterwards(machine: Machine) -> None:
    task = bound(machine, "a", 0)
    stored(machine, task, "1MiB")
    reclaim(machine, machine.shell_of(0), 1 << 20)
    assert machine.scope == Scope()


def test_kswapd_that_got_nothing_sleeps_until_a_page_is_freed(machine: Machine) -> None:
    other, job = bound(machine, "other", 1), bound(machine, "job", 0)
    nr = available(machine.nodes[1], to_min=True)
    full = mapped(machine, other, f"{nr * 4}KiB")
    assert touch(machine, other, full, nr << 12) is None
    nr = available(machine.nodes[0], to_min=False)
    assert touch(machine, job, mapped(machine, job, f"{nr * 4}KiB"), nr << 12) is None
    assert [wakeup_kswapd(machine, 0), wakeup_kswapd(machine, 0)] == [0, 0]
    assert machine.counters["pgmigrate_fail"] == 1
    munmap(machine, other, full, 8 << 20)
    assert wakeup_kswapd(machine, 0) == 64


def test_migration_to_a_full_node_has_kswapd_make_room_there(machine: Machine) -> None:
    idle, job = bound(machine, "idle", 0), bound(machine, "job", 1)
    old = stored(machine, idle, "56MiB")
    new = stored(machine, job, "16MiB")
    assert migrate_pages(machine, machine.shell_of(0), job, Nodemask.of(1), Nodemask.of(0)) == 0
    assert nodes_of(machine, job, new, "16MiB") == [[4096, 0]]
    nr = demoted(machine)
    assert nodes_of(machine, idle, old, "56MiB") == [[nr, 1], [14336 - nr, 0]]
    assert machine.counters["pgmigrate_success"] == 4096 + nr


def test_pages_on_their_way_are_not_reclaimed_for_themselves() -> None:
    nodes = {
        0: {"cpus": "0", "memory": "32MiB"},
        1: {"memory": "32MiB", "adistance": 2880},
        2: {"memory": "64MiB", "adistance": 9000},
    }
    machine = boot(MachineSpec.model_validate({"nodes": nodes, "demotion": True}), "6.12")
    idle, job = bound(machine, "idle", 0), bound(machine, "job", 1)
    stored(machine, idle, "28MiB")
    new = stored(machine, job, "24MiB")
    assert migrate_pages(machine, machine.shell_of(0), job, Nodemask.of(1), Nodemask.of(0)) == 0
    assert nodes_of(machine, job, new, "24MiB") == [[6144, 0]]
    check(machine)


def test_what_is_new_stays_where_page_cache_was_before_it(machine: Machine) -> None:
    idle, job = bound(machine, "idle", 0), bound(machine, "job", 0)
    cache = mapped(machine, idle, "24MiB", "r", space=new_file(machine, "24MiB", "ext4"))
    touch(machine, idle, cache, 24 << 20, write=False)
    old = stored(machine, idle, "24MiB")
    new = stored(machine, job, "50MiB")
    assert nodes_of(machine, job, new, "50MiB") == [[12800, 0]]
    assert nodes_of(machine, idle, cache, "24MiB") == [[6144, 1]]
    assert nodes_of(machine, idle, old, "24MiB")[0][1] == 1
