"""/proc/PID/numa_maps: its lines, and their counts."""

from collections.abc import Callable

import pytest

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.frames.frames import update_frames
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.mempolicy import mbind, set_mempolicy
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.mmap import mlock, mmap, munlock, munmap
from pymigrate.syscalls.process import exit_task, fork, sched_setaffinity, touch
from pymigrate.views.proc.numa_maps import counts, format_rows, rows
from tests.conftest import (
    BASE,
    PAGE,
    mapped,
    maps,
    new_file,
    new_task,
    placed_on,
    touched,
    two_nodes,
)

END = " kernelpagesize_kB=4"


def test_a_line_begins_with_the_address(machine: Machine, task: Task) -> None:
    mmap(machine, task, 0x1000, PAGE, "rw")
    touched(machine, task, "4KiB")
    assert format_rows(rows(machine, task)) == (
        f"00001000 default\n200004000000 default anon=1 dirty=1 N0=1{END}\n"
    )


def test_rows_are_those_that_a_range_meets(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "4KiB")
    other = mapped(machine, task, "4KiB")
    assert [row.start << 12 for row in rows(machine, task)] == [addr, other]
    assert [row.start << 12 for row in rows(machine, task, 0, other >> 12)] == [addr]


# The policy


def test_the_policy_is_the_vmas_else_the_tasks(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "8KiB")
    mbind(machine, task, addr, PAGE, 2, Nodemask.of(1), 0)
    assert maps(machine, task) == ["bind:1", "default"]
    set_mempolicy(machine, task, 6, Nodemask.of(0, 1))
    assert maps(machine, task) == ["bind:1", "weighted interleave:0-1"]


def test_shared_memory_shows_the_objects_policy_at_the_first_page(
    machine: Machine, task: Task
) -> None:
    file = new_file(machine, "16KiB")
    addr = mapped(machine, task, "16KiB", space=file, is_shared=True)
    other = new_task(machine, "b")
    mapped(machine, other, "16KiB", space=file, is_shared=True)
    mbind(machine, task, addr + PAGE, PAGE, 2, Nodemask.of(1), 0)
    assert maps(machine, other) == ["default file=/data"]
    mbind(machine, task, addr, PAGE, 3, Nodemask.of(1), 0)
    assert maps(machine, other) == ["interleave:1 file=/data"]


# What is mapped


def test_heap_and_stack(machine: Machine, task: Task) -> None:
    for page in (0, 10, 20):
        mmap(machine, task, BASE + page * PAGE, 4 * PAGE, "rw")
    first = BASE >> 12
    task.mm.brk = (first + 1, first + 3)
    task.mm.start_stack = first + 23
    assert maps(machine, task) == ["default heap", "default", "default stack"]


@pytest.mark.parametrize(
    ("name", "fs", "text"),
    [
        ("data", "tmpfs", "file=/data"),
        ("/usr/lib/x.so", "ext4", "file=/usr/lib/x.so"),
        ("a b\tc\nd=e\\f", "ext4", "file=/a\\040b\\011c\\012d\\075e\\f"),
        ("", "shm", "file=/dev/zero\\040(deleted)"),
    ],
)
def test_files(machine: Machine, task: Task, name: str, fs: str, text: str) -> None:
    file = new_file(machine, "4KiB", fs)
    file.name = name
    mapped(machine, task, "4KiB", space=file, is_shared=True)
    assert maps(machine, task) == [f"default {text}"]


# The counts


def test_written_memory(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB")
    assert maps(machine, task) == [f"default anon=4 dirty=4 N0=4{END}"]


def test_zero_pages_are_not_counted(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    touch(machine, task, addr, 4 * PAGE, write=False)
    assert maps(machine, task) == ["default"]


def test_read_file_memory_is_mapped(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB", space=new_file(machine, "16KiB"))
    touch(machine, task, addr, 4 * PAGE, write=False)
    assert maps(machine, task) == [f"default file=/data mapped=4 N0=4{END}"]


def test_a_private_mapping_written_in_part(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "40KiB", space=new_file(machine, "40KiB"))
    touch(machine, task, addr, 10 * PAGE, write=False)
    touch(machine, task, addr, 4 * PAGE)
    assert maps(machine, task) == [f"default file=/data anon=4 dirty=4 mapped=10 N0=10{END}"]


def test_mapmax_is_the_largest_mapcount(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    fork(machine, task, "b")
    third = fork(machine, task, "c")
    munmap(machine, third, addr, PAGE)
    assert maps(machine, task) == [f"default anon=4 dirty=4 mapmax=3 active=0 N0=4{END}"]


def test_nodes_come_in_ascending_order(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    with placed_on(task, 1):
        touch(machine, task, addr, 3 * PAGE)
    touch(machine, task, addr, 4 * PAGE)
    assert maps(machine, task) == [f"default anon=4 dirty=4 N0=1 N1=3{END}"]


def test_scattered_pages_on_two_nodes(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "32KiB")
    for page, node in ((3, 0), (1, 1), (6, 0), (0, 1), (7, 0)):
        with placed_on(task, node):
            touch(machine, task, addr + page * PAGE, PAGE)
    assert maps(machine, task) == [f"default anon=5 dirty=5 N0=3 N1=2{END}"]


def test_flags_of_folios(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    first = task.mm.page_table.at(addr >> 12).pfn(addr >> 12)  # type: ignore[union-attr]
    update_frames(machine, [(first, 1)], lambda f: f.with_flags(FrameFlag.SWAPCACHE))
    update_frames(machine, [(first, 2)], lambda f: f.with_flags(FrameFlag.WRITEBACK))
    madvise(machine, task, addr, 4 * PAGE, Madv.COLD)
    assert maps(machine, task) == [
        f"default anon=4 dirty=4 swapcache=1 active=0 writeback=2 N0=4{END}"
    ]


def test_counts_are_named_as_they_are_printed(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "8KiB", space=new_file(machine, "8KiB"), is_shared=True)
    touch(machine, task, addr, 2 * PAGE, write=False)
    assert counts(rows(machine, task)[0]) == {"mapped": 2}


# The active count: pages that wait in a CPU's batch of 31


def active(machine: Machine, task: Task) -> list[str]:
    """The active= of each line, "all" where there is none."""
    lines = []
    for line in maps(machine, task):
        found = [field[7:] for field in line.split() if field.startswith("active=")]
        lines.append(found[0] if found else "all")
    return lines


@pytest.mark.parametrize(
    ("pages", "shown"),
    [
        (1, "all"),
        (20, "all"),
        (30, "all"),
        (31, "0"),
        (32, "1"),
        (61, "30"),
        (62, "0"),
        (1024, "1"),
    ],
)
def test_pages_touched_after_a_drain(machine: Machine, task: Task, pages: int, shown: str) -> None:
    touched(machine, task, str(pages * PAGE))
    assert active(machine, task) == [shown]


@pytest.mark.parametrize(
    ("before", "pages", "shown"),
    [(10, 10, ["all", "all"]), (10, 25, ["0", "4"]), (30, 1, ["0", "0"]), (29, 3, ["0", "1"])],
)
def test_pages_that_wait_from_before_count_too(
    machine: Machine, task: Task, before: int, pages: int, shown: list[str]
) -> None:
    touched(machine, task, str(before * PAGE))
    touched(machine, task, str(pages * PAGE))
    assert active(machine, task) == shown


def test_each_cpu_has_its_own_batch(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "80KiB")
    sched_setaffinity(machine, task, Cpumask.of(1))
    touched(machine, task, "80KiB")
    assert active(machine, task) == ["all", "all"]
    munmap(machine, task, addr, PAGE)
    assert active(machine, task) == ["all", "0"]


def advise(advice: Madv) -> Callable[[Machine, Task], object]:
    return lambda machine, task: madvise(machine, task, mapped(machine, task, "4KiB"), PAGE, advice)


@pytest.mark.parametrize(
    "call",
    [
        *map(advise, [Madv.DONTNEED, Madv.FREE, Madv.COLD, Madv.PAGEOUT, Madv.POPULATE_READ]),
        lambda machine, task: mapped(machine, task, "4KiB", populate=True),
        lambda machine, task: exit_task(machine, new_task(machine, "b")),
    ],
    ids="dontneed free cold pageout populate_read populate exit".split(),
)
def test_what_drains_this_cpu(
    machine: Machine, task: Task, call: Callable[[Machine, Task], object]
) -> None:
    touched(machine, task, "80KiB")
    call(machine, task)
    assert active(machine, task)[0] == "0"


def test_a_write_to_a_waiting_page_after_fork_drains(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "80KiB")
    child = fork(machine, task, "b")
    child.cpus = Cpumask.of(1)
    exit_task(machine, child)
    touch(machine, task, addr, PAGE)
    assert active(machine, task) == ["0"]


def test_migrating_drains_all_cpus(machine: Machine, task: Task) -> None:
    other = new_task(machine, "b", cpu=1)
    touched(machine, task, "80KiB")
    touched(machine, other, "80KiB")
    migrate_pages(machine, task, task, Nodemask.of(1), Nodemask.of(0))
    assert active(machine, task) == ["0"]
    assert active(machine, other) == ["0"]


def test_mbind_drains_only_if_it_may_move(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "80KiB")
    mbind(machine, task, addr, PAGE, 2, Nodemask.of(0), 1)
    assert active(machine, task) == ["all", "all"]
    mbind(machine, task, addr, PAGE, 2, Nodemask.of(0), 2)
    assert active(machine, task) == ["0", "0"]


def test_mlocked_pages_are_active_for_ever(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "400KiB")
    mlock(machine, task, addr, 100 * PAGE)
    assert active(machine, task) == ["all"]
    munlock(machine, task, addr, 50 * PAGE)
    assert active(machine, task) == ["0", "all"]


@pytest.mark.parametrize(("pages", "shown"), [(31, "all"), (20, "0"), (40, "31")])
def test_pages_faulted_into_locked_memory_count_once_their_batch_is_emptied(
    machine: Machine, task: Task, pages: int, shown: str
) -> None:
    addr = mapped(machine, task, "1MiB")
    mlock(machine, task, addr, 256 * PAGE)
    madvise_free = (addr, pages * PAGE)
    munlock(machine, task, *madvise_free)
    madvise(machine, task, *madvise_free, Madv.DONTNEED)
    for vma in task.mm.vmas_between(addr >> 12, (addr >> 12) + pages):
        vma.flags |= 0x2000
    touch(machine, task, *madvise_free)
    assert active(machine, task)[0] == shown


def test_pages_that_wait_on_another_cpu_while_they_are_locked_count_once(
    machine: Machine, task: Task
) -> None:
    addr = touched(machine, task, "400KiB")  # 100 pages: 7 wait
    sched_setaffinity(machine, task, Cpumask.of(1))
    mlock(machine, task, addr, 99 * PAGE)
    munlock(machine, task, addr, PAGE)
    assert [row.active for row in rows(machine, task)] == [0, 98, 1]


def test_6_1_has_no_active_pages() -> None:
    machine = two_nodes(kernel="6.1")
    task = new_task(machine)
    touched(machine, task, "80KiB")
    assert active(machine, task) == ["0"]
