"""Who is killed when memory runs out."""

import pytest

from pymigrate.mm.spaces.exit import out_of_memory, resident_pages
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.mempolicy import set_mempolicy
from pymigrate.syscalls.process import touch
from tests.conftest import mapped, new_task, nodes_of, touched, two_nodes
from tests.property.invariants import check
from tests.unit.mm.conftest import with_task


def test_the_task_with_the_most_pages_is_killed_and_its_memory_freed() -> None:
    machine = two_nodes()
    new_task(machine, "small")
    large, middle = new_task(machine, "large"), new_task(machine, "middle")
    touched(machine, large, "1MiB")
    touched(machine, middle, "512KiB")
    assert out_of_memory(machine) is large
    assert [task.name for task in machine.tasks.values()] == ["small", "middle"]
    assert machine.counters["oom_kill"] == 1
    assert machine.nodes[0].nr_free == 16384 - 128


def test_the_zero_page_is_nobodys_memory() -> None:
    machine, task = with_task(two_nodes())
    touch(machine, task, mapped(machine, task, "1MiB"), 1 << 20, write=False)
    assert resident_pages(task) == 0


def test_a_task_that_fills_the_machine_is_killed() -> None:
    machine, task = with_task(two_nodes("2MiB"))
    addr = mapped(machine, task, "16MiB")
    assert touch(machine, task, addr, 16 << 20) == "SIGKILL"
    assert machine.tasks == {}
    assert [node.nr_free for node in machine.nodes.values()] == [512, 512]


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_task_goes_on_when_a_larger_one_was_killed(is_shared: bool) -> None:
    machine = two_nodes("2MiB")
    large, small = new_task(machine, "large"), new_task(machine, "small")
    touched(machine, large, "3MiB")
    addr = mapped(machine, small, "2MiB", is_shared=is_shared)
    assert touch(machine, small, addr, 2 << 20) is None
    assert list(machine.tasks.values()) == [small]
    assert sum(nr for nr, node in nodes_of(machine, small, addr, "2MiB") if node >= 0) == 512
    check(machine)


def test_bind_kills_rather_than_fall_back() -> None:
    machine, task = with_task(two_nodes("2MiB"))
    set_mempolicy(machine, task, 2, Nodemask.of(1))
    assert touch(machine, task, mapped(machine, task, "4MiB"), 4 << 20) == "SIGKILL"
    assert machine.counters["oom_kill"] == 1


def test_shared_memory_that_fills_the_machine_kills_too() -> None:
    machine, task = with_task(two_nodes("2MiB"))
    addr = mapped(machine, task, "16MiB", is_shared=True)
    assert touch(machine, task, addr, 16 << 20) == "SIGKILL"
    check(machine)
