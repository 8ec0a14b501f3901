"""The page cache: read-ahead, fault-around, dropping."""

from copy import deepcopy
from random import Random

import pytest

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.faults.filemap import drop_caches
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.mempolicy import set_mempolicy
from pymigrate.syscalls.mmap import mmap, munmap
from pymigrate.syscalls.process import sched_setaffinity, touch
from tests.conftest import PAGE, hold, mapped, new_file, nodes_of, touched
from tests.unit.mm.conftest import file_mapped, file_of

INTERLEAVE, WEIGHTED = 3, 6


def cached(space: AddressSpace) -> list[tuple[int, int]]:
    """The pages that are cached, as ranges."""
    out: list[tuple[int, int]] = []
    for run in space.pages.runs:
        if out and out[-1][1] == run.start:
            out[-1] = (out[-1][0], run.end)
        else:
            out.append((run.start, run.end))
    return out


def present(machine: Machine, task: Task, addr: int, pages: int) -> list[int]:
    """The numbers of the pages that are mapped."""
    found = []
    at = 0
    for nr, node in nodes_of(machine, task, addr, f"{pages * 4}KiB"):
        found += [*range(at, at + nr)] if node >= 0 else []
        at += nr
    return found


@pytest.mark.parametrize(
    ("accesses", "ranges"),
    [
        pytest.param([(0, 1)], [(0, 32)], id="around, at the start"),
        pytest.param([(10, 1)], [(0, 32)], id="near the start"),
        pytest.param([(100, 1)], [(84, 116)], id="in the middle"),
        pytest.param([(195, 1)], [(179, 200)], id="near the end"),
        pytest.param([(0, 24)], [(0, 32)], id="not yet the next window"),
        pytest.param([(0, 24), (24, 1)], [(0, 64)], id="the next before the last is used up"),
        pytest.param([(0, 24), (24, 1), (25, 10)], [(0, 96)], id="and the next"),
        pytest.param([(0, 1), (150, 1), (24, 1)], [(0, 32), (134, 166)], id="out of turn: nothing"),
        pytest.param([(40, 1), (60, 1)], [(24, 76)], id="only what is missing"),
    ],
)
def test_accesses_to_a_disk_file_read_ahead(
    machine: Machine, task: Task, accesses: list[tuple[int, int]], ranges: list[tuple[int, int]]
) -> None:
    file, addr = file_of(machine, task, "800KiB", "ext4")
    free = machine.nodes[0].nr_free
    for page, nr in accesses:
        touch(machine, task, addr + page * PAGE, nr * PAGE, write=False)
    assert cached(file) == ranges
    assert machine.nodes[0].nr_free == free - sum(b - a for a, b in ranges)


@pytest.mark.parametrize(
    ("write", "pages"), [(False, [*range(96, 108), *range(109, 112)]), (True, [100])]
)
def test_a_read_that_has_read_ahead_is_tried_again_and_maps_around(
    machine: Machine, task: Task, write: bool, pages: list[int]
) -> None:
    addr = file_mapped(machine, task, "800KiB", "ext4")
    touch(machine, task, addr + 100 * PAGE, PAGE, write)
    assert present(machine, task, addr, 200) == pages  # but for the one with the mark


@pytest.mark.parametrize("fs", ["tmpfs", "ext4"])
def test_a_read_beyond_the_end_maps_what_is_cached_around(
    machine: Machine, task: Task, fs: str
) -> None:
    file = new_file(machine, "12KiB", fs)
    touched(machine, task, "12KiB", space=file, is_shared=True)
    addr = mapped(machine, task, "64KiB", space=file, is_shared=True)
    assert touch(machine, task, addr + 5 * PAGE, PAGE, write=False) == "SIGBUS"
    assert present(machine, task, addr, 16) == [0, 1, 2]


@pytest.mark.parametrize(
    ("advice", "window"), [(Madv.RANDOM, (100, 101)), (Madv.SEQUENTIAL, (100, 132))]
)
def test_advice_changes_the_window(
    machine: Machine, task: Task, advice: Madv, window: tuple[int, int]
) -> None:
    file, addr = file_of(machine, task, "800KiB", "ext4")
    madvise(machine, task, addr, 800 << 10, advice)
    touch(machine, task, addr + 100 * PAGE, PAGE, write=False)
    assert cached(file) == [window]


def test_read_ahead_places_all_its_pages_now(machine: Machine, task: Task) -> None:
    addr = file_mapped(machine, task, "128KiB", "ext4")
    touch(machine, task, addr, PAGE, write=False)
    sched_setaffinity(machine, task, Cpumask.of(1))
    touch(machine, task, addr, 32 * PAGE, write=False)
    assert nodes_of(machine, task, addr, "128KiB") == [[32, 0]]


def mapped_again(machine: Machine, task: Task, size: str) -> int:
    """The address of another mapping of a file that is cached."""
    file = new_file(machine, size)
    touched(machine, task, size, space=file, is_shared=True)
    return mapped(machine, task, size, space=file, is_shared=True)


def test_a_read_maps_cached_pages_of_the_64_kib_around_it(machine: Machine, task: Task) -> None:
    addr = mapped_again(machine, task, "256KiB")
    touch(machine, task, addr + 20 * PAGE, PAGE, write=False)
    assert present(machine, task, addr, 64) == list(range(16, 32))


def test_fault_around_is_clipped_to_the_vma(machine: Machine, task: Task) -> None:
    addr = mapped_again(machine, task, "256KiB")
    munmap(machine, task, addr, 18 * PAGE)
    munmap(machine, task, addr + 22 * PAGE, 40 * PAGE)
    touch(machine, task, addr + 20 * PAGE, PAGE, write=False)
    assert present(machine, task, addr, 64) == [18, 19, 20, 21]


def test_fault_around_maps_no_more_than_is_cached(machine: Machine, task: Task) -> None:
    file = new_file(machine, "64KiB")
    other = mapped(machine, task, "64KiB", space=file, is_shared=True)
    touch(machine, task, other + 3 * PAGE, 2 * PAGE)
    addr = mapped(machine, task, "64KiB", space=file, is_shared=True)
    touch(machine, task, addr + 8 * PAGE, PAGE, write=False)
    assert present(machine, task, addr, 16) == [3, 4, 8]


def test_the_mark_of_the_next_window_is_not_mapped_around(machine: Machine, task: Task) -> None:
    addr = file_mapped(machine, task, "1MiB", "ext4")
    touch(machine, task, addr, PAGE, write=False)
    touch(machine, task, addr + 17 * PAGE, PAGE, write=False)
    assert present(machine, task, addr, 32) == [*range(24), *range(25, 32)]


def test_a_write_maps_no_page_around(machine: Machine, task: Task) -> None:
    addr = mapped_again(machine, task, "64KiB")
    touch(machine, task, addr + PAGE, PAGE)
    assert present(machine, task, addr, 16) == [1]
    assert machine.counters["pgfault"] == 16 + 1


def test_shared_memory_reads_nothing_ahead(machine: Machine, task: Task) -> None:
    file, addr = file_of(machine, task, "256KiB")
    touch(machine, task, addr + 20 * PAGE, PAGE, write=False)
    assert cached(file) == [(20, 21)]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        pytest.param(INTERLEAVE, [[1, 0], [1, 1]] * 4, id="in turn"),
        pytest.param(WEIGHTED, [[3, 0], [1, 1]] * 2, id="by weight"),
    ],
)
def test_a_disk_files_pages_take_turns_by_the_tasks_cursor(
    machine: Machine, task: Task, mode: int, expected: list[list[int]]
) -> None:
    machine.weights = {0: 3}
    set_mempolicy(machine, task, mode, Nodemask.of(0, 1))
    addr = file_mapped(machine, task, "32KiB", "ext4")
    touch(machine, task, addr, 8 * PAGE, write=False)
    assert nodes_of(machine, task, addr, "32KiB") == expected
    assert task.il_prev == 1


def test_drop_caches_drops_what_is_clean_and_unmapped(machine: Machine, task: Task) -> None:
    file, addr = file_of(machine, task, "128KiB", "ext4")
    touch(machine, task, addr + 5 * PAGE, PAGE, write=False)
    touch(machine, task, addr, 2 * PAGE)
    hold(machine, task, addr + PAGE)
    munmap(machine, task, addr, 2 * PAGE)
    munmap(machine, task, addr + 6 * PAGE, 26 * PAGE)
    assert drop_caches(machine) == 26
    assert cached(file) == [(0, 6)]


@pytest.mark.parametrize(("write", "dropped"), [(False, 4), (True, 0)])
def test_drop_caches_drops_shared_memory_that_was_never_written(
    machine: Machine, task: Task, write: bool, dropped: int
) -> None:
    addr = file_mapped(machine, task, "16KiB")
    touch(machine, task, addr, 4 * PAGE, write=write)
    assert drop_caches(machine) == 0  # it is mapped
    munmap(machine, task, addr, 4 * PAGE)
    assert drop_caches(machine) == dropped


def test_dirty_pages_that_are_to_go_are_mapped_alone(machine: Machine, task: Task) -> None:
    addr = file_mapped(machine, task, "16KiB")
    touch(machine, task, addr, 4 * PAGE)
    madvise(machine, task, addr, 4 * PAGE, Madv.DONTNEED)
    drop_caches(machine)
    touch(machine, task, addr, PAGE, write=False)
    assert present(machine, task, addr, 4) == [0]


def test_fault_around_near_a_mappings_start_is_as_wide(machine: Machine, task: Task) -> None:
    space = new_file(machine, "256KiB")
    touch(machine, task, mapped(machine, task, "256KiB", space=space, is_shared=True), 256 << 10)
    addr = mapped(machine, task, "4KiB") + 3 * PAGE
    mmap(machine, task, addr, 32 * PAGE, "rw", space=space, is_shared=True)
    touch(machine, task, addr + 7 * PAGE, 7 * PAGE, write=False)
    assert present(machine, task, addr, 32) == [*range(16)]


@pytest.mark.parametrize("start", [0, 3, 500])
@pytest.mark.parametrize("seed", range(8))
def test_reads_of_cached_pages_are_the_same_together_and_one_by_one(
    machine: Machine, task: Task, start: int, seed: int
) -> None:
    chance = Random(seed)
    space, first = file_of(machine, task, "4MiB", "ext4")
    for _ in range(chance.randrange(12)):  # leaves gaps, and marks of the next read-ahead
        touch(machine, task, first + chance.randrange(1024) * PAGE, PAGE, write=False)
    addr = mapped(machine, task, "8MiB") + start * PAGE
    mmap(machine, task, addr, 700 * PAGE, "rw", space=space, offset=100 * PAGE)
    a = chance.randrange(300)
    nr = chance.randrange(1, 400)
    other, its = deepcopy((machine, task))
    touch(machine, task, addr + a * PAGE, nr * PAGE, write=False)
    for page in range(a, a + nr):
        touch(other, its, addr + page * PAGE, PAGE, write=False)
    assert task.mm.page_table.runs == its.mm.page_table.runs
    assert dict(machine.counters) == dict(other.counters)
    assert [node.memmap.runs for node in machine.nodes.values()] == [
        node.memmap.runs for node in other.nodes.values()
    ]
