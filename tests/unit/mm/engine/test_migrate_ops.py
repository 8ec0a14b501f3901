"""How each file system's folios move, in each mode and state."""

import pytest

from pymigrate.errors import UnsupportedError
from pymigrate.mm.base.memmap import Busy, FrameFlag
from pymigrate.mm.base.why import Why
from pymigrate.mm.engine.migrate import MigrateResult, migrate_pages
from pymigrate.mm.engine.migrate_ops import OPS, Method, expected_refs, obstacle, surely_moves
from pymigrate.mm.engine.queue_folios import Queue, Walk
from pymigrate.mm.frames.busy import begin, end
from pymigrate.mm.frames.frames import folio_of, update_frames
from pymigrate.mm.frames.placement import ThisNode
from pymigrate.mm.state.events import MigrateMode, MigrateReason
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from tests.conftest import hold, new_file, nodes_of, pfn_at, touched
from tests.unit.mm.conftest import frame_at, loaded

ASYNC, LIGHT, SYNC = MigrateMode.ASYNC, MigrateMode.SYNC_LIGHT, MigrateMode.SYNC
MOVED, STAYED = (1, 0, 0), (0, 1, 1)  # succeeded, failed, what the call returns
FILE_SYSTEMS = ["tmpfs", "ext4", "xfs", "btrfs", "nfs", "ramfs", "other", "blockdev", "secretmem"]


def cached(machine: Machine, task: Task, fs: str, *flags: int) -> int:
    """A page of a file, mapped for reading; give its address."""
    addr = loaded(machine, task, "4KiB", "r", space=new_file(machine, "4KiB", fs), is_shared=True)
    for flag in flags:
        update_frames(machine, [(pfn_at(task, addr), 1)], lambda f, flag=flag: f.with_flags(flag))
    return addr


def moving(machine: Machine, task: Task, mode: MigrateMode) -> tuple[int, int, int]:
    """Move all that *task* has on node 0: how many pages moved and failed, folios that stayed."""
    queue = Queue(machine, Walk(lambda nid: nid == 0, move_all=True))
    for vma in task.mm.vmas:
        queue.add_vma(task.mm, vma, vma.start, vma.end)
    where = ThisNode(1)
    result: MigrateResult = migrate_pages(
        machine, task, queue.slices, where, MigrateReason.COMPACTION, mode=mode
    )
    return result.succeeded, result.failed, result.stayed


def test_every_file_system_of_a_scenario_has_its_row() -> None:
    assert {fs: OPS[fs].method for fs in FILE_SYSTEMS} == {
        "tmpfs": Method.SIMPLE,
        "ext4": Method.BUFFERS,
        "xfs": Method.FILEMAP,
        "btrfs": Method.BTRFS,
        "nfs": Method.NFS,
        "ramfs": Method.NONE,
        "other": Method.NONE,
        "blockdev": Method.BUFFERS_NOREFS,
        "secretmem": Method.SECRETMEM,
    }


@pytest.mark.parametrize("mode", [ASYNC, LIGHT, SYNC])
@pytest.mark.parametrize("fs", FILE_SYSTEMS)
def test_any_clean_folio_moves(machine: Machine, task: Task, fs: str, mode: MigrateMode) -> None:
    cached(machine, task, fs)
    assert moving(machine, task, mode) == (STAYED if fs == "secretmem" else MOVED)


@pytest.mark.parametrize("mode", [ASYNC, LIGHT, SYNC])
@pytest.mark.parametrize("fs", FILE_SYSTEMS)
@pytest.mark.parametrize(
    ("flag", "without"),
    [(FrameFlag.DIRTY, {"nfs", "ramfs", "secretmem"}), (FrameFlag.PRIVATE, {"nfs", "secretmem"})],
    ids=["dirty", "with private data"],
)
def test_a_folio_in_use_moves_where_there_is_a_method(
    machine: Machine, task: Task, fs: str, mode: MigrateMode, flag: int, without: set[str]
) -> None:
    cached(machine, task, fs, flag)
    is_written = flag == FrameFlag.DIRTY and fs == "other"  # which only a synchronous move may
    stays = fs in without or (is_written and mode != SYNC)
    assert moving(machine, task, mode) == (STAYED if stays else MOVED)


@pytest.mark.parametrize("flag", [0, FrameFlag.DIRTY, FrameFlag.PRIVATE, FrameFlag.WRITEBACK])
@pytest.mark.parametrize("fs", FILE_SYSTEMS)
def test_what_surely_moves_does_so_at_the_first_attempt_when_it_goes_alone(
    machine: Machine, task: Task, fs: str, flag: int
) -> None:
    addr = cached(machine, task, fs, flag)
    is_sure = surely_moves(machine, frame_at(machine, task, addr))
    machine.watch = Watch([])  # as somebody watches, each folio takes all the steps
    assert moving(machine, task, ASYNC) == MOVED or not is_sure


@pytest.mark.parametrize("mode", [ASYNC, LIGHT, SYNC])
@pytest.mark.parametrize("fs", FILE_SYSTEMS)
def test_only_a_synchronous_move_waits_for_writeback(
    machine: Machine, task: Task, fs: str, mode: MigrateMode
) -> None:
    addr = cached(machine, task, fs)
    begin(machine, pfn_at(task, addr), Busy.WRITEBACK, passes=20)
    stays = mode != SYNC or fs == "secretmem"
    assert moving(machine, task, mode) == (STAYED if stays else MOVED)
    assert nodes_of(machine, task, addr, "4KiB") == [[1, 0 if stays else 1]]


def test_a_dirty_page_without_a_method_is_written_out_first(machine: Machine, task: Task) -> None:
    addr = cached(machine, task, "other", FrameFlag.DIRTY)
    assert moving(machine, task, SYNC) == MOVED
    assert not frame_at(machine, task, addr).flags & FrameFlag.DIRTY


@pytest.mark.parametrize(
    ("fs", "kind", "passes", "mode", "outcome"),
    [
        # A locked buffer is waited for by who may wait.
        ("ext4", Busy.BUFFER, 30, ASYNC, STAYED),
        ("ext4", Busy.BUFFER, 30, LIGHT, MOVED),
        ("ext4", Busy.BUFFER, 30, SYNC, MOVED),
        ("blockdev", Busy.BUFFER, 30, ASYNC, STAYED),
        ("blockdev", Busy.BUFFER, 30, SYNC, MOVED),
        ("xfs", Busy.BUFFER, 30, ASYNC, MOVED),
        # A buffer in use holds a block device's pages.
        ("blockdev", Busy.BUFFER_REF, 30, SYNC, STAYED),
        ("blockdev", Busy.BUFFER_REF, 4, SYNC, MOVED),
        ("ext4", Busy.BUFFER_REF, 30, SYNC, MOVED),
        ("other", Busy.BUFFER_REF, 30, SYNC, STAYED),
        # A locked folio is waited for by mode; ten passes try for its lock.
        ("tmpfs", Busy.LOCKED, 9, ASYNC, MOVED),
        ("tmpfs", Busy.LOCKED, 10, ASYNC, STAYED),
        ("tmpfs", Busy.LOCKED, 30, LIGHT, MOVED),
        ("tmpfs", Busy.LOCKED, 30, SYNC, MOVED),
        ("tmpfs", Busy.READING, 30, ASYNC, STAYED),
        ("tmpfs", Busy.READING, 30, LIGHT, STAYED),
        ("tmpfs", Busy.READING, 30, SYNC, MOVED),
    ],
    ids=str,
)
def test_who_waits_for_what(
    machine: Machine,
    task: Task,
    fs: str,
    kind: Busy,
    passes: int,
    mode: MigrateMode,
    outcome: tuple[int, int, int],
) -> None:
    begin(machine, pfn_at(task, cached(machine, task, fs)), kind, passes)
    assert moving(machine, task, mode) == outcome


@pytest.mark.parametrize("kind", [Busy.LOCKED, Busy.BUFFER])
def test_work_that_never_ends_is_not_waited_for(machine: Machine, task: Task, kind: Busy) -> None:
    addr = cached(machine, task, "ext4")
    begin(machine, pfn_at(task, addr), kind)
    with pytest.raises(UnsupportedError, match="for ever"):
        moving(machine, task, SYNC)
    end(machine, pfn_at(task, addr))
    assert moving(machine, task, SYNC) == MOVED


def test_work_ends_with_the_page(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    pfn = pfn_at(task, addr)
    begin(machine, pfn, Busy.LOCKED, 2)
    assert machine.busy[pfn].kind == Busy.LOCKED
    moving(machine, task, SYNC)
    assert not machine.busy


@pytest.mark.parametrize(
    ("fs", "flags", "expected"),
    [("tmpfs", 0, 2), ("ext4", 0, 2), ("ext4", FrameFlag.DIRTY, 3), ("btrfs", 0, 3)],
)
def test_the_expected_references_count_cache_and_private_data(
    machine: Machine, task: Task, fs: str, flags: int, expected: int
) -> None:
    addr = cached(machine, task, fs, flags)
    assert expected_refs(machine, folio_of(machine, pfn_at(task, addr))) == expected


def test_anonymous_memory_expects_the_isolation_alone(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    hold(machine, task, addr)
    assert expected_refs(machine, folio_of(machine, pfn_at(task, addr))) == 1


@pytest.mark.parametrize(
    ("fs", "flag", "mode", "why"),
    [
        ("ramfs", FrameFlag.DIRTY, LIGHT, Why.DIRTY),
        ("ramfs", FrameFlag.DIRTY, SYNC, Why.DIRTY),
        ("other", FrameFlag.DIRTY, SYNC, None),
        ("secretmem", 0, SYNC, Why.SECRET),
        ("nfs", FrameFlag.PRIVATE, SYNC, Why.REQUEST),
        ("ext4", 0, LIGHT, None),
    ],
)
def test_what_would_keep_a_folio(
    machine: Machine, task: Task, fs: str, flag: int, mode: MigrateMode, why: Why | None
) -> None:
    addr = cached(machine, task, fs, flag)
    assert obstacle(machine, folio_of(machine, pfn_at(task, addr)), mode) == why
    hold(machine, task, addr, pins=0)
    assert obstacle(machine, folio_of(machine, pfn_at(task, addr)), mode) == Why.HELD
