"""The node of each page."""

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.mempolicy import set_mempolicy
from pymigrate.syscalls.mmap import mprotect
from pymigrate.syscalls.process import touch
from tests.conftest import PAGE, mapped, new_task, nodes_of, touched, two_nodes


def test_pages_that_follow_each_other_on_a_node_are_a_run(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB", node=1)
    assert nodes_of(machine, task, addr - PAGE, "24KiB") == [[1, -1], [4, 1], [1, -1]]


def test_interleaved_pages_are_runs_of_one(machine: Machine, task: Task) -> None:
    set_mempolicy(machine, task, 3, Nodemask.of(0, 1))
    addr = mapped(machine, task, "16KiB")
    touch(machine, task, addr, 4 * PAGE)
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 0], [1, 1], [1, 0], [1, 1]]


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
