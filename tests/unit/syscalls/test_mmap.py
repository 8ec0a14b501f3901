"""mmap, munmap, mprotect, mlock: what is refused, and the VMAs that come of it."""

import pytest

from pymigrate.mm.base.pte import Pte
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls.mempolicy import mbind, set_mempolicy
from pymigrate.syscalls.mmap import (
    checked_range,
    mlock,
    mmap,
    mprotect,
    munlock,
    munmap,
    place_region,
    prot_flags,
)
from pymigrate.syscalls.process import fork, touch
from tests.conftest import (
    BASE,
    PAGE,
    errno_of,
    flags_at,
    mapped,
    maps,
    new_file,
    new_task,
    nodes_of,
    touched,
    two_nodes,
)
from tests.property.invariants import check

TOP = 1 << 64


def layout(task: Task, base: int) -> list[tuple[int, int]]:
    return [(vma.start - (base >> 12), vma.nr) for vma in task.mm.vmas]


@pytest.mark.parametrize(
    ("addr", "length", "pages"),
    [
        pytest.param(0x2000, 0x2000, (2, 4), id="pages"),
        pytest.param(0x2000, 1, (2, 3), id="rounded up"),
        pytest.param(0x2000, 0, (2, 2), id="nothing"),
        pytest.param(0x2000, TOP - 1, (2, 2), id="wraps when rounded"),
    ],
)
def test_a_range_in_pages(addr: int, length: int, pages: tuple[int, int]) -> None:
    assert checked_range(addr, length) == pages


def test_a_range_that_wraps_is_einval() -> None:
    assert errno_of(checked_range, TOP - PAGE, 2 * PAGE) == "EINVAL"
    assert errno_of(checked_range, 2 * PAGE, TOP - 2 * PAGE) == "EINVAL"


@pytest.mark.parametrize(
    ("prot", "flags"),
    [("rw", 3), ("r", 1), ("w", 2), ("rwx", 7), ("r-x", 5), ("none", 0), ("", 0), ("---", 0)],
)
def test_protections(prot: str, flags: int) -> None:
    assert prot_flags(prot) == flags


def test_an_unknown_protection_is_einval() -> None:
    assert errno_of(prot_flags, "rq") == "EINVAL"


@pytest.mark.parametrize(
    ("addr", "length", "offset"),
    [(BASE, 0, 0), (BASE + 1, PAGE, 0), (BASE, PAGE, 100)],
    ids=["length 0", "address", "offset"],
)
def test_what_mmap_refuses(
    machine: Machine, task: Task, addr: int, length: int, offset: int
) -> None:
    file = new_file(machine, "16KiB")
    call = (machine, task, addr, length, "rw")
    assert errno_of(mmap, *call, space=file, offset=offset) == "EINVAL"


def test_adjacent_mappings_are_one(machine: Machine, task: Task) -> None:
    for page in (0, 2, 1):
        mmap(machine, task, BASE + page * PAGE, PAGE, "rw")
    assert layout(task, BASE) == [(0, 3)]


def test_a_mapping_does_not_merge_with_one_that_has_a_policy(machine: Machine, task: Task) -> None:
    mmap(machine, task, BASE, PAGE, "rw")
    mbind(machine, task, BASE, PAGE, 2, Nodemask.of(1), 0)
    mmap(machine, task, BASE + PAGE, PAGE, "rw")
    assert layout(task, BASE) == [(0, 1), (1, 1)]


def test_each_shared_anonymous_mapping_is_an_object_of_its_own(
    machine: Machine, task: Task
) -> None:
    for page in (0, 1):
        mmap(machine, task, BASE + page * PAGE, PAGE, "rw", is_shared=True)
    assert layout(task, BASE) == [(0, 1), (1, 1)]
    assert len(machine.spaces) == 2


def test_two_parts_of_a_file_that_continue_are_one(machine: Machine, task: Task) -> None:
    file = new_file(machine, "64KiB")
    for page in (0, 1, 3):
        mmap(machine, task, BASE + page * PAGE, PAGE, "r", space=file, offset=(page + 5) * PAGE)
    mmap(machine, task, BASE + 2 * PAGE, PAGE, "r", space=file, offset=0)
    assert layout(task, BASE) == [(0, 2), (2, 1), (3, 1)]


@pytest.mark.parametrize(
    ("how", "line"),
    [
        pytest.param({}, "anon=4 dirty=4 active=0 N0=4", id="private"),
        pytest.param({"is_shared": True}, "mapped=4 active=0 N0=4", id="shared: read, so clean"),
        pytest.param({"prot": "r"}, "", id="read-only: zero pages"),
        pytest.param({"prot": "none"}, "", id="inaccessible: nothing"),
    ],
)
def test_populating(machine: Machine, task: Task, how: dict[str, object], line: str) -> None:
    mapped(machine, task, "16KiB", populate=True, **how)  # type: ignore[arg-type]
    (text,) = maps(machine, task)
    text = text.removesuffix(" kernelpagesize_kB=4").removeprefix("default")
    assert text.removeprefix(" file=/dev/zero\\040(deleted)").strip() == line


def test_populating_behind_a_files_end_is_no_error(machine: Machine, task: Task) -> None:
    addr = mapped(
        machine, task, "16KiB", space=new_file(machine, "8KiB"), is_shared=True, populate=True
    )
    assert nodes_of(machine, task, addr, "16KiB") == [[2, 0], [2, -1]]


def test_regions_lie_one_behind_the_other_with_a_page_between(machine: Machine, task: Task) -> None:
    assert place_region(machine, task, "a", 5000, 2 << 20) == BASE
    assert place_region(machine, task, "b", PAGE, PAGE) == BASE + 3 * PAGE
    assert place_region(machine, task, "c", PAGE, 2 << 20) == BASE + (2 << 20)
    assert machine.regions["a", "b"].nr == 1


# munmap


@pytest.mark.parametrize(
    ("addr", "length"),
    [(BASE + 1, PAGE), (BASE, 0), ((1 << 47) - PAGE, PAGE)],
    ids=["address", "length 0", "beyond the address space"],
)
def test_what_munmap_refuses(machine: Machine, task: Task, addr: int, length: int) -> None:
    assert errno_of(munmap, machine, task, addr, length) == "EINVAL"


def test_unmapping_nothing_is_fine_and_drains_nothing(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    munmap(machine, task, addr + (4 << 20), PAGE)
    assert machine.lru_batches


def test_unmapping_splits_vmas_and_drains_this_cpu(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "32KiB")
    munmap(machine, task, addr + 2 * PAGE, 100)
    assert layout(task, addr) == [(0, 2), (3, 5)]
    assert not machine.lru_batches
    check(machine)


# mprotect


@pytest.mark.parametrize(
    ("offset", "length", "prot", "errno"),
    [
        pytest.param(1, PAGE, "r", "EINVAL", id="address"),
        pytest.param(0, 2 * PAGE, "q", "EINVAL", id="protection"),
        pytest.param(0, 9 * PAGE, "r", "ENOMEM", id="hole behind"),
        pytest.param(-PAGE, 2 * PAGE, "r", "ENOMEM", id="hole before"),
        pytest.param(0, TOP - PAGE, "r", "ENOMEM", id="wraps"),
    ],
)
def test_what_mprotect_refuses(
    machine: Machine, task: Task, offset: int, length: int, prot: str, errno: str
) -> None:
    addr = mapped(machine, task, "16KiB")
    assert errno_of(mprotect, machine, task, addr + offset, length, prot) == errno


def test_protecting_nothing_is_fine(machine: Machine, task: Task) -> None:
    mprotect(machine, task, BASE, 0, "r")


def test_memory_before_a_hole_is_changed(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    munmap(machine, task, addr + 2 * PAGE, PAGE)
    assert errno_of(mprotect, machine, task, addr, 4 * PAGE, "none") == "ENOMEM"
    assert [vma.flags & Vm.ACCESS for vma in task.mm.vmas] == [0, Vm.READ | Vm.WRITE]


def test_protection_splits_and_joins_vmas(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    mprotect(machine, task, addr + PAGE, 2 * PAGE, "r")
    assert layout(task, addr) == [(0, 1), (1, 2), (3, 1)]
    mprotect(machine, task, addr, 4 * PAGE, "rw")
    assert layout(task, addr) == [(0, 4)]


def test_inaccessible_pages_stay_where_they_are(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    mprotect(machine, task, addr, 4 * PAGE, "none")
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 0]]
    assert maps(machine, task)[0].startswith("default anon=4 dirty=4")


def test_6_1_does_not_show_inaccessible_pages() -> None:
    machine = two_nodes(kernel="6.1")
    task = new_task(machine)
    addr = touched(machine, task, "16KiB")
    mprotect(machine, task, addr + PAGE, PAGE, "none")
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 0], [1, -1], [2, 0]]


@pytest.mark.parametrize(
    ("setup", "writable"), [("written", True), ("shared with a child", False), ("zero page", False)]
)
def test_private_entries_become_writable_at_once_if_they_are_exclusive_and_dirty(
    machine: Machine, task: Task, setup: str, writable: bool
) -> None:
    addr = mapped(machine, task, "4KiB")
    touch(machine, task, addr, PAGE, write=setup != "zero page")
    if setup == "shared with a child":
        fork(machine, task, "b")
    mprotect(machine, task, addr, PAGE, "r")
    mprotect(machine, task, addr, PAGE, "rw")
    assert bool(flags_at(task, addr) & Pte.WRITE) is writable


@pytest.mark.parametrize(
    ("fs", "write", "writable"),
    [("tmpfs", False, True), ("tmpfs", True, True), ("ext4", True, True), ("ext4", False, False)],
)
def test_shared_entries_become_writable_if_no_store_need_be_noticed(
    machine: Machine, task: Task, fs: str, write: bool, writable: bool
) -> None:
    addr = mapped(machine, task, "4KiB", space=new_file(machine, "4KiB", fs), is_shared=True)
    touch(machine, task, addr, PAGE, write)
    mprotect(machine, task, addr, PAGE, "r")
    mprotect(machine, task, addr, PAGE, "rw")
    assert bool(flags_at(task, addr) & Pte.WRITE) is writable


def test_read_only_memory_counts_as_accounted_once_it_was_writable(
    machine: Machine, task: Task
) -> None:
    addr = mapped(machine, task, "16KiB", "r")
    mprotect(machine, task, addr, PAGE, "rw")
    mprotect(machine, task, addr, PAGE, "r")
    assert layout(task, addr) == [(0, 4)]  # never written, so it is as it was
    mprotect(machine, task, addr, PAGE, "rw")
    touch(machine, task, addr, PAGE)
    mprotect(machine, task, addr, PAGE, "r")
    assert layout(task, addr) == [(0, 1), (1, 3)]


# mlock


def test_locking_faults_everything_in(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    mlock(machine, task, addr + 100, PAGE)
    assert layout(task, addr) == [(0, 2), (2, 2)]
    assert nodes_of(machine, task, addr, "16KiB") == [[2, 0], [2, -1]]
    assert maps(machine, task)[0] == "default anon=2 dirty=2 N0=2 kernelpagesize_kB=4"


def test_locking_breaks_copy_on_write(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    child = fork(machine, task, "b")
    set_mempolicy(machine, child, 2, Nodemask.of(1))
    mlock(machine, child, addr, 4 * PAGE)
    assert nodes_of(machine, child, addr, "16KiB") == [[4, 1]]
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 0]]


def test_locking_read_only_memory_maps_zero_pages(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB", "r")
    mlock(machine, task, addr, 4 * PAGE)
    assert flags_at(task, addr) == Pte.PRESENT | Pte.YOUNG


@pytest.mark.parametrize(("start", "pages"), [(0, 5), (-1, 2), (9, 1)])
def test_a_hole_is_enomem_with_what_lies_before_it_locked_and_absent(
    machine: Machine, task: Task, start: int, pages: int
) -> None:
    addr = mapped(machine, task, "16KiB")
    where = (addr + start * PAGE, pages * PAGE)
    assert errno_of(mlock, machine, task, *where) == "ENOMEM"
    assert bool(task.mm.vmas[0].flags & Vm.LOCKED) is (start == 0)
    assert nodes_of(machine, task, addr, "16KiB") == [[4, -1]]
    assert errno_of(munlock, machine, task, *where) == "ENOMEM"


def test_pages_that_cannot_be_had_are_enomem(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB", space=new_file(machine, "8KiB"), is_shared=True)
    assert errno_of(mlock, machine, task, addr, 4 * PAGE) == "ENOMEM"
    addr = mapped(machine, task, "16KiB", "none")
    assert errno_of(mlock, machine, task, addr, 4 * PAGE) == "ENOMEM"


def test_unlocking_unlocks_the_pages(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    mlock(machine, task, addr, 4 * PAGE)
    assert maps(machine, task) == ["default anon=4 dirty=4 N0=4 kernelpagesize_kB=4"]
    munlock(machine, task, addr, 4 * PAGE)
    assert maps(machine, task) == ["default anon=4 dirty=4 active=0 N0=4 kernelpagesize_kB=4"]


def test_device_memory_is_not_locked(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    task.mm.vmas[0].flags |= Vm.IO
    munlock(machine, task, addr, 4 * PAGE)
    mlock(machine, task, addr, 4 * PAGE)
    assert not task.mm.vmas[0].flags & Vm.LOCKED
