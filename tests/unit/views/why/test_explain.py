"""What would keep a task's pages from moving."""

import pytest

from pymigrate.errors import KernelError
from pymigrate.mm.base.advice import Madv
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.gup import pin
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.process import fork, touch
from pymigrate.views.why.explain import Question, format_rows, refusals, rows
from tests.conftest import MIB, mapped, new_file, new_task, nodes_with, touched


def verdicts(machine: Machine, task: Task, to: int | None = None) -> list[tuple[int, str]]:
    """The pages and the reason of each run, for root."""
    question = Question(machine.shell_of(0), to)
    return [(row.nr, row.why) for row in rows(machine, task, question)]


def test_runs_are_as_long_as_the_reason_lasts(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "32KiB")
    pin(machine, task, addr + 8192, 4096, True)
    assert verdicts(machine, task) == [(2, ""), (1, "pinned"), (5, "")]


def test_bad_pages_are_not_just_absent(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    madvise(machine, task, addr + 4096, 8192, Madv.HWPOISON)
    assert verdicts(machine, task) == [(1, ""), (2, "bad"), (1, "")]


def test_mappings_are_told_apart(machine: Machine, task: Task) -> None:
    touched(machine, task, "2MiB")
    touched(machine, task, "8KiB")
    assert [nr for nr, _ in verdicts(machine, task)] == [512, 2]


def test_huge_page_with_a_pin_in_it(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    addr = touched(machine, task, "4MiB")
    pin(machine, task, addr + 4096, 4096, True)
    first, second = rows(machine, task, Question(machine.shell_of(0), 1))
    assert (first.nr, first.why) == (512, "pinned")
    assert first.detail.startswith(
        "refcount 3, expected 2 (1 mapping + 1 isolation): 1 pin of 1 too many; found in step 4"
    )
    assert (second.nr, second.why) == (512, "")


def test_large_folio_mapped_by_pages_has_room(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    touched(machine, task, "2MiB")
    fork(machine, task, "child")
    assert verdicts(machine, task, 1) == [(512, "")]


def test_the_target_fills_up_as_it_would() -> None:
    machine = nodes_with("64MiB", "16MiB")
    task = new_task(machine)
    touched(machine, task, "20MiB")
    (fitting, none), (rest, full) = verdicts(machine, task, 1)
    assert (none, full, fitting + rest) == ("", "full", 5120)
    with pytest.raises(Exception, match="Cannot allocate memory"):
        migrate_pages(machine, machine.shell_of(0), task, Nodemask.of(0), Nodemask.of(1))
    assert machine.counters["pgmigrate_success"] == fitting


def test_clean_page_cache_of_the_target_gives_way() -> None:
    machine = nodes_with("64MiB", "16MiB")
    task, other = new_task(machine), new_task(machine, "b", cpu=1)
    cache = mapped(machine, other, "4MiB", "r", space=new_file(machine, "4MiB", "ext4"))
    touch(machine, other, cache, 4 * MIB, write=False)
    touched(machine, task, "20MiB")
    found = rows(machine, task, Question(machine.shell_of(0), 1))
    assert [(row.nr, row.why, row.note) for row in found] == [
        (3015, "", ""),
        (1024, "", "clean page cache on node 1 gives way to them"),
        (1081, "full", ""),
    ]
    with pytest.raises(KernelError, match="ENOMEM"):
        migrate_pages(machine, machine.shell_of(0), task, Nodemask.of(0), Nodemask.of(1))
    assert machine.counters["pgmigrate_success"] == 3015 + 1024


def test_lazily_freed_memory_of_the_target_gives_way() -> None:
    machine = nodes_with("64MiB", "16MiB")
    task, other = new_task(machine), new_task(machine, "b", cpu=1)
    freed = touched(machine, other, "4MiB", node=1)
    madvise(machine, other, freed, 4 * MIB, Madv.FREE)
    touch(machine, other, freed + 3 * MIB, MIB)
    touched(machine, task, "20MiB")
    found = rows(machine, task, Question(machine.shell_of(0), 1))
    assert [(row.nr, row.why, row.note) for row in found] == [
        (3015, "", ""),
        (768, "", "lazily freed memory on node 1 gives way to them"),
        (1337, "full", ""),
    ]
    with pytest.raises(KernelError, match="ENOMEM"):
        migrate_pages(machine, machine.shell_of(0), task, Nodemask.of(0), Nodemask.of(1))
    assert machine.counters["pgmigrate_success"] == 3015 + 768


def test_page_cache_that_moves_gives_way_to_what_comes_behind_it() -> None:
    machine = nodes_with("64MiB", "16MiB")
    task = new_task(machine)
    cache = mapped(machine, task, "40MiB", "r", space=new_file(machine, "40MiB", "ext4"))
    touch(machine, task, cache, 40 * MIB, write=False)
    found = rows(machine, task, Question(machine.shell_of(0), 1))
    assert [(row.nr, row.why) for row in found] == [(4039, ""), (10240 - 4039, "")]
    migrate_pages(machine, machine.shell_of(0), task, Nodemask.of(0), Nodemask.of(1))
    assert machine.counters["pgmigrate_success"] == 10240


def test_nowhere_to_go_on_a_machine_with_one_node() -> None:
    machine = nodes_with("64MiB")
    task = new_task(machine)
    touched(machine, task, "8KiB")
    assert verdicts(machine, task) == [(2, "full")]


def test_many_processes_are_counted(machine: Machine, task: Task) -> None:
    touched(machine, task, "4KiB")
    for i in range(7):
        fork(machine, task, f"child{i}")
    user = machine.shell_of(0)
    user.uid = 5
    [row] = rows(machine, task, Question(user))
    assert row.detail == "each by 8 entries, of processes 1000, 1001, 1002, 1003, 1004 and 3 more"


def test_node_without_memory() -> None:
    machine = nodes_with("64MiB", "0")
    task = new_task(machine)
    touched(machine, task, "8KiB")
    for to, why in ((1, "node 1 has no memory"), (2, "node 2 does not exist")):
        with pytest.raises(KernelError, match="No such device") as refused:
            refusals(machine, task, Question(machine.shell_of(0), to))
        assert (refused.value.name, refused.value.why) == ("ENODEV", why)


def test_what_permission_keeps_would_move_otherwise(machine: Machine, task: Task) -> None:
    touched(machine, task, "8KiB")
    question = Question(machine.shell_of(7))
    [refused] = refusals(machine, task, question)
    first, second, *_ = format_rows(task, [refused], rows(machine, task, question)).splitlines()
    assert first == f"all pages of process {task.pid} stay: {refused.why}"
    assert second.endswith("would move otherwise")
