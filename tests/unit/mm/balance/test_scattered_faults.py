"""Many scattered hint faults at once come to the same as one after the other."""

import pytest

from pymigrate.mm.balance.scan import task_numa_work
from pymigrate.mm.base.advice import Madv
from pymigrate.mm.faults import memory
from pymigrate.mm.state.cost import Tally
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.mempolicy import set_mempolicy
from pymigrate.syscalls.migrate import move_pages
from pymigrate.syscalls.mmap import mprotect
from pymigrate.syscalls.process import fork, touch
from pymigrate.uapi import MPOL
from tests.conftest import (
    HUGE,
    PAGE,
    hold,
    mapped,
    new_task,
    nodes_of,
    nodes_with,
    placed_on,
    touched,
)
from tests.property.invariants import check

NAMES = """numa_pte_updates numa_hint_faults numa_hint_faults_local numa_pages_migrated
    pgmigrate_success pgmigrate_fail pgfault""".split()


Case = tuple[Machine, Task, int]


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every fault be taken by itself."""
    monkeypatch.setattr(memory, "hint_faults", lambda *_: None)


def interleaved(size: str = "2MiB") -> Case:
    """A task on node 0 with 512 pages on nodes 1 and 2 by turns, and a budget for its time."""
    machine = nodes_with("64MiB", "64MiB", "64MiB")
    machine.numa_balancing, machine.watch = 1, Watch(tally=Tally())
    task = new_task(machine)
    set_mempolicy(machine, task, MPOL.INTERLEAVE, Nodemask.of(1, 2))
    addr = mapped(machine, task, size)
    touch(machine, task, addr, 512 * PAGE)
    set_mempolicy(machine, task, MPOL.DEFAULT, Nodemask())
    machine.counters.clear()
    return machine, task, addr


def scattered(nr: int = 512) -> Case:
    """A task on node 0 with pages on three nodes, in no order; one is held, one is read-only."""
    machine = nodes_with("64MiB", "64MiB", "64MiB")
    machine.numa_balancing = 1
    task = new_task(machine)
    addr = touched(machine, task, f"{nr * 4}KiB")
    pages = [addr + i * PAGE for i in range(nr)]
    move_pages(machine, task, task, pages, [(i * i // 3 + i) % 3 for i in range(nr)], 2)
    hold(machine, task, pages[5], pins=0)
    mprotect(machine, task, pages[7], PAGE, "r")
    machine.counters.clear()
    return machine, task, addr


def outcome(machine: Machine, task: Task, addr: int, rounds: int = 3) -> list[object]:
    """What rounds of scans and accesses have led to."""
    for machine.now in range(5000, 5000 * (rounds + 1), 5000):
        task_numa_work(machine, task)
        touch(machine, task, addr, 512 * PAGE, write=False)
    machine.watch = machine.watch._replace(events=None)
    check(machine)
    counters = {name: machine.counters[name] for name in NAMES}
    budget = machine.watch.tally and machine.watch.tally.hint_faults
    return [counters, budget, nodes_of(machine, task, addr, "2MiB"), task.numa, task.numa_faults]


def test_faults_of_pages_that_take_turns_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = outcome(*interleaved())
    one_by_one(monkeypatch)
    assert outcome(*interleaved()) == at_once
    assert at_once[2] == [[512, 0]]


def test_counters_places_and_what_was_learned_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = outcome(*scattered())
    one_by_one(monkeypatch)
    assert outcome(*scattered()) == at_once
    assert at_once[2] == [[5, 0], [1, 1], [506, 0]]


def test_who_watches_sees_the_faults_in_their_order() -> None:
    machine, task, addr = scattered()
    machine.watch, machine.now = Watch(events := []), 5000
    task_numa_work(machine, task)
    touch(machine, task, addr, 512 * PAGE, write=False)
    pages = [event.page for event in events if event.name == "remove_migration_pte"]
    assert pages == sorted(pages)
    assert len(pages) == machine.counters["numa_hint_faults"] == 227


def test_pages_of_several_processes_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def shared() -> Case:
        machine, task, addr = scattered()
        task_numa_work(machine, task)
        fork(machine, task, "b")
        touch(machine, task, addr, 64 * PAGE)
        return machine, task, addr

    at_once = outcome(*shared())
    one_by_one(monkeypatch)
    assert outcome(*shared()) == at_once


def test_large_folios_that_are_mapped_by_pages_take_a_fault_each() -> None:
    machine, task, addr = interleaved("6MiB")
    machine.thp = "always"
    with placed_on(task, 1):
        touch(machine, task, addr + HUGE, 2 * HUGE)
    for start in (addr + HUGE, addr + 2 * HUGE):
        madvise(machine, task, start, PAGE, Madv.DONTNEED)  # whose huge entry is split
    machine.now = 5000
    task_numa_work(machine, task)
    touch(machine, task, addr, 3 * HUGE, write=False)
    check(machine)
    assert machine.counters["numa_hint_faults"] == 512 + 2
    gone, came = [1, -1], [511, 0]
    assert nodes_of(machine, task, addr, "6MiB") == [[512, 0], gone, came, gone, came]


@pytest.mark.parametrize("free", [50, 2000])
def test_node_without_room_takes_what_it_can(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    def crowded() -> Case:
        machine, task, addr = scattered()
        for zone in machine.nodes[0].zones:
            zone.watermark_high = zone.nr_free
        zone = machine.nodes[0].zones[-1]
        zone.watermark_high = zone.nr_free - free - zone.reserve
        return machine, task, addr

    at_once = outcome(*crowded(), rounds=1)
    one_by_one(monkeypatch)
    assert outcome(*crowded(), rounds=1) == at_once
