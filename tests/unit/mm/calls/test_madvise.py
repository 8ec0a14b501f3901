"""MADV_FREE and MADV_PAGEOUT: what becomes of the pages."""

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.mmap import mlock
from pymigrate.syscalls.process import fork, touch
from tests.conftest import PAGE, hold, mapped, maps, new_file, nodes_of, touched
from tests.property.invariants import check


def test_freed_memory_stays_and_is_clean(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    madvise(machine, task, addr, 2 * PAGE, Madv.FREE)
    assert maps(machine, task) == ["default anon=4 dirty=2 active=0 N0=4 kernelpagesize_kB=4"]


def test_freed_memory_is_dirty_again_when_written(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    madvise(machine, task, addr, 4 * PAGE, Madv.FREE)
    touch(machine, task, addr, PAGE)
    run = task.mm.page_table.at(addr >> 12)
    assert run is not None
    assert run.flags & (Pte.WRITE | Pte.DIRTY) == Pte.WRITE | Pte.DIRTY


def test_freed_memory_is_dirty_again_when_it_is_locked(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    madvise(machine, task, addr, 4 * PAGE, Madv.FREE)
    mlock(machine, task, addr, PAGE)
    assert maps(machine, task)[0] == "default anon=1 dirty=1 N0=1 kernelpagesize_kB=4"


def test_clean_memory_stays_clean_when_it_is_moved(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    madvise(machine, task, addr, 2 * PAGE, Madv.FREE)
    migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1))
    assert maps(machine, task) == ["default anon=4 dirty=2 active=0 N1=4 kernelpagesize_kB=4"]


def test_absent_and_zero_pages_are_passed_over(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    touch(machine, task, addr, PAGE, write=False)
    touch(machine, task, addr + 2 * PAGE, PAGE)
    madvise(machine, task, addr, 4 * PAGE, Madv.FREE)
    assert not frame_of(machine, 0).flags & FrameFlag.SWAPBACKED
    check(machine)


def test_a_dirty_folio_that_is_shared_stays_dirty(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1))  # dirty is the folio's now
    fork(machine, task, "b")
    madvise(machine, task, addr, 2 * PAGE, Madv.FREE)
    assert maps(machine, task) == [
        "default anon=2 dirty=2 mapmax=2 active=0 N1=2 kernelpagesize_kB=4"
    ]


def test_pageout_leaves_anonymous_memory_for_there_is_no_swap(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    madvise(machine, task, addr, 4 * PAGE, Madv.PAGEOUT)
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 0]]


def test_pageout_drops_lazily_freed_memory_that_is_clean(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    madvise(machine, task, addr, 4 * PAGE, Madv.FREE)
    touch(machine, task, addr, PAGE)
    madvise(machine, task, addr, 4 * PAGE, Madv.PAGEOUT)
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 0], [3, -1]]
    assert machine.nodes[0].nr_free == 1024 - 1
    check(machine)


def test_pageout_drops_clean_pages_of_disk_files_and_unmaps_dirty_ones(
    machine: Machine, task: Task
) -> None:
    file = new_file(machine, "16KiB", "ext4")
    addr = mapped(machine, task, "16KiB", space=file, is_shared=True)
    touch(machine, task, addr, 4 * PAGE, write=False)
    touch(machine, task, addr, PAGE)
    madvise(machine, task, addr, 3 * PAGE, Madv.PAGEOUT)
    assert nodes_of(machine, task, addr, "16KiB") == [[3, -1], [1, 0]]
    assert [run.start for run in file.pages.runs] == [0, 3]
    assert frame_of(machine, file.pages.runs[0].pfn(0)).flags & FrameFlag.DIRTY
    check(machine)


def test_pageout_leaves_what_is_shared_or_held(machine: Machine, task: Task) -> None:
    file = new_file(machine, "16KiB", "ext4")
    addr = mapped(machine, task, "16KiB", space=file, is_shared=True)
    other = mapped(machine, task, "16KiB", space=file, is_shared=True)
    touch(machine, task, addr, 4 * PAGE, write=False)
    touch(machine, task, other, 4 * PAGE, write=False)
    madvise(machine, task, other, 2 * PAGE, Madv.DONTNEED)
    hold(machine, task, addr)
    madvise(machine, task, addr, 4 * PAGE, Madv.PAGEOUT)
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 0], [1, -1], [2, 0]]
    check(machine)


def test_pageout_passes_over_zero_pages(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "4KiB")
    touch(machine, task, addr, PAGE, write=False)
    madvise(machine, task, addr, PAGE, Madv.PAGEOUT)
    assert task.mm.page_table.at(addr >> 12) is not None


def test_the_zero_page_ends_what_maps_a_folio_page_by_page(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    addr = touched(machine, task, "2MiB")
    last = addr + (2 << 20) - PAGE
    madvise(machine, task, last, PAGE, Madv.DONTNEED)
    touch(machine, task, last, PAGE, write=False)
    madvise(machine, task, addr, 2 << 20, Madv.COLD)
    check(machine)
    assert nodes_of(machine, task, addr, "2MiB") == [[511, 0], [1, -1]]
