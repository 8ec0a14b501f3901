"""MADV_FREE and MADV_PAGEOUT: what becomes of the pages."""

import pytest

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.state.machine import Machine, add_device
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.drivers import migrate_vma
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.mmap import mlock, mprotect
from pymigrate.syscalls.process import fork, touch
from tests.conftest import (
    HUGE,
    PAGE,
    flags_at,
    hold,
    mapped,
    maps,
    nodes_of,
    pfn_at,
    touched,
    two_nodes,
)
from tests.property.invariants import check
from tests.unit.mm.conftest import file_of, frame_at, loaded, with_task


def freed(machine: Machine, task: Task, nr: int) -> int:
    """The address of four pages, the first *nr* of which may be freed lazily."""
    addr = touched(machine, task, "16KiB")
    madvise(machine, task, addr, nr * PAGE, Madv.FREE)
    return addr


def test_freed_memory_stays_and_is_clean(machine: Machine, task: Task) -> None:
    freed(machine, task, 2)
    assert maps(machine, task) == ["default anon=4 dirty=2 active=0 N0=4 kernelpagesize_kB=4"]


def test_freed_memory_is_dirty_again_when_written(machine: Machine, task: Task) -> None:
    addr = freed(machine, task, 4)
    touch(machine, task, addr, PAGE)
    assert flags_at(task, addr) & (Pte.WRITE | Pte.DIRTY) == Pte.WRITE | Pte.DIRTY


def test_freed_memory_is_dirty_again_when_it_is_locked(machine: Machine, task: Task) -> None:
    addr = freed(machine, task, 4)
    mlock(machine, task, addr, PAGE)
    assert maps(machine, task)[0] == "default anon=1 dirty=1 N0=1 kernelpagesize_kB=4"


def test_clean_memory_stays_clean_when_it_is_moved(machine: Machine, task: Task) -> None:
    freed(machine, task, 2)
    migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1))
    assert maps(machine, task) == ["default anon=4 dirty=2 active=0 N1=4 kernelpagesize_kB=4"]


def test_absent_and_zero_pages_are_passed_over(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    touch(machine, task, addr, PAGE, write=False)
    touch(machine, task, addr + 2 * PAGE, PAGE)
    madvise(machine, task, addr, 4 * PAGE, Madv.FREE)
    lru_add_drain_all(machine)
    assert not frame_of(machine, 0).flags & FrameFlag.SWAPBACKED


def test_a_dirty_folio_that_is_shared_stays_dirty(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1))  # dirty is the folio's now
    fork(machine, task, "b")
    madvise(machine, task, addr, 2 * PAGE, Madv.FREE)
    line = "default anon=2 dirty=2 mapmax=2 active=0 N1=2 kernelpagesize_kB=4"
    assert maps(machine, task) == [line]


def test_pageout_leaves_anonymous_memory_for_there_is_no_swap(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    madvise(machine, task, addr, 4 * PAGE, Madv.PAGEOUT)
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 0]]


def test_pageout_drops_lazily_freed_memory_that_is_clean(machine: Machine, task: Task) -> None:
    addr = freed(machine, task, 4)
    touch(machine, task, addr, PAGE)
    madvise(machine, task, addr, 4 * PAGE, Madv.PAGEOUT)
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 0], [3, -1]]
    assert machine.nodes[0].nr_free == 1024 - 1


def test_pageout_drops_clean_file_pages_and_unmaps_dirty(machine: Machine, task: Task) -> None:
    file, addr = file_of(machine, task, "16KiB", "ext4")
    touch(machine, task, addr, 4 * PAGE, write=False)
    touch(machine, task, addr, PAGE)
    madvise(machine, task, addr, 3 * PAGE, Madv.PAGEOUT)
    assert nodes_of(machine, task, addr, "16KiB") == [[3, -1], [1, 0]]
    assert [run.start for run in file.pages.runs] == [0, 3]
    assert task.mm.tables.at(addr // PAGE) is not None
    assert frame_of(machine, file.pages.runs[0].pfn(0)).flags & FrameFlag.DIRTY


def test_pageout_leaves_what_is_shared_or_held(machine: Machine, task: Task) -> None:
    file, addr = file_of(machine, task, "16KiB", "ext4")
    other = mapped(machine, task, "16KiB", space=file, is_shared=True)
    touch(machine, task, addr, 4 * PAGE, write=False)
    touch(machine, task, other, 4 * PAGE, write=False)
    madvise(machine, task, other, 2 * PAGE, Madv.DONTNEED)
    hold(machine, task, addr)
    madvise(machine, task, addr, 4 * PAGE, Madv.PAGEOUT)
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 0], [1, -1], [2, 0]]


def test_pageout_passes_over_zero_pages(machine: Machine, task: Task) -> None:
    addr = loaded(machine, task, "4KiB")
    madvise(machine, task, addr, PAGE, Madv.PAGEOUT)
    assert task.mm.page_table.at(addr >> 12) is not None


def test_the_zero_page_ends_what_maps_a_folio_page_by_page(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    addr = touched(machine, task, "2MiB")
    last = addr + (2 << 20) - PAGE
    madvise(machine, task, last, PAGE, Madv.DONTNEED)
    touch(machine, task, last, PAGE, write=False)
    madvise(machine, task, addr, 2 << 20, Madv.COLD)
    assert nodes_of(machine, task, addr, "2MiB") == [[511, 0], [1, -1]]


def huge(machine: Machine, task: Task, is_split: bool) -> int:
    """A huge page, mapped as one or by base pages."""
    machine.thp = "always"
    addr = touched(machine, task, "2MiB")
    if is_split:
        mprotect(machine, task, addr, PAGE, "r")
        mprotect(machine, task, addr, PAGE, "rw")
    return addr


@pytest.mark.parametrize("is_split", [False, True], ids=["huge entry", "base entries"])
@pytest.mark.parametrize(
    ("advice", "flag"), [(Madv.FREE, Pte.DIRTY), (Madv.COLD, Pte.YOUNG)], ids=["free", "cold"]
)
def test_advice_for_a_whole_page_keeps_it(is_split: bool, advice: Madv, flag: int) -> None:
    machine, task = with_task(two_nodes())
    addr = huge(machine, task, is_split)
    madvise(machine, task, addr, HUGE, advice)
    assert frame_at(machine, task, addr).order == 9
    assert not any(run.flags & flag for run in task.mm.page_table.runs)
    check(machine)


@pytest.mark.parametrize("is_split", [False, True], ids=["huge entry", "base entries"])
@pytest.mark.parametrize("advice", [Madv.FREE, Madv.COLD, Madv.PAGEOUT])
def test_advice_for_a_part_of_a_huge_page_splits_it(advice: Madv, is_split: bool) -> None:
    machine, task = with_task(two_nodes())
    addr = huge(machine, task, is_split)
    madvise(machine, task, addr + 16 * PAGE, 8 * PAGE, advice)
    assert frame_at(machine, task, addr).order == 0
    young = [bool(flags_at(task, addr + i * PAGE) & Pte.YOUNG) for i in (15, 16, 23, 24)]
    assert young == [True, advice == Madv.PAGEOUT, advice == Madv.PAGEOUT, True]
    check(machine)


def test_pageout_splits_huge_pages_for_swap_that_is_not_there() -> None:
    machine, task = with_task(two_nodes())
    addr = huge(machine, task, is_split=False)
    madvise(machine, task, addr, HUGE, Madv.PAGEOUT)
    assert frame_at(machine, task, addr).order == 0
    assert nodes_of(machine, task, addr, "2MiB") == [[512, 0]]


@pytest.mark.parametrize("size", [HUGE, 8 * PAGE], ids=["all", "a part"])
def test_advice_leaves_a_huge_page_that_is_shared_or_held(size: int) -> None:
    machine, task = with_task(two_nodes())
    addr = huge(machine, task, is_split=False)
    fork(machine, task, "b")
    for advice in (Madv.FREE, Madv.COLD, Madv.PAGEOUT):
        madvise(machine, task, addr, size, advice)
    assert frame_at(machine, task, addr).order == 9
    other = huge(machine, task, is_split=False)
    hold(machine, task, other)
    madvise(machine, task, other, 8 * PAGE, Madv.COLD)
    assert frame_of(machine, pfn_at(task, other)).order == 9


def test_advice_passes_over_what_lies_on_a_device(machine: Machine, task: Task) -> None:
    add_device(machine, "gpu", 8)
    addr = touched(machine, task, "16KiB")
    migrate_vma(machine, task, addr + PAGE, PAGE, "gpu")
    madvise(machine, task, addr, 4 * PAGE, Madv.FREE)
    dirty = [bool(flags_at(task, addr + i * PAGE) & Pte.DIRTY) for i in range(4)]
    assert dirty == [False] * 4
