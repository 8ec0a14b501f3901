"""The 18 steps of a folio's migration that the kernel's page_migration.rst lists."""

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.memmap import Busy, FrameFlag
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.engine.queue_folios import Queue, Walk
from pymigrate.mm.frames.busy import begin
from pymigrate.mm.frames.frames import frame_of
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

ASYNC, SYNC = MigrateMode.ASYNC, MigrateMode.SYNC


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


def test_anonymous_memory_skips_the_index(machine: Machine, task: Task) -> None:
    page_of(machine, task)
    numbers = [step.number for step in steps(machine, task)]
    assert numbers == "0a 0b 1 2 3 4 4b 6 12 6 8 13 14 15 18 16 17".split()


def test_a_files_page_goes_through_all_steps_in_the_order_of_6_12(
    machine: Machine, task: Task
) -> None:
    page_of(machine, task, "tmpfs")
    numbers = [step.number for step in steps(machine, task)]
    assert numbers == "0a 0b 1 2 3 4 4b 6 12 5 6 8 9 10 11 13 14 15 18 16 17".split()


def test_step_0a_takes_the_folio_off_the_lru_once(machine: Machine, task: Task) -> None:
    addr = page_of(machine, task)
    task_pages = [addr, addr]
    result = migrate.move_pages(machine, task, task, task_pages, [1, 1], 2)
    assert result.status == [1, -16]  # the second time it is isolated already
    assert found(machine, task, "0a") == []


def test_step_0b_chooses_the_destination_or_ends_the_call(machine: Machine, task: Task) -> None:
    page_of(machine, task)
    assert found(machine, task, "0b") == ["node 1"]
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


def test_step_3_locks_the_new_folio_which_is_never_busy(machine: Machine, task: Task) -> None:
    page_of(machine, task)
    assert found(machine, task, "3") == ["free"]


def test_step_4_sets_migration_entries_but_not_of_a_pinned_page(
    machine: Machine, task: Task
) -> None:
    hold(machine, task, page_of(machine, task))
    assert found(machine, task, "4") == ["pinned and exclusive EAGAIN"] * 10


def test_step_4b_flushes_the_tlb_once_for_a_batch(machine: Machine, task: Task) -> None:
    touched(machine, task, "32KiB")
    assert found(machine, task, "4b") == ["once for 8 folios"]


def test_step_5_locks_the_index_of_what_has_one(machine: Machine, task: Task) -> None:
    page_of(machine, task, "xfs", write=False)
    assert found(machine, task, "5") == ["locked"]


def test_step_6_counts_the_references(machine: Machine, task: Task) -> None:
    hold(machine, task, page_of(machine, task, "tmpfs"), pins=0)
    # Two stages: three attempts to move it, then seven.
    assert found(machine, task, "6") == ["refcount 3, expected 2 EAGAIN"] * 10


def test_step_7_is_gone(machine: Machine, task: Task) -> None:
    page_of(machine, task, "tmpfs")
    assert found(machine, task, "7") == []


def test_step_8_prepares_the_new_folio(machine: Machine, task: Task) -> None:
    page_of(machine, task)
    assert found(machine, task, "8") == ["index, mapping"]


def test_step_9_lets_the_index_name_the_new_folio(machine: Machine, task: Task) -> None:
    addr = page_of(machine, task, "tmpfs")
    assert found(machine, task, "9") == ["1 entries name the new folio"]
    assert [run.lanes[0] >> 32 for s in machine.spaces.values() for run in s.pages.runs] == [1]
    assert nodes_of(machine, task, addr, "4KiB") == [[1, 1]]


def test_step_10_moves_the_references_of_the_cache(machine: Machine, task: Task) -> None:
    page_of(machine, task, "tmpfs")
    assert found(machine, task, "10") == ["1 to the new folio"]


def test_step_11_unlocks_the_index(machine: Machine, task: Task) -> None:
    page_of(machine, task, "tmpfs")
    assert found(machine, task, "11") == ["unlocked"]


def test_step_12_copies_or_the_method_refuses(machine: Machine, task: Task) -> None:
    page_of(machine, task, "ramfs")
    refused = "fallback_migrate_folio"
    assert found(machine, task, "12") == [f"{refused} EBUSY", f"{refused} EINVAL"]


def test_step_13_copies_the_flags(machine: Machine, task: Task) -> None:
    addr = page_of(machine, task, "tmpfs")
    mlock(machine, task, addr, PAGE)
    assert found(machine, task, "13") == ["dirty, mlocked, swapbacked"]
    flags = frame_of(machine, pfn_at(task, addr)).flags
    assert flags == FrameFlag.DIRTY | FrameFlag.MLOCKED | FrameFlag.SWAPBACKED


def test_step_14_clears_the_old_flags(machine: Machine, task: Task) -> None:
    page_of(machine, task)
    assert found(machine, task, "14") == ["cleared"]


def test_step_15_starts_queued_writeback(machine: Machine, task: Task) -> None:
    page_of(machine, task)
    assert found(machine, task, "15") == ["none"]


def test_step_16_makes_the_entries_real_again(machine: Machine, task: Task) -> None:
    addr = page_of(machine, task)
    fork(machine, task, "b")
    assert found(machine, task, "16") == ["2 runs of entries"]
    assert nodes_of(machine, machine.task("b"), addr, "4KiB") == [[1, 1]]


def test_step_17_unlocks_both(machine: Machine, task: Task) -> None:
    page_of(machine, task)
    assert found(machine, task, "17") == ["unlocked"]


def test_step_18_puts_the_new_folio_on_the_lru_before_16(machine: Machine, task: Task) -> None:
    page_of(machine, task)
    numbers = [step.number for step in steps(machine, task)]
    assert numbers.index("18") < numbers.index("16")


def test_the_piece_of_a_split_folio_that_nobody_holds_is_freed(
    machine: Machine, task: Task
) -> None:
    machine = two_nodes("16MiB")
    machine.thp = "always"
    task = new_task(machine)
    addr = touched(machine, task, "2MiB")
    madvise(machine, task, addr, PAGE, Madv.DONTNEED)
    isolated = found(machine, task, "0a")
    assert isolated == ["isolated"] * 511 + ["nobody else holds it: freed"]


def test_the_attempts_are_numbered(machine: Machine, task: Task) -> None:
    hold(machine, task, page_of(machine, task))
    attempts = [step.attempt for step in steps(machine, task) if step.number == "4"]
    assert attempts == list(range(1, 11))
