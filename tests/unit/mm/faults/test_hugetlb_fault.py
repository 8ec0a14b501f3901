"""Faults in memory of the hugetlb pools: what is mapped, and who gets the last page."""

import pytest

from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.gup import pin
from pymigrate.syscalls.mempolicy import set_mempolicy
from pymigrate.syscalls.mmap import mprotect, munmap
from pymigrate.syscalls.process import exit_task, fork, touch
from pymigrate.uapi import MPOL
from tests.conftest import (
    HUGE,
    PAGE,
    flags_at,
    mapped,
    new_file,
    new_task,
    nodes_of,
    pfn_at,
    two_nodes,
)
from tests.unit.mm.conftest import frame_at, huge_pages

READ = Pte.PRESENT | Pte.YOUNG
STORED = READ | Pte.WRITE | Pte.DIRTY


@pytest.fixture
def machine() -> Machine:
    """Node 0's pool has two huge pages, node 1's none."""
    machine = two_nodes()
    set_nr_hugepages(machine, 2, 0)
    return machine


def test_a_store_maps_a_reserved_page_with_one_fault(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "4MiB", hugetlb=True)
    assert huge_pages(machine) == (2, 2)
    machine.counters.clear()
    assert touch(machine, task, addr + 5 * PAGE, PAGE) is None
    assert flags_at(task, addr) == STORED | Pte.EXCLUSIVE
    assert frame_at(machine, task, addr).flags == FrameFlag.ANON | FrameFlag.HUGETLB
    assert machine.counters["pgfault"] == 1
    assert huge_pages(machine) == (1, 1)


def test_a_load_maps_private_memory_for_reading(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "2MiB", hugetlb=True)
    machine.counters.clear()
    touch(machine, task, addr, PAGE, write=False)
    pfn = pfn_at(task, addr)
    assert flags_at(task, addr) == READ | Pte.EXCLUSIVE
    touch(machine, task, addr + PAGE, PAGE, write=False)
    assert machine.counters["pgfault"] == 1
    touch(machine, task, addr, PAGE)
    assert (pfn_at(task, addr), flags_at(task, addr)) == (pfn, STORED | Pte.EXCLUSIVE)
    touch(machine, task, addr, PAGE)
    assert machine.counters["pgfault"] == 2
    assert huge_pages(machine) == (1, 0)


@pytest.mark.parametrize(
    ("prot", "flags"), [("rw", STORED), ("r", READ)], ids=["writable", "read-only"]
)
def test_a_load_maps_shared_memory_as_it_may_be_used(
    machine: Machine, task: Task, prot: str, flags: int
) -> None:
    addr = mapped(machine, task, "2MiB", prot, hugetlb=True, is_shared=True)
    touch(machine, task, addr, PAGE, write=False)
    assert flags_at(task, addr) == flags
    expected = FrameFlag.HUGETLB | FrameFlag.DIRTY
    assert frame_at(machine, task, addr).flags == expected
    assert huge_pages(machine) == (1, 0)


def test_mappings_of_a_file_share_its_page(machine: Machine, task: Task) -> None:
    file = new_file(machine, "2MiB", "hugetlbfs")
    addr = mapped(machine, task, "2MiB", is_shared=True, space=file)
    other = new_task(machine, "b")
    there = mapped(machine, other, "2MiB", is_shared=True, space=file)
    touch(machine, task, addr, PAGE)
    touch(machine, other, there, PAGE)
    assert pfn_at(task, addr) == pfn_at(other, there)
    assert frame_at(machine, task, addr).pmd_maps == 2
    assert huge_pages(machine) == (1, 0)


def test_a_store_into_a_private_mapping_copies_the_files_page(machine: Machine, task: Task) -> None:
    file = new_file(machine, "2MiB", "hugetlbfs")
    other = new_task(machine, "b")
    touch(machine, other, mapped(machine, other, "2MiB", is_shared=True, space=file), PAGE)
    addr = mapped(machine, task, "2MiB", space=file)
    touch(machine, task, addr, PAGE, write=False)
    cached = pfn_at(task, addr)
    assert flags_at(task, addr) == READ
    touch(machine, task, addr, PAGE)
    assert pfn_at(task, addr) != cached
    assert flags_at(task, addr) == STORED | Pte.EXCLUSIVE
    assert frame_of(machine, cached).pmd_maps == 1
    assert huge_pages(machine) == (0, 0)


def test_a_store_that_has_no_page_for_the_copy_is_sigbus(machine: Machine, task: Task) -> None:
    """The copy of a file's page that was cached when the mapping was made is not reserved."""
    file = new_file(machine, "4MiB", "hugetlbfs")
    addr = mapped(machine, task, "4MiB", is_shared=True, space=file)
    touch(machine, task, addr, 2 * HUGE)
    child = fork(machine, task, "child")
    mprotect(machine, child, addr, HUGE, "r")
    set_nr_hugepages(machine, 3, 0)
    there = mapped(machine, task, "2MiB", space=file)
    touch(machine, task, there, PAGE, write=False)
    copier = fork(machine, task, "copier")
    assert touch(machine, copier, there, PAGE) == "SIGBUS"  # what is left is its parent's
    assert touch(machine, task, there, PAGE) is None
    assert huge_pages(machine) == (0, 0)


def test_beyond_the_end_of_a_file_is_sigbus(machine: Machine, task: Task) -> None:
    file = new_file(machine, "2MiB", "hugetlbfs")
    addr = mapped(machine, task, "4MiB", is_shared=True, space=file)
    file.size = HUGE
    assert touch(machine, task, addr, PAGE) is None
    assert touch(machine, task, addr + HUGE, PAGE) == "SIGBUS"


def forked(machine: Machine, task: Task, size: str = "2MiB") -> tuple[int, Task]:
    """Private memory of which the first huge page was stored into before a fork."""
    addr = mapped(machine, task, size, hugetlb=True)
    touch(machine, task, addr, PAGE)
    return addr, fork(machine, task, "child")


def test_a_child_that_stores_gets_a_copy(machine: Machine, task: Task) -> None:
    addr, child = forked(machine, task)
    touch(machine, child, addr, PAGE)
    assert pfn_at(child, addr) != pfn_at(task, addr)
    assert flags_at(child, addr) == STORED | Pte.EXCLUSIVE
    assert frame_at(machine, task, addr).pmd_maps == 1
    assert huge_pages(machine) == (0, 0)


def test_a_child_is_killed_where_only_reserved_pages_are_left(machine: Machine, task: Task) -> None:
    addr, child = forked(machine, task, "4MiB")
    assert touch(machine, child, addr, PAGE) == "SIGBUS"
    assert touch(machine, child, addr + HUGE, PAGE, write=False) == "SIGBUS"
    assert touch(machine, task, addr + HUGE, PAGE) is None
    assert huge_pages(machine) == (0, 0)


def test_a_parent_that_stores_copies_to_what_is_not_reserved(machine: Machine, task: Task) -> None:
    addr, child = forked(machine, task)
    old = pfn_at(task, addr)
    touch(machine, task, addr, PAGE)
    assert pfn_at(child, addr) == old != pfn_at(task, addr)
    assert huge_pages(machine) == (0, 0)


def test_a_parent_takes_the_last_page_from_its_children(machine: Machine, task: Task) -> None:
    addr, child = forked(machine, task, "4MiB")
    other = fork(machine, task, "other")
    munmap(machine, other, addr, 2 * HUGE)
    pfn = pfn_at(task, addr)
    assert touch(machine, task, addr, PAGE) is None
    assert (pfn_at(task, addr), flags_at(task, addr)) == (pfn, STORED | Pte.EXCLUSIVE)
    assert child.mm.page_table.at(addr // PAGE) is None
    assert huge_pages(machine) == (1, 1)  # the other page is still reserved
    assert touch(machine, child, addr, PAGE) == "SIGBUS"


def test_the_last_one_that_maps_a_page_stores_into_it(machine: Machine, task: Task) -> None:
    addr, child = forked(machine, task)
    pfn = pfn_at(task, addr)
    exit_task(machine, task)
    touch(machine, child, addr, PAGE)
    assert (pfn_at(child, addr), flags_at(child, addr)) == (pfn, STORED | Pte.EXCLUSIVE)


def test_a_pinned_page_is_copied_by_the_fork(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "2MiB", hugetlb=True)
    touch(machine, task, addr, PAGE)
    pin(machine, task, addr, PAGE, is_long=True)
    machine.counters.clear()
    child = fork(machine, task, "child")
    assert machine.counters["pgfault"] == 0
    assert pfn_at(child, addr) != pfn_at(task, addr)
    assert flags_at(task, addr) == STORED | Pte.EXCLUSIVE


@pytest.mark.parametrize(
    ("mode", "nodes", "expected"),
    [
        (MPOL.INTERLEAVE, "0-1", [[512, 0], [512, 1]]),
        (MPOL.BIND, "1", [[1024, 1]]),
        (MPOL.PREFERRED, "1", [[1024, 1]]),
        (MPOL.LOCAL, "", [[1024, 0]]),
    ],
    ids=["interleaved", "bound", "preferred", "local"],
)
def test_the_page_is_of_the_node_that_the_policy_names(
    machine: Machine, task: Task, mode: int, nodes: str, expected: list[list[int]]
) -> None:
    set_nr_hugepages(machine, 2, 1)
    addr = mapped(machine, task, "4MiB", hugetlb=True)
    set_mempolicy(machine, task, mode, Nodemask.parse(nodes))
    touch(machine, task, addr, 2 * HUGE)
    assert nodes_of(machine, task, addr, "4MiB") == expected


def test_an_empty_pool_is_passed_over(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 1, 1)
    addr = mapped(machine, task, "6MiB", hugetlb=True)
    touch(machine, task, addr, 3 * HUGE)
    assert nodes_of(machine, task, addr, "6MiB") == [[1024, 0], [512, 1]]


def test_a_reserved_page_of_another_node_does_not_help(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "2MiB", hugetlb=True)
    set_mempolicy(machine, task, MPOL.BIND, Nodemask.of(1))
    assert touch(machine, task, addr, PAGE) == "SIGBUS"
    assert huge_pages(machine) == (2, 1)
