"""Stores into write-protected pages: which are used again, and which are copied."""

from pymigrate.mm.frames.lru_batches import waiting_pfns
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Cpumask
from pymigrate.syscalls.process import fork, sched_setaffinity, touch
from tests.conftest import PAGE, touched


def test_a_copy_of_a_page_that_waits_drains_this_cpus_batch(machine: Machine, task: Task) -> None:
    """So that the last user of the page need not copy it on another CPU."""
    addr = touched(machine, task, "4KiB")
    child = fork(machine, task, "b")
    touch(machine, child, addr, PAGE)
    copied = child.mm.page_table.runs[0].lanes
    assert waiting_pfns(machine) == {*copied}  # which was put there when the other was gone
    sched_setaffinity(machine, task, Cpumask.of(1))
    free = machine.nodes[0].nr_free
    touch(machine, task, addr, PAGE)
    assert machine.nodes[0].nr_free == free
