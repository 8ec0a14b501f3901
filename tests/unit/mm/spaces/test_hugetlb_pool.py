"""Huge pages of the pools are reserved when they are mapped, and given back."""

import pytest

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.spaces.hugetlb_pool import dissolve_free_huge_pages
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.gup import pin, unpin
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.mempolicy import mbind, set_mempolicy
from pymigrate.syscalls.mmap import mlock, mprotect, munmap
from pymigrate.syscalls.process import exit_task, fork, touch
from pymigrate.uapi import MPOL
from pymigrate.views.proc import numa_maps
from tests.conftest import (
    HUGE,
    PAGE,
    errno_of,
    mapped,
    new_file,
    new_task,
    pfn_at,
    touched,
    two_nodes,
)
from tests.unit.mm.conftest import huge_pages, loaded, with_task


def with_pools(*nr: int, kernel: str = "6.12") -> Machine:
    """Two nodes whose pools have so many pages."""
    machine = two_nodes(kernel=kernel)
    for nid, count in enumerate(nr):
        set_nr_hugepages(machine, count, nid)
    return machine


@pytest.fixture
def machine() -> Machine:
    """Node 0's pool has two huge pages."""
    return with_pools(2)


def test_a_mapping_reserves_its_pages(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "4MiB", hugetlb=True)
    assert huge_pages(machine) == (2, 2)
    assert errno_of(mapped, machine, task, "2MiB", hugetlb=True) == "ENOMEM"
    munmap(machine, task, addr, 2 * HUGE)
    assert huge_pages(machine) == (2, 0)


def test_a_refused_mapping_leaves_nothing_behind(machine: Machine, task: Task) -> None:
    assert errno_of(mapped, machine, task, "6MiB", hugetlb=True) == "ENOMEM"
    assert (huge_pages(machine), machine.spaces, task.mm.vmas) == ((2, 0), {}, [])


def test_what_is_reserved_goes_with_its_process(machine: Machine, task: Task) -> None:
    mapped(machine, task, "4MiB", hugetlb=True)
    new_task(machine, "b")
    exit_task(machine, task)
    assert huge_pages(machine) == (2, 0)


def test_the_part_that_is_unmapped_is_given_back(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "4MiB", hugetlb=True)
    touch(machine, task, addr, PAGE)
    mprotect(machine, task, addr + HUGE, HUGE, "r")
    assert [vma.nr for vma in task.mm.vmas] == [512, 512]
    munmap(machine, task, addr + HUGE, HUGE)
    assert huge_pages(machine) == (1, 0)


def test_mappings_of_a_file_reserve_its_pages_once(machine: Machine, task: Task) -> None:
    file = new_file(machine, "4MiB", "hugetlbfs")
    first = mapped(machine, task, "2MiB", is_shared=True, space=file)
    assert huge_pages(machine) == (2, 1)
    mapped(machine, task, "4MiB", is_shared=True, space=file)
    assert huge_pages(machine) == (2, 2)
    touch(machine, task, first, PAGE)
    assert huge_pages(machine) == (1, 1)
    mapped(machine, new_task(machine, "b"), "4MiB", is_shared=True, space=file)
    assert huge_pages(machine) == (1, 1)


def test_a_bound_task_needs_pages_on_the_nodes_of_its_policy(machine: Machine, task: Task) -> None:
    set_mempolicy(machine, task, MPOL.BIND, Nodemask.of(1))
    assert errno_of(mapped, machine, task, "2MiB", hugetlb=True) == "ENOMEM"
    set_nr_hugepages(machine, 1, 1)
    mapped(machine, task, "2MiB", hugetlb=True)
    assert errno_of(mapped, machine, task, "4MiB", hugetlb=True) == "ENOMEM"


@pytest.mark.parametrize("policy", [MPOL.PREFERRED, MPOL.INTERLEAVE])
def test_other_policies_reserve_anywhere(machine: Machine, task: Task, policy: int) -> None:
    set_mempolicy(machine, task, policy, Nodemask.of(1))
    mapped(machine, task, "4MiB", hugetlb=True)
    assert huge_pages(machine) == (2, 2)


@pytest.mark.parametrize(
    "cut",
    [
        lambda machine, task, addr: munmap(machine, task, addr, PAGE),
        lambda machine, task, addr: mprotect(machine, task, addr, PAGE, "r"),
        lambda machine, task, addr: mbind(machine, task, addr, PAGE, MPOL.BIND, Nodemask.of(0), 0),
    ],
    ids=["munmap", "mprotect", "mbind"],
)
def test_no_mapping_is_cut_inside_a_page(machine: Machine, task: Task, cut: object) -> None:
    addr = mapped(machine, task, "4MiB", hugetlb=True)
    assert errno_of(cut, machine, task, addr + HUGE) == "EINVAL"
    assert huge_pages(machine) == (2, 2)


def dropped(machine: Machine, task: Task, addr: int) -> tuple[int, int]:
    """The pools once the first huge page is dropped."""
    madvise(machine, task, addr, HUGE, Madv.DONTNEED)
    return huge_pages(machine)


def test_a_page_that_its_owner_drops_is_reserved_again(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4MiB", hugetlb=True)
    assert dropped(machine, task, addr) == (1, 1)
    assert errno_of(mapped, machine, task, "2MiB", hugetlb=True) == "ENOMEM"
    touch(machine, task, addr, PAGE)
    assert huge_pages(machine) == (0, 0)


def test_older_kernels_do_not_reserve_it_again() -> None:
    machine, task = with_task(with_pools(2, kernel="6.1"))
    assert dropped(machine, task, touched(machine, task, "4MiB", hugetlb=True)) == (1, 0)


def test_it_is_not_reserved_again_where_there_is_a_surplus(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4MiB", hugetlb=True)
    set_nr_hugepages(machine, 1, 0)
    assert dropped(machine, task, addr) == (0, 0)


def test_a_page_that_a_child_maps_does_not_come_back(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4MiB", hugetlb=True)
    child = fork(machine, task, "child")
    assert dropped(machine, task, addr) == (0, 0)
    exit_task(machine, child)
    assert huge_pages(machine) == (1, 0)


def test_what_a_child_drops_is_not_reserved_for_it(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "2MiB", hugetlb=True)
    child = fork(machine, task, "child")
    touch(machine, child, addr, PAGE)
    assert dropped(machine, child, addr) == (1, 0)


def test_a_pinned_page_is_reserved_again_when_it_is_unpinned(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4MiB", hugetlb=True)
    pin(machine, task, addr, PAGE, is_long=True)
    assert dropped(machine, task, addr) == (0, 0)
    unpin(machine, task, addr, PAGE, is_long=True)
    assert huge_pages(machine) == (1, 1)


def test_the_last_page_back_is_used_first_and_is_dirty_still(machine: Machine, task: Task) -> None:
    munmap(machine, task, touched(machine, task, "4MiB", hugetlb=True), 4 << 20)
    addr = loaded(machine, task, "2MiB", hugetlb=True)
    used = pfn_at(task, addr)
    assert frame_of(machine, used).flags & FrameFlag.DIRTY
    munmap(machine, task, addr, 2 << 20)
    assert pfn_at(task, loaded(machine, task, "2MiB", hugetlb=True)) == used


def test_a_page_of_shared_memory_that_is_gone_is_clean(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4MiB", hugetlb=True, is_shared=True)
    munmap(machine, task, addr, 2 * HUGE)
    loaded(machine, task, "4MiB", hugetlb=True)
    assert [row.dirty for row in numa_maps.rows(machine, task)] == [0]


def test_a_child_that_lost_a_page_to_the_owner_gets_no_other(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4MiB", hugetlb=True)
    child = fork(machine, task, "child")
    touch(machine, task, addr, PAGE)
    exit_task(machine, task)
    assert touch(machine, child, addr, PAGE, write=False) == "SIGBUS"


def test_a_files_page_that_is_dropped_stays_cached(machine: Machine, task: Task) -> None:
    file = new_file(machine, "2MiB", "hugetlbfs")
    addr = touched(machine, task, "2MiB", space=file, is_shared=True)
    assert dropped(machine, task, addr) == (1, 0)


@pytest.mark.parametrize("is_long", [True, False], ids=["long", "short"])
def test_a_pinned_page_outlives_its_file(machine: Machine, task: Task, is_long: bool) -> None:
    addr = mapped(machine, task, "2MiB", hugetlb=True, is_shared=True)
    pin(machine, task, addr + HUGE // 2, PAGE, is_long)
    munmap(machine, task, addr, HUGE)
    assert huge_pages(machine) == (1, 0)
    unpin(machine, task, addr + HUGE // 2, PAGE, is_long)
    assert huge_pages(machine) == (2, 0)


def test_memory_made_writable_is_dirty_once_populated(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "2MiB", "r", hugetlb=True)
    touch(machine, task, addr, PAGE, write=False)
    mprotect(machine, task, addr, HUGE, "rw")
    mlock(machine, task, addr, HUGE)
    assert [row.dirty for row in numa_maps.rows(machine, task)] == [1]


def test_a_free_page_that_is_dissolved_is_a_surplus_one_first(machine: Machine, task: Task) -> None:
    mapped(machine, task, "4MiB", hugetlb=True)
    set_nr_hugepages(machine, 1, 0)
    set_nr_hugepages(machine, 1, 1)
    pool = machine.nodes[0].hugetlb
    assert (pool.nr, pool.surplus) == (2, 1)
    start = pool.free.runs[0].start
    dissolve_free_huge_pages(machine, start + 3, start + 4)
    assert (pool.nr, pool.surplus, pool.nr_free) == (1, 0, 1)
    assert huge_pages(machine) == (2, 2)
