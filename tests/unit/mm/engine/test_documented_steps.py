"""The 18 steps of a folio's migration that the kernel's page_migration.rst lists."""

import pytest

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.memmap import Busy, FrameFlag
from pymigrate.mm.base.why import Why
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.engine.migrate_ops import obstacle
from pymigrate.mm.engine.queue_folios import Queue, Walk
from pymigrate.mm.frames.busy import begin
from pymigrate.mm.frames.frames import folio_of
from pymigrate.mm.frames.placement import ThisNode
from pymigrate.mm.state.events import MigrateMode, MigrateReason, Step
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.syscalls import migrate
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.mmap import mlock
from pymigrate.syscalls.process import fork, touch
from tests.conftest import (
    PAGE,
    hold,
    mapped,
    new_file,
    new_task,
    nodes_of,
    pfn_at,
    touched,
    two_nodes,
)
from tests.unit.mm.conftest import frame_at

ASYNC, SYNC = MigrateMode.ASYNC, MigrateMode.SYNC


ALL_STEPS = "0a 0b 1 2 3 4 4b 6 12 5 7 8 9 10 11 13 14 15 18 16 17"
NO_INDEX = "skipped: anonymous, in no index"


def page_of(machine: Machine, task: Task, fs: str = "", write: bool = True) -> int:
    """One page, anonymous or of a file; give its address."""
    if not fs:
        return touched(machine, task, "4KiB")
    addr = mapped(machine, task, "4KiB", space=new_file(machine, "4KiB", fs), is_shared=True)
    touch(machine, task, addr, PAGE, write=write)
    return addr


def steps(machine: Machine, task: Task, mode: MigrateMode = SYNC) -> list[Step]:
    """The steps of a migration from node 0 to node 1."""
    machine.watch = Watch([], steps=True)
    queue = Queue(machine, Walk(lambda nid: nid == 0, move_all=True))
    for vma in task.mm.vmas:
        queue.add_vma(task.mm, vma, vma.start, vma.end)
    where = ThisNode(1)
    migrate_pages(machine, task, queue.slices, where, MigrateReason.COMPACTION, mode=mode)
    return [event for event in machine.watch.events if isinstance(event, Step)]


def found(machine: Machine, task: Task, number: str, mode: MigrateMode = SYNC) -> list[str]:
    """What the steps of a *number* found, and what came of it."""
    told = [step for step in steps(machine, task, mode) if step.number == number]
    return [f"{step.found} {step.failed}".strip() for step in told]


@pytest.mark.parametrize(
    ("fs", "numbers"),
    [
        pytest.param("", ALL_STEPS, id="anonymous: no index"),
        pytest.param("tmpfs", ALL_STEPS, id="a file's: all"),
    ],
)
def test_a_page_goes_through_the_steps_in_the_order_of_6_12(
    machine: Machine, task: Task, fs: str, numbers: str
) -> None:
    page_of(machine, task, fs)
    told = steps(machine, task)
    assert [step.number for step in told] == numbers.split()
    skipped = [step.number for step in told if step.found == NO_INDEX]
    assert skipped == ([] if fs else ["5", "7", "9", "10", "11"])


def test_step_0a_takes_the_folio_off_the_lru_once(machine: Machine, task: Task) -> None:
    addr = page_of(machine, task)
    task_pages = [addr, addr]
    result = migrate.move_pages(machine, task, task, task_pages, [1, 1], 2)
    assert result.status == [1, -16]  # the second time it is isolated already
    assert found(machine, task, "0a") == []


def test_step_0b_ends_the_call_where_there_is_no_memory(machine: Machine, task: Task) -> None:
    page_of(machine, task)
    [zone] = machine.nodes[1].zones
    zone.watermark_min = zone.watermark_low = 1 << 20
    assert found(machine, task, "0b") == ["no memory ENOMEM"]


def test_step_1_locks_the_old_folio(machine: Machine, task: Task) -> None:
    begin(machine, pfn_at(task, page_of(machine, task)), Busy.LOCKED, 4)
    assert found(machine, task, "1") == ["locked EAGAIN"] * 3 + ["free"]


def test_step_2_wants_writeback_done(machine: Machine, task: Task) -> None:
    begin(machine, pfn_at(task, page_of(machine, task, "ext4")), Busy.WRITEBACK, 9)
    assert found(machine, task, "2", ASYNC) == ["under writeback EBUSY"]
    assert found(machine, task, "2") == ["under writeback EBUSY", "none"]


@pytest.mark.parametrize(
    ("number", "fs", "write", "expected"),
    [
        pytest.param("0b", "", True, ["node 1"], id="0b: chooses the destination"),
        pytest.param("3", "", True, ["free"], id="3: locks the new folio, which is never busy"),
        pytest.param("5", "xfs", False, ["locked"], id="5: locks the index of what has one"),
        pytest.param("7", "tmpfs", True, ["frozen at 2"], id="7: nobody looks it up any more"),
        pytest.param("8", "", True, ["index, mapping"], id="8: prepares the new folio"),
        pytest.param(
            "10",
            "tmpfs",
            True,
            ["1 from the old folio to the new one"],
            id="10: moves the references",
        ),
        pytest.param("11", "tmpfs", True, ["unlocked"], id="11: unlocks the index"),
        pytest.param("14", "", True, ["cleared"], id="14: clears the old flags"),
        pytest.param("15", "", True, ["none"], id="15: starts queued writeback"),
        pytest.param("17", "", True, ["unlocked"], id="17: unlocks both"),
    ],
)
def test_what_a_step_finds(
    machine: Machine, task: Task, number: str, fs: str, write: bool, expected: list[str]
) -> None:
    page_of(machine, task, fs, write)
    assert found(machine, task, number) == expected


def test_step_4_sets_migration_entries_but_of_pinned_pages(machine: Machine, task: Task) -> None:
    hold(machine, task, page_of(machine, task))
    told = [step for step in steps(machine, task) if step.number == "4"]
    assert {f"{step.found} {step.failed}" for step in told} == {"pinned and exclusive EAGAIN"}
    assert [step.attempt for step in told] == list(range(1, 11))


def test_step_4b_flushes_the_tlb_once_for_a_batch(machine: Machine, task: Task) -> None:
    touched(machine, task, "32KiB")
    assert found(machine, task, "4b") == ["once for 8 folios"]


def test_step_6_counts_the_references(machine: Machine, task: Task) -> None:
    hold(machine, task, page_of(machine, task, "tmpfs"), pins=0)
    # Two stages: three attempts to move it, then seven.
    assert found(machine, task, "6") == ["refcount 3, expected 2 EAGAIN"] * 10


def test_step_7_fails_while_a_lookup_has_a_reference(machine: Machine, task: Task) -> None:
    begin(machine, pfn_at(task, page_of(machine, task, "tmpfs")), Busy.LOOKUP, 4)
    again = "refcount 3, expected 2: a lookup holds one EAGAIN"
    assert found(machine, task, "7") == [again] * 4 + ["frozen at 2"]
    told = [step for step in machine.watch.events or [] if isinstance(step, Step)]
    assert [step.mode for step in told if step.number == "7"] == [ASYNC] * 3 + [SYNC] * 2
    assert not machine.busy


def test_step_7_keeps_who_is_looked_up_for_ever(machine: Machine, task: Task) -> None:
    begin(machine, pfn_at(task, page_of(machine, task, "tmpfs")), Busy.LOOKUP)
    assert len(found(machine, task, "7")) == 10
    assert obstacle(machine, folio_of(machine, next(iter(machine.busy)))) == Why.HELD


def test_nobody_looks_an_anonymous_page_up(machine: Machine, task: Task) -> None:
    addr = page_of(machine, task)
    begin(machine, pfn_at(task, addr), Busy.LOOKUP)
    assert found(machine, task, "7") == [NO_INDEX]
    assert nodes_of(machine, task, addr, "4KiB") == [[1, 1]]


def test_step_9_lets_the_index_name_the_new_folio(machine: Machine, task: Task) -> None:
    addr = page_of(machine, task, "tmpfs")
    assert found(machine, task, "9") == ["1 slot of it for the new folio"]
    assert [run.lanes[0] >> 32 for s in machine.spaces.values() for run in s.pages.runs] == [1]
    assert nodes_of(machine, task, addr, "4KiB") == [[1, 1]]


def test_step_12_copies_or_the_method_refuses(machine: Machine, task: Task) -> None:
    page_of(machine, task, "ramfs")
    refused = "fallback_migrate_folio"
    assert found(machine, task, "12") == [f"{refused} EBUSY", f"{refused} EINVAL"]


def test_step_13_copies_the_flags(machine: Machine, task: Task) -> None:
    addr = page_of(machine, task, "tmpfs")
    mlock(machine, task, addr, PAGE)
    assert found(machine, task, "13") == ["dirty, mlocked, swapbacked"]
    flags = frame_at(machine, task, addr).flags
    assert flags == FrameFlag.DIRTY | FrameFlag.MLOCKED | FrameFlag.SWAPBACKED


def test_step_16_makes_the_entries_real_again(machine: Machine, task: Task) -> None:
    addr = page_of(machine, task)
    fork(machine, task, "b")
    assert found(machine, task, "16") == ["2 runs of entries"]
    assert nodes_of(machine, machine.task("b"), addr, "4KiB") == [[1, 1]]


def test_the_piece_of_a_split_that_nobody_holds_is_freed(machine: Machine, task: Task) -> None:
    machine = two_nodes("16MiB")
    machine.thp = "always"
    task = new_task(machine)
    addr = touched(machine, task, "2MiB")
    madvise(machine, task, addr, PAGE, Madv.DONTNEED)
    isolated = found(machine, task, "0a")
    assert isolated == ["isolated, refcount 1 to 2"] * 511 + ["nobody else holds it: freed"]
