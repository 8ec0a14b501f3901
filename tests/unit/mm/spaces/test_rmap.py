"""Where the pages of an owner may be mapped, and what a folio is as its entries go."""

from random import Random

import pytest

from pymigrate.mm.balance.scan import task_numa_work
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.spaces import rmap
from pymigrate.mm.spaces.rmap import mappings
from pymigrate.syscalls.mmap import mprotect, munmap
from pymigrate.syscalls.process import exit_task, fork, touch
from tests.conftest import HUGE, PAGE, mapped, new_file, new_task, touched, two_nodes
from tests.unit.mm.conftest import huge, with_task


def test_an_anonymous_page_lies_at_one_address_in_each_process_of_its_family() -> None:
    machine, task = with_task(two_nodes("4MiB"))
    page = touched(machine, task, "4KiB") >> 12
    new_task(machine, "stranger")
    child = fork(machine, task, "b")
    frame = frame_of(machine, 0)
    assert [
        (m.table, m.start, m.end, m.shift) for m in mappings(machine, frame, page, page + 1)
    ] == [(task.mm.page_table, page, page + 1, 0), (child.mm.page_table, page, page + 1, 0)]


def test_a_files_page_lies_in_the_cache_and_in_each_vma_that_covers_its_index() -> None:
    machine, task = with_task(two_nodes("4MiB"))
    file = new_file(machine, "64KiB")
    whole = touched(machine, task, "64KiB", space=file, is_shared=True) >> 12
    tail = mapped(machine, task, "32KiB", space=file, is_shared=True, offset=32768) >> 12
    mapped(machine, task, "64KiB", space=new_file(machine, "64KiB"))
    frame = frame_of(machine, 0)
    found = [tuple(m[1:]) for m in mappings(machine, frame, 4, 10)]
    assert found == [(4, 10, 0, None), (4, 10, whole, task.mm), (8, 10, tail - 8, task.mm)]


def test_many_walks_look_at_the_vmas_once(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, task = with_task(two_nodes("4MiB"))
    file, rnd = new_file(machine, "256KiB"), Random(3)
    touched(machine, task, "256KiB", space=file, is_shared=True)
    frame = frame_of(machine, 0)
    for who in (task, new_task(machine, "b")):
        for _ in range(20):
            at, nr = rnd.randrange(40), rnd.randrange(1, 24)
            mapped(machine, who, nr * PAGE, space=file, is_shared=True, offset=at * PAGE)
    ranges = [(a, a + nr) for a in range(64) for nr in (1, 3, 64 - a)]
    walks = [list(mappings(machine, frame, a, b)) for a, b in ranges]
    looks = []
    look = rmap._file_vmas
    monkeypatch.setattr(rmap, "_file_vmas", lambda *args: looks.append(args) or look(*args))
    files = rmap.MappedFiles(machine)
    assert [list(mappings(machine, frame, a, b, files)) for a, b in ranges] == walks
    assert looks == [(machine,)]


def test_vmas_that_begin_at_one_page_are_met_in_the_order_in_which_they_came_to() -> None:
    machine, task = with_task(two_nodes("4MiB"))
    addr = touched(machine, task, "16KiB")
    child = fork(machine, task, "b")
    for who in (task, child):
        mprotect(machine, who, addr, PAGE, "r")
    for who in (child, task):
        mprotect(machine, who, addr + PAGE, PAGE, "r")  # a page goes over to the VMA below
    page = (addr >> 12) + 3
    found = mappings(machine, frame_of(machine, 3), page, page + 1)
    assert [m.mm for m in found] == [child.mm, task.mm]


@pytest.mark.parametrize(("is_apart", "counted"), [(True, 1), (False, 0)])
def test_a_folio_that_goes_in_parts_is_partially_mapped_meanwhile(
    is_apart: bool, counted: int
) -> None:
    machine, task = with_task(two_nodes())
    machine.numa_balancing = 1
    addr = huge(machine, task, node=1)
    for prot in ("r", "rw"):
        mprotect(machine, task, addr, PAGE, prot)  # the huge entry is split
    assert task_numa_work(machine, task) == 512
    for prot in ("r", "rw") if is_apart else ():
        mprotect(machine, task, addr, PAGE, prot)  # the first one is accessible again
    munmap(machine, task, addr, HUGE)
    assert machine.counters["thp_deferred_split_page"] == counted
    assert machine.nodes[1].memmap.runs == []


def test_entries_of_a_batch_may_be_young_or_not() -> None:
    machine, task = with_task(two_nodes())
    addr = huge(machine, task)
    for prot in ("r", "rw"):
        mprotect(machine, task, addr, PAGE, prot)  # the huge entry is split
    child = fork(machine, task, "b")
    touch(machine, child, addr, PAGE, write=False)
    assert len(child.mm.page_table.runs) == 2
    exit_task(machine, task)
    before = machine.counters["thp_deferred_split_page"]
    munmap(machine, child, addr, HUGE)
    assert machine.counters["thp_deferred_split_page"] == before
