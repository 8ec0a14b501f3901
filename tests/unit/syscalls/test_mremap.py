"""mremap: what is refused, what goes along, and where it is found afterwards."""

import pytest

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.mempolicy import mbind
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.mmap import mlock, munmap
from pymigrate.syscalls.mremap import check_mremap, mremap
from pymigrate.syscalls.process import fork, touch
from pymigrate.syscalls.sysctl import write
from pymigrate.uapi import MPOL, MPOL_MF_MOVE_ALL, MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE
from tests.conftest import (
    BASE,
    HUGE,
    MIB,
    PAGE,
    check,
    errno_of,
    mapped,
    maps,
    new_file,
    nodes_of,
    pfn_at,
    touched,
    two_nodes,
)

FAR = BASE + (1 << 30)
TO = MREMAP_MAYMOVE | MREMAP_FIXED


@pytest.fixture
def machine() -> Machine:
    return two_nodes()


def layout(task: Task) -> list[tuple[int, int, int]]:
    """Address, bytes, and how far from its address its place in the object is, of each VMA."""
    return [(v.start << 12, v.nr << 12, (v.pgoff - v.start) << 12) for v in task.mm.vmas]


@pytest.mark.parametrize(
    ("old", "new", "flags", "to", "errno"),
    [
        pytest.param(MIB, MIB, 8, 0, "EINVAL", id="unknown flag"),
        pytest.param(MIB, MIB, MREMAP_FIXED, FAR, "EINVAL", id="fixed without maymove"),
        pytest.param(MIB, MIB, MREMAP_DONTUNMAP, FAR, "EINVAL", id="dontunmap without maymove"),
        pytest.param(MIB, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, FAR, "EINVAL", id="resized"),
        pytest.param(MIB, 0, 0, 0, "EINVAL", id="nothing"),
        pytest.param(0, MIB, TO, FAR, "EINVAL", id="private memory twice"),
        pytest.param(MIB, MIB, TO, FAR + 1, "EINVAL", id="inside a page"),
        pytest.param(MIB, MIB, TO, (1 << 47) - PAGE, "EINVAL", id="beyond the end"),
        pytest.param(MIB, MIB, TO, BASE + PAGE, "EINVAL", id="overlaps"),
        pytest.param(2 * MIB, 4 * MIB, MREMAP_MAYMOVE, 0, "EFAULT", id="longer than the mapping"),
    ],
)
def test_wrong_arguments_change_nothing(
    machine: Machine, task: Task, old: int, new: int, flags: int, to: int, errno: str
) -> None:
    addr = touched(machine, task, "1MiB")
    before = maps(machine, task)
    assert errno_of(mremap, machine, task, addr, old, new, flags, new_addr=to, room=FAR) == errno
    assert maps(machine, task) == before


def test_nothing_mapped_is_efault(machine: Machine, task: Task) -> None:
    assert errno_of(mremap, machine, task, BASE, PAGE, PAGE, 0) == "EFAULT"
    assert errno_of(mremap, machine, task, BASE + 1, PAGE, PAGE, 0) == "EINVAL"


def test_memory_grows_where_nothing_is_in_the_way(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "1MiB")
    assert mremap(machine, task, addr, MIB, 2 * MIB, 0) == addr
    assert layout(task) == [(addr, 2 * MIB, 0)]
    mapped(machine, task, "4KiB")
    assert errno_of(mremap, machine, task, addr, 2 * MIB, 8 * MIB, 0) == "ENOMEM"
    assert mremap(machine, task, addr, 2 * MIB, 8 * MIB, MREMAP_MAYMOVE, room=FAR) == FAR
    assert nodes_of(machine, task, FAR, "8MiB") == [[256, 0], [1792, -1]]


def test_growing_from_the_middle_moves(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "1MiB")
    assert errno_of(mremap, machine, task, addr, 4 * PAGE, 8 * PAGE, 0) == "ENOMEM"
    assert mremap(machine, task, addr, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE, room=FAR) == FAR
    assert layout(task)[0] == (addr + 4 * PAGE, MIB - 4 * PAGE, 0)
    check(machine)


def test_shrinking_unmaps_the_end(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "1MiB")
    assert mremap(machine, task, addr, MIB, 4 * PAGE, 0) == addr
    assert layout(task) == [(addr, 4 * PAGE, 0)]


def test_policy_and_pages_go_along_as_they_are(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "1MiB", node=1)
    mbind(machine, task, addr, MIB, MPOL.BIND, Nodemask.of(0), 0)
    pfn = pfn_at(task, addr)
    mremap(machine, task, addr, MIB, MIB, TO, new_addr=FAR)
    vma = task.mm.find_vma(FAR >> 12)
    assert vma is not None
    assert vma.policy is not None
    assert vma.policy.mode == MPOL.BIND
    assert pfn_at(task, FAR) == pfn
    assert layout(task) == [(FAR, MIB, addr - FAR)]
    check(machine)


def test_untouched_memory_has_its_place_where_it_is(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "1MiB")
    mremap(machine, task, addr, MIB, MIB, TO, new_addr=FAR)
    assert layout(task) == [(FAR, MIB, 0)]


def test_what_is_there_goes_with_fixed(machine: Machine, task: Task) -> None:
    addr, other = touched(machine, task, "64KiB"), touched(machine, task, "64KiB", node=1)
    mremap(machine, task, addr, 8 * PAGE, 4 * PAGE, TO, new_addr=other)
    assert nodes_of(machine, task, other, "64KiB") == [[4, 0], [12, 1]]
    assert nodes_of(machine, task, addr, "64KiB") == [[8, -1], [8, 0]]
    check(machine)


def test_parts_that_moved_together_are_one_again(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "64KiB")
    for at in (32, 0):
        mremap(machine, task, addr + at * 1024, 32768, 32768, TO, new_addr=FAR + at * 1024)
    assert layout(task) == [(FAR, 65536, addr - FAR)]


def test_dontunmap_leaves_an_empty_mapping_that_is_not_locked(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "64KiB")
    mlock(machine, task, addr, 65536)
    flags = MREMAP_MAYMOVE | MREMAP_DONTUNMAP
    assert mremap(machine, task, addr, 65536, 65536, flags, room=FAR) == FAR
    old, new = task.mm.vmas
    assert (old.flags & Vm.LOCKED, new.flags & Vm.LOCKED) == (0, Vm.LOCKED)
    assert (old.anon_vma, bool(new.anon_vma)) == (0, True)
    assert nodes_of(machine, task, addr, "64KiB") == [[16, -1]]
    touch(machine, task, addr, 65536)
    check(machine)


def test_locked_memory_that_grows_is_faulted_in(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "64KiB")
    mlock(machine, task, addr, 65536)
    mremap(machine, task, addr, 65536, 131072, 0)
    assert nodes_of(machine, task, addr, "128KiB") == [[32, 0]]
    mremap(machine, task, addr, 131072, 262144, TO, new_addr=FAR)
    assert nodes_of(machine, task, FAR, "256KiB") == [[64, 0]]


def test_shared_memory_is_mapped_twice(machine: Machine, task: Task) -> None:
    space = new_file(machine, "1MiB")
    addr = touched(machine, task, "64KiB", is_shared=True, space=space)
    mremap(machine, task, addr, 0, 65536, MREMAP_MAYMOVE, room=FAR)
    touch(machine, task, FAR, 65536)
    assert pfn_at(task, FAR) == pfn_at(task, addr)
    assert [vma.pgoff for vma in task.mm.vmas] == [0, 0]


def test_policy_that_cuts_a_mapping_keeps_it_from_moving(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "64KiB")
    mbind(machine, task, addr, 32768, MPOL.BIND, Nodemask.of(0), 0)
    assert errno_of(check_mremap, task, addr, 65536, 65536, TO, FAR) == "EFAULT"
    check_mremap(task, addr, 32768, 32768, TO, FAR)


def huge(machine: Machine, task: Task) -> int:
    """Two huge pages."""
    machine.thp = "always"
    return touched(machine, task, "4MiB")


def test_huge_pages_move_whole_to_an_aligned_place(machine: Machine, task: Task) -> None:
    addr = huge(machine, task)
    mremap(machine, task, addr, 3 * MIB, 3 * MIB, TO, new_addr=FAR)
    orders = [run.order for run in task.mm.page_table.runs]
    assert orders == [0, 9, 0]
    assert machine.counters["thp_split_pmd"] == 1


@pytest.mark.parametrize("has_child", [False, True], ids=["alone", "with a child"])
def test_huge_page_at_an_odd_place_is_found_whole(
    machine: Machine, task: Task, has_child: bool
) -> None:
    addr = huge(machine, task)
    if has_child:
        fork(machine, task, "child")
    mremap(machine, task, addr, HUGE, HUGE, TO, new_addr=FAR + PAGE)
    mbind(machine, task, FAR + PAGE, HUGE, MPOL.BIND, Nodemask.of(1), MPOL_MF_MOVE_ALL)
    assert nodes_of(machine, task, FAR + PAGE, "2MiB") == [[512, 1]]
    assert machine.counters["thp_migration_success"] == 1
    check(machine)


def test_child_finds_what_its_parent_has_moved(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "64KiB")
    child = fork(machine, task, "child")
    mremap(machine, task, addr, 65536, 65536, TO, new_addr=FAR)
    root = machine.shell_of(0)
    migrate_pages(machine, root, child, Nodemask.of(0), Nodemask.of(1))
    assert nodes_of(machine, task, FAR, "64KiB") == [[16, 1]]
    mbind(machine, child, addr, 32768, MPOL.BIND, Nodemask.of(0), MPOL_MF_MOVE_ALL)
    assert nodes_of(machine, task, FAR, "64KiB") == [[8, 0], [8, 1]]
    check(machine)


def test_new_memory_at_the_old_place_is_not_taken_for_the_moved_one(
    machine: Machine, task: Task
) -> None:
    addr = touched(machine, task, "64KiB")
    fork(machine, task, "child")
    mremap(machine, task, addr, 65536, 65536, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, room=FAR)
    touch(machine, task, addr, 65536)
    mbind(machine, task, addr, 65536, MPOL.BIND, Nodemask.of(1), MPOL_MF_MOVE_ALL)
    assert nodes_of(machine, task, addr, "64KiB") == [[16, 1]]
    assert nodes_of(machine, task, FAR, "64KiB") == [[16, 0]]
    check(machine)


def test_part_of_hugetlb_memory_takes_all_that_was_reserved(machine: Machine, task: Task) -> None:
    """What was reserved for the rest is lost: the new mapping alone knows of it."""
    write(machine, machine.shell_of(0), "nr_hugepages", "4", 0)
    addr = mapped(machine, task, "6MiB", hugetlb=True)
    assert errno_of(mremap, machine, task, addr, HUGE, 2 * HUGE, MREMAP_MAYMOVE) == "EINVAL"
    assert errno_of(mremap, machine, task, addr + PAGE, HUGE, HUGE, TO, new_addr=FAR) == "EINVAL"
    mremap(machine, task, addr, HUGE, HUGE, TO, new_addr=FAR)
    assert machine.resv_huge_pages == 3
    assert [vma.is_resv_owner for vma in task.mm.vmas] == [False, True]
    assert touch(machine, task, FAR, HUGE) is None
    munmap(machine, task, addr + HUGE, 2 * HUGE)
    assert machine.resv_huge_pages == 2
