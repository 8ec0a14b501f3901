"""Accesses in the middle of a migration."""

import pytest

from pymigrate.mm.faults.memory import finish
from pymigrate.mm.state.events import Step
from pymigrate.mm.state.machine import Machine, telling
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Meanwhile, Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.process import fork, touch
from tests.conftest import (
    PAGE,
    flags_at,
    hold,
    mapped,
    new_file,
    new_task,
    nodes_of,
    touched,
)
from tests.property.invariants import check


def moving(machine: Machine, task: Task, page: int, pid: int) -> Meanwhile:
    """Move *task*'s pages to node 1 while process *pid* stores into *page*."""
    other = Meanwhile(pid, page, True, finish)
    with telling(machine, machine.scope._replace(meanwhile=other)):
        migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1))
    check(machine)
    return other


@pytest.mark.parametrize("is_child", [False, True], ids=["its own task", "another one"])
def test_an_access_to_what_is_unmapped_waits_until_it_has_moved(
    machine: Machine, task: Task, is_child: bool
) -> None:
    addr = touched(machine, task, "16KiB")
    who = fork(machine, task, "b") if is_child else task
    machine.watch = Watch([], steps=True)
    other = moving(machine, task, addr // PAGE + 1, who.pid)
    assert (other.waited, other.is_made, other.signal) == (True, True, None)
    told = [event.found for event in machine.watch.events or [] if isinstance(event, Step)]
    assert [found for found in told if "process" in found] == [
        f"process {who.pid} waits, asleep on the folio's lock",
        f"process {who.pid} is woken, and faults again",
    ]
    node = 0 if is_child else 1  # the child's copy is on its own node
    assert nodes_of(machine, who, addr + PAGE, "4KiB") == [[1, node]]


def test_who_looks_it_up_in_the_index_spins_then_sleeps_then_is_woken(
    machine: Machine, task: Task
) -> None:
    space = new_file(machine, "4KiB", "tmpfs")
    addr = mapped(machine, task, "4KiB", space=space, is_shared=True)
    touch(machine, task, addr, PAGE)
    other_task = new_task(machine, "b")
    there = mapped(machine, other_task, "4KiB", space=space, is_shared=True)
    task.caps = None
    machine.watch = Watch([], steps=True)
    other = moving(machine, task, there // PAGE, other_task.pid)
    assert (other.waited, other.looks_up, other.is_made) == (True, True, True)
    told = [event for event in machine.watch.events or [] if isinstance(event, Step)]
    assert [(step.number, step.found) for step in told if "process" in step.found] == [
        ("7", f"process {other_task.pid} spins, because the count is frozen"),
        ("11", f"process {other_task.pid} finds the new folio, and sleeps on its lock"),
        ("17", f"process {other_task.pid} is woken, and faults again"),
    ]
    assert nodes_of(machine, other_task, there, "4KiB") == [[1, 1]]


def test_an_access_to_something_else_does_not_wait(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB")
    there = touched(machine, task, "4KiB", node=1)
    assert not moving(machine, task, there // PAGE, task.pid).waited
    assert not moving(machine, task, 1, task.pid).waited
    assert not moving(machine, task, there // PAGE, 999).waited


def test_it_waits_once_where_a_page_is_tried_again(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    hold(machine, task, addr, pins=0)
    other = moving(machine, task, addr // PAGE, task.pid)
    assert (other.waited, other.is_made) == (True, True)
    assert nodes_of(machine, task, addr, "8KiB") == [[1, 0], [1, 1]]


def test_what_has_not_waited_is_made_afterwards(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    made = Meanwhile(task.pid, 1, True, finish)
    finish(machine, made)
    assert (made.is_made, made.signal) == (True, "SIGSEGV")
    finish(machine, Meanwhile(999, addr // PAGE, True, finish))
    finish(machine, Meanwhile(task.pid, addr // PAGE, True, finish, is_made=True))
    assert flags_at(task, addr)
