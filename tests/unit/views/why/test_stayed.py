"""Which pages a call has left behind, and why."""

import pytest

from pymigrate.mm.base.memmap import Busy
from pymigrate.mm.frames.busy import begin
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Left, Task
from pymigrate.mm.state.vma import Vm
from pymigrate.syscalls.gup import pin
from pymigrate.syscalls.process import fork
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.why.stayed import Search, as_json, format_rows, rows, summary
from tests.conftest import mapped, new_file, touched

ON_0 = Search(lambda nid: nid == 0)


def test_pages_elsewhere_are_not_counted(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB", node=1)
    assert rows(machine, task, ON_0) == []


def test_pages_that_nothing_keeps(machine: Machine, task: Task) -> None:
    name = f"{touched(machine, task, '16KiB'):08x}"
    assert rows(machine, task, ON_0) == [Left(task.pid, name, 0, 4, "ended")]
    assert rows(machine, task, ON_0._replace(is_full=True)) == [Left(task.pid, name, 0, 4, "full")]
    assert rows(machine, task, ON_0._replace(filled=frozenset({0}))) == []


@pytest.mark.parametrize(("is_long", "why"), [(True, "pinned"), (False, "held")])
def test_held_pages(machine: Machine, task: Task, is_long: bool, why: str) -> None:
    addr = touched(machine, task, "16KiB")
    pin(machine, task, addr, 4096, is_long)
    assert [(row.nr, row.why) for row in rows(machine, task, ON_0)] == [(1, why), (3, "ended")]


def test_shared_pages_stay_unless_all_are_to_move(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB")
    fork(machine, task, "child")
    assert [row.why for row in rows(machine, task, ON_0._replace(move_all=False))] == ["shared"]
    kept = ON_0._replace(move_all=False, shared="kept")
    assert [row.why for row in rows(machine, task, kept)] == ["kept"]
    assert [row.why for row in rows(machine, task, ON_0)] == ["ended"]


def test_mapping_that_is_never_migrated(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB")
    task.mm.vmas[0].flags |= Vm.PFNMAP
    assert [row.why for row in rows(machine, task, ON_0)] == ["unmovable"]


def test_only_the_range_is_searched(machine: Machine, task: Task) -> None:
    page = touched(machine, task, "16KiB") >> PAGE_SHIFT
    assert [row.nr for row in rows(machine, task, ON_0._replace(a=page, b=page + 3))] == [3]


@pytest.mark.parametrize(
    ("kind", "passes", "why"),
    [
        (Busy.LOCKED, -1, "worked-on"),
        (Busy.WRITEBACK, -1, "worked-on"),
        (Busy.BUFFER_REF, -1, "in-use"),
        (Busy.LOCKED, 3, "ended"),
    ],
)
def test_folios_that_are_worked_on(
    machine: Machine, task: Task, kind: Busy, passes: int, why: str
) -> None:
    space = new_file(machine, "4KiB")
    addr = mapped(machine, task, "4KiB", is_shared=True, space=space, populate=True)
    run = task.mm.page_table.at(addr >> PAGE_SHIFT)
    assert run is not None
    begin(machine, run.lanes[0], kind, passes)
    assert [row.why for row in rows(machine, task, ON_0)] == [why]


def test_secret_memory(machine: Machine, task: Task) -> None:
    space = new_file(machine, "4KiB")
    mapped(machine, task, "4KiB", is_shared=True, space=space, populate=True)
    space.fs = "secretmem"
    assert [row.why for row in rows(machine, task, ON_0)] == ["secret"]


def test_folio_that_is_mapped_page_by_page(machine: Machine, task: Task) -> None:
    """The pin of one page keeps all of the folio."""
    machine.thp = "always"
    addr = touched(machine, task, "2MiB")
    pin(machine, task, addr + 8192, 4096, True)
    fork(machine, task, "child")
    assert [(row.nr, row.why) for row in rows(machine, task, ON_0)] == [(512, "pinned")]


LEFT = [Left(7, "heap", 0, 1, "pinned"), Left(7, "lib", 1, 2, "pinned"), Left(7, "b", 0, 3, "kept")]


def test_summary() -> None:
    assert summary(LEFT) == ("6 pages of process 7 stayed: 3 pinned, 3 mapped more than once")
    assert summary([LEFT[0]]) == "1 page of process 7 stayed: 1 pinned"
    assert summary([LEFT[0], LEFT[1]._replace(pid=8)]).startswith("3 pages of 2 processes stayed:")


def test_text() -> None:
    assert format_rows(LEFT, "would stay") == [
        "3 pages of process 7 would stay: pinned: 1 of heap on node 0, 2 of lib on node 1",
        "3 pages of process 7 would stay: mapped more than once (--move-all would move them; it"
        " needs CAP_SYS_NICE): 3 of b on node 0",
    ]
    assert as_json(LEFT[:1]) == [{"pid": 7, "mapping": "heap", "node": 0, "nr": 1, "why": "pinned"}]
