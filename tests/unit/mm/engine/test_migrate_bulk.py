"""Every entry follows the folios that moved, and no other does."""

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.migrate import move_pages
from pymigrate.syscalls.process import fork, touch
from tests.conftest import PAGE, kernel_page, pfn_at
from tests.unit.mm.conftest import huge

MOVE_ALL = 4


def test_a_copy_right_behind_a_huge_page_stays_when_that_moves(
    machine: Machine, task: Task
) -> None:
    kernel_page(machine, 513)  # so that the huge page is the first one, and 512 the next page
    addr = huge(machine, task)
    child = fork(machine, task, "child")
    touch(machine, child, addr + 4 * PAGE, PAGE)
    assert (pfn_at(task, addr), pfn_at(child, addr + 4 * PAGE)) == (0, 512)
    assert move_pages(machine, task, task, [addr], [1], MOVE_ALL).status == [1]
    assert pfn_at(child, addr + 4 * PAGE) == 512
    assert pfn_at(child, addr + 5 * PAGE) == pfn_at(task, addr) + 5
