import pytest

from pymigrate.mm.balance.scan import change_prot_numa
from pymigrate.mm.base.why import Stay, Why
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Region, Task
from pymigrate.nodemask import Nodemask
from pymigrate.store.codec import copy_machine
from pymigrate.syscalls.mempolicy import mbind
from pymigrate.syscalls.migrate import migrate_pages, move_pages
from pymigrate.syscalls.mmap import munmap
from pymigrate.syscalls.process import exit_task
from pymigrate.uapi import MPOL
from pymigrate.units import PAGE_SHIFT, PAGE_SIZE
from pymigrate.views.pictures import change, show
from pymigrate.views.why.reasons import LETTERS
from tests.conftest import balancing_nodes, new_task, pfn_at, touched, two_nodes

N0, N1 = Nodemask.of(0), Nodemask.of(1)


def with_heap(size: str = "64KiB") -> tuple[Machine, Task, int]:
    """A task whose heap lies on node 0."""
    machine = two_nodes()
    task = new_task(machine)
    addr = touched(machine, task, size)
    machine.regions["a", "heap"] = Region("a", "heap", addr >> PAGE_SHIFT, 16)
    return machine, task, addr


def drawn(before: Machine, after: Machine, *stays: Stay, cells: int = 8) -> list[list[str]]:
    """Name, both strips and the marks of what has changed."""
    tasks = change.rows(before, after, [*before.tasks], dict.fromkeys(before.tasks, stays), cells)
    return [
        [strip.label.name, _text(strip.before), _text(strip.after), strip.marks]
        for task in tasks
        for strip in task.strips
    ]


def _text(cells: list[int]) -> str:
    return "".join(map(change.sign, cells))


def test_what_moves_is_marked() -> None:
    machine, task, _ = with_heap()
    touched(machine, task, "16KiB", node=1)
    before = copy_machine(machine)
    migrate_pages(machine, task, task, N0, N1)

    assert drawn(before, machine) == [["heap", "0" * 8, "1" * 8, ">" * 8]]


def test_what_stays_has_the_letter_of_its_reason() -> None:
    machine, task, addr = with_heap()
    before = copy_machine(machine)
    stay = Stay(pfn_at(task, addr) + 4, 5, Why.PINNED)

    assert drawn(before, machine, stay) == [["heap", "0" * 8, "0" * 8, "  ppp   "]]
    assert drawn(before, machine) == []


def test_pages_that_lie_elsewhere_than_the_call_reached_are_not_marked() -> None:
    machine, task, addr = with_heap()
    stay = Stay(pfn_at(task, addr) + 16, 100, Why.PINNED)

    assert drawn(machine, machine, stay) == []


def test_pages_that_change_places_move() -> None:
    machine, task, addr = with_heap()
    addrs = [addr, addr + PAGE_SIZE]
    move_pages(machine, task, task, addrs, [0, 1], 2)
    before = copy_machine(machine)
    move_pages(machine, task, task, addrs, [1, 0], 2)

    assert drawn(before, machine, cells=2) == [["heap", "00", "00", "> "]]


def test_what_is_only_cut_otherwise_does_not_move() -> None:
    machine = balancing_nodes()
    task = new_task(machine)
    addr = touched(machine, task, "64KiB", node=1)
    before = copy_machine(machine)
    start = addr >> PAGE_SHIFT
    assert change_prot_numa(machine, task, task.mm.vmas[0], start, start + 3)

    assert drawn(before, machine, cells=2) == []


def test_an_unmapped_part_is_given_back_and_a_new_one_comes() -> None:
    machine, task, addr = with_heap()
    before = copy_machine(machine)
    munmap(machine, task, addr + (8 << PAGE_SHIFT), 8 << PAGE_SHIFT)

    assert drawn(before, machine) == [["heap+32KiB", "0" * 8, "." * 8, "-" * 8]]
    assert drawn(machine, before) == [["heap", "0000....", "0" * 8, "    ++++"]]


def test_a_part_with_a_policy_of_its_own_has_a_strip() -> None:
    machine, task, addr = with_heap()
    before = copy_machine(machine)
    mbind(machine, task, addr, 8 << PAGE_SHIFT, MPOL.BIND, N1, 1 << 1)

    assert drawn(before, machine) == [["heap", "0" * 8, "1" * 8, ">" * 8]]


def test_memory_of_a_task_that_is_gone_is_given_back() -> None:
    machine, task, _ = with_heap()
    before = copy_machine(machine)
    exit_task(machine, task)

    assert drawn(before, machine) == [["heap", "0" * 8, "." * 8, "-" * 8]]


def test_lines_stand_side_by_side() -> None:
    machine, task, addr = with_heap()
    before = copy_machine(machine)
    frame = pfn_at(task, addr)
    migrate_pages(machine, task, task, N0, N1)
    stays = [Stay(pfn_at(task, addr), 4, Why.HELD), Stay(frame, 2, Why.PINNED)]
    tasks = change.rows(before, machine, [task.pid], {task.pid: stays}, 8)

    assert show.plain_text(change.lines(tasks)) == (
        "1000 a         BEFORE    AFTER\n"
        "  heap  64KiB  00000000  11111111\n"
        "               h=>>>>>>\n"
        "> moves; h= stays: held by another reference\n"
    )
    assert show.plain_text(change.lines([])) == "nothing moves or stays\n"


@pytest.mark.parametrize("why", [why for why in Why if why is not Why.DRIVER])
def test_each_reason_has_a_letter_of_its_own(why: Why) -> None:
    assert list(LETTERS.values()).count(LETTERS[why]) == 1
