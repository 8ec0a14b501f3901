"""The node of each page."""

import pytest

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.mempolicy import set_mempolicy
from pymigrate.syscalls.mmap import mprotect
from pymigrate.syscalls.process import touch
from pymigrate.views.pages.placement import Turns
from tests.conftest import PAGE, mapped, new_task, nodes_of, touched, two_nodes


def test_pages_that_follow_each_other_on_a_node_are_a_run(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB", node=1)
    assert nodes_of(machine, task, addr - PAGE, "24KiB") == [[1, -1], [4, 1], [1, -1]]


def test_interleaved_pages_are_runs_of_one(machine: Machine, task: Task) -> None:
    set_mempolicy(machine, task, 3, Nodemask.of(0, 1))
    addr = mapped(machine, task, "16KiB")
    touch(machine, task, addr, 4 * PAGE)
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 0], [1, 1], [1, 0], [1, 1]]


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        pytest.param(Turns(5, 9, 0, 0, (0,)), {0: 4}, id="one node"),
        pytest.param(Turns(1, 8, 0, 0, (0, 1, 2)), {0: 2, 1: 3, 2: 2}, id="turns"),
        pytest.param(Turns(3, 4, 0, 0, (0, 1, 2)), {0: 1, 1: 0, 2: 0}, id="one page"),
        pytest.param(Turns(3, 13, 2, 2, (0, 1)), {0: 6, 1: 4}, id="parts of entries"),
        pytest.param(Turns(3, 5, 2, 2, (0, 1)), {0: 2, 1: 0}, id="inside an entry"),
        pytest.param(Turns(0, 3, 0, 0, (1, 1, 0)), {1: 2, 0: 1}, id="a table"),
    ],
)
def test_pages_that_take_turns_are_counted(turns: Turns, expected: dict[int, int]) -> None:
    assert turns.by_node() == expected
    each = [node for start, end, node in turns.each() for _ in range(start, end)]
    assert {node: each.count(node) for node in turns.nodes} == expected


def test_the_zero_page_is_as_absent(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    touch(machine, task, addr, PAGE, write=False)
    touch(machine, task, addr + PAGE, PAGE)
    assert nodes_of(machine, task, addr, "16KiB") == [[1, -1], [1, 0], [2, -1]]


def test_6_1_hides_prot_none_memory_between_others() -> None:
    machine = two_nodes(kernel="6.1")
    task = new_task(machine)
    addr = touched(machine, task, "24KiB")
    mprotect(machine, task, addr + PAGE, PAGE, "none")
    mprotect(machine, task, addr + 4 * PAGE, PAGE, "none")
    assert nodes_of(machine, task, addr, "24KiB") == [[1, 0], [1, -1], [2, 0], [1, -1], [1, 0]]
