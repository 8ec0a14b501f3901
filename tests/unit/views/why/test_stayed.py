"""Which pages a call has left behind, and why."""

from collections.abc import Callable
from contextlib import suppress

import pytest

from pymigrate.errors import KernelError
from pymigrate.mm.base.memmap import Busy, FrameFlag, nid_of
from pymigrate.mm.base.why import Stay, Why, merged
from pymigrate.mm.frames.busy import begin
from pymigrate.mm.frames.frames import update_frames
from pymigrate.mm.state.machine import Machine, watching
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Left, Task
from pymigrate.mm.state.vma import Vm
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.gup import pin
from pymigrate.syscalls.mempolicy import mbind, set_mempolicy
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.process import fork
from pymigrate.uapi import MPOL, MPOL_MF_MOVE
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.why.stayed import as_json, format_rows, mbind_rows, rows, summary
from tests.conftest import mapped, new_file, new_task, nodes_with, pfn_at, touched

PAGE = 4096


def left_by(machine: Machine, call: Callable[[], object]) -> list[Stay]:
    """What a system call leaves, and why."""
    with watching(machine, Watch(left=[])) as watch:
        with suppress(KernelError):
            call()
        assert watch.left is not None
        return watch.left


def moved(machine: Machine, task: Task, uid: int = 0) -> list[tuple[int, str]]:
    """How many pages a migrate_pages() from node 0 to node 1 leaves, and why."""
    caller = machine.shell_of(uid)
    stays = left_by(
        machine, lambda: migrate_pages(machine, caller, task, Nodemask.of(0), Nodemask.of(1))
    )
    return [(row.nr, row.why) for row in rows(machine, task, stays)]


def test_a_call_that_leaves_nothing(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB")
    assert moved(machine, task) == []


def test_pages_are_named_by_their_memory_and_their_node(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    pin(machine, task, addr + PAGE, 2 * PAGE, True)
    stays = left_by(
        machine,
        lambda: migrate_pages(machine, machine.shell_of(0), task, Nodemask.of(0), Nodemask.of(1)),
    )
    assert rows(machine, task, stays) == [Left(task.pid, f"{addr:08x}", 0, 2, "pinned")]
    page = addr >> PAGE_SHIFT
    assert [row.nr for row in rows(machine, task, stays, pages=(page, page + 2))] == [1]


@pytest.mark.parametrize(("is_long", "why"), [(True, "pinned"), (False, "held")])
def test_held_pages(machine: Machine, task: Task, is_long: bool, why: str) -> None:
    addr = touched(machine, task, "16KiB")
    pin(machine, task, addr, PAGE, is_long)
    assert moved(machine, task) == [(1, why)]


def test_shared_pages_stay_unless_all_are_to_move(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB")
    fork(machine, task, "child")
    task.uid = 26
    assert moved(machine, task, uid=26) == [(4, "shared")]
    assert moved(machine, task) == []


def test_shared_pages_that_mbind_leaves_want_its_flag(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    fork(machine, task, "child")
    bind = (MPOL.BIND, Nodemask.of(1), MPOL_MF_MOVE)
    stays = left_by(machine, lambda: mbind(machine, task, addr, 4 * PAGE, *bind))
    assert [(row.nr, row.why) for row in mbind_rows(machine, task, addr, 4 * PAGE, stays)] == [
        (4, "kept")
    ]


def test_mapping_that_is_never_migrated(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    task.mm.vmas[0].flags |= Vm.PFNMAP
    assert moved(machine, task) == [(4, "unmovable")]
    bind = (MPOL.BIND, Nodemask.of(1), MPOL_MF_MOVE)
    stays = left_by(machine, lambda: mbind(machine, task, addr, 4 * PAGE, *bind))
    assert [row.why for row in mbind_rows(machine, task, addr, 4 * PAGE, stays)] == ["unmovable"]


def test_a_full_node_leaves_the_rest(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB")
    for zone in machine.nodes[1].zones:
        zone.watermark_min = zone.nr_free - 1
    assert moved(machine, task) == [(3, "full")]


def test_pairs_of_nodes_that_a_full_one_keeps_from_their_turn() -> None:
    machine = nodes_with("64MiB", "64MiB", "64MiB", "64MiB")
    task = new_task(machine)
    touched(machine, task, "16KiB", node=0)
    touched(machine, task, "16KiB", node=1)
    for zone in machine.nodes[2].zones:
        zone.watermark_min = zone.nr_free
    old, new = Nodemask.of(0, 1), Nodemask.of(2, 3)
    caller = machine.shell_of(0)
    stays = left_by(machine, lambda: migrate_pages(machine, caller, task, old, new))
    found = [(row.node, row.nr, row.why) for row in rows(machine, task, stays)]
    assert found == [(0, 4, "full"), (1, 4, "ended")]


@pytest.mark.parametrize(
    ("kind", "passes", "why"), [(Busy.BUFFER_REF, -1, "in-use"), (Busy.BUFFER_REF, 30, "in-use")]
)
def test_folios_that_are_worked_on(
    machine: Machine, task: Task, kind: Busy, passes: int, why: str
) -> None:
    space = new_file(machine, "4KiB")
    space.fs = "blockdev"
    addr = mapped(machine, task, "4KiB", is_shared=True, space=space, populate=True)
    begin(machine, pfn_at(task, addr), kind, passes)
    assert moved(machine, task) == [(1, why)]


@pytest.mark.parametrize(
    ("fs", "flag", "why"),
    [
        ("secretmem", 0, "secret"),
        ("nfs", FrameFlag.PRIVATE, "request"),
        ("ramfs", FrameFlag.DIRTY, "dirty"),
    ],
)
def test_what_a_file_system_keeps(
    machine: Machine, task: Task, fs: str, flag: int, why: str
) -> None:
    space = new_file(machine, "4KiB")
    addr = mapped(machine, task, "4KiB", is_shared=True, space=space, populate=True)
    space.fs = fs
    update_frames(machine, [(pfn_at(task, addr), 1)], lambda frame: frame.with_flags(flag))
    assert moved(machine, task) == [(1, why)]


def test_folio_that_is_mapped_page_by_page(machine: Machine, task: Task) -> None:
    """The pin of one page keeps all of the folio."""
    machine.thp = "always"
    addr = touched(machine, task, "2MiB")
    pin(machine, task, addr + 8192, PAGE, True)
    fork(machine, task, "child")
    assert moved(machine, task) == [(512, "pinned")]


def test_pages_that_take_turns_are_found_in_their_lanes(machine: Machine, task: Task) -> None:
    set_mempolicy(machine, task, MPOL.INTERLEAVE, Nodemask.of(0, 1))
    addr = mapped(machine, task, "64KiB", populate=True)
    on_0 = next(i for i in (0, 1) if nid_of(pfn_at(task, addr + i * PAGE)) == 0)
    pin(machine, task, addr + (on_0 + 4) * PAGE, PAGE, True)
    assert moved(machine, task) == [(1, "pinned")]


def test_frames_are_told_once_and_together() -> None:
    stays = [Stay(8, 4, Why.HELD), Stay(2, 2, Why.FULL), Stay(4, 4, Why.FULL), Stay(9, 5, Why.FULL)]
    assert merged(stays) == [Stay(2, 6, Why.FULL), Stay(8, 4, Why.HELD), Stay(12, 2, Why.FULL)]


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
