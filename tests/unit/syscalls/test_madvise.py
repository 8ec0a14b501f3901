"""madvise: which advice is taken where, and what it does to VMAs and pages."""

import pytest

from pymigrate.errors import UnsupportedError
from pymigrate.mm.base.advice import Madv
from pymigrate.mm.frames.lru_batches import waiting_pfns
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm
from pymigrate.syscalls.madvise import madvise, process_madvise
from pymigrate.syscalls.mmap import mlock, munmap
from pymigrate.syscalls.process import fork, touch
from tests.conftest import (
    BASE,
    PAGE,
    errno_of,
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


@pytest.mark.parametrize(
    ("addr", "length", "advice"),
    [
        pytest.param(BASE, PAGE, 99, id="advice"),
        pytest.param(BASE + 1, PAGE, Madv.NORMAL, id="address"),
        pytest.param(BASE, TOP - 1, Madv.NORMAL, id="length that rounds to 0"),
        pytest.param(TOP - PAGE, 2 * PAGE, Madv.NORMAL, id="wraps"),
    ],
)
def test_what_is_refused(machine: Machine, task: Task, addr: int, length: int, advice: int) -> None:
    assert errno_of(madvise, machine, task, addr, length, advice) == "EINVAL"


def test_advice_about_nothing_is_fine(machine: Machine, task: Task) -> None:
    madvise(machine, task, BASE, 0, Madv.DONTNEED)


@pytest.mark.parametrize("advice", [Madv.DONTNEED, Madv.RANDOM, Madv.COLD])
def test_what_lies_around_a_hole_is_done_and_then_enomem(
    machine: Machine, task: Task, advice: Madv
) -> None:
    addr = touched(machine, task, "16KiB")
    munmap(machine, task, addr + PAGE, PAGE)
    assert errno_of(madvise, machine, task, addr, 4 * PAGE, advice) == "ENOMEM"
    if advice == Madv.DONTNEED:
        assert nodes_of(machine, task, addr, "16KiB") == [[4, -1]]
    if advice == Madv.RANDOM:
        assert all(vma.flags & Vm.RAND_READ for vma in task.mm.vmas)


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        ([Madv.RANDOM], Vm.RAND_READ),
        ([Madv.SEQUENTIAL], Vm.SEQ_READ),
        ([Madv.RANDOM, Madv.SEQUENTIAL], Vm.SEQ_READ),
        ([Madv.SEQUENTIAL, Madv.RANDOM], Vm.RAND_READ),
        ([Madv.RANDOM, Madv.NORMAL], 0),
        ([Madv.HUGEPAGE], Vm.HUGEPAGE),
        ([Madv.HUGEPAGE, Madv.NOHUGEPAGE], Vm.NOHUGEPAGE),
        ([Madv.DONTFORK], Vm.DONTCOPY),
        ([Madv.DONTFORK, Madv.DOFORK], 0),
        ([Madv.MERGEABLE], Vm.MERGEABLE),
        ([Madv.MERGEABLE, Madv.UNMERGEABLE], 0),
    ],
)
def test_advice_that_is_a_flag(machine: Machine, task: Task, given: list[Madv], flags: int) -> None:
    addr = mapped(machine, task, "12KiB")
    before = task.mm.vmas[0].flags
    for advice in given:
        madvise(machine, task, addr + PAGE, PAGE, advice)
    assert task.mm.find_vma((addr >> 12) + 1).flags == before | flags  # type: ignore[union-attr]
    assert len(task.mm.vmas) == (3 if flags else 1)


def test_shared_memory_is_never_mergeable(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "4KiB", is_shared=True)
    madvise(machine, task, addr, PAGE, Madv.MERGEABLE)
    assert not task.mm.vmas[0].flags & Vm.MERGEABLE


def test_device_memory_is_never_inherited(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "4KiB")
    task.mm.vmas[0].flags |= Vm.IO
    assert errno_of(madvise, machine, task, addr, PAGE, Madv.DOFORK) == "EINVAL"


def test_dontneed_frees_and_the_next_read_finds_zeros(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    madvise(machine, task, addr + PAGE, 2 * PAGE, Madv.DONTNEED)
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 0], [2, -1], [1, 0]]
    assert machine.nodes[0].nr_free == 1022
    touch(machine, task, addr + PAGE, PAGE, write=False)
    assert machine.nodes[0].nr_free == 1022
    check(machine)


def test_dontneed_of_shared_memory_leaves_it_cached(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB", is_shared=True)
    madvise(machine, task, addr, 4 * PAGE, Madv.DONTNEED)
    assert nodes_of(machine, task, addr, "16KiB") == [[4, -1]]
    assert machine.nodes[0].nr_free == 1020


@pytest.mark.parametrize("advice", [Madv.DONTNEED, Madv.FREE, Madv.COLD, Madv.PAGEOUT])
def test_locked_memory_is_refused(machine: Machine, task: Task, advice: Madv) -> None:
    addr = mapped(machine, task, "4KiB")
    mlock(machine, task, addr, PAGE)
    assert errno_of(madvise, machine, task, addr, PAGE, advice) == "EINVAL"


@pytest.mark.parametrize("advice", [Madv.DONTNEED, Madv.FREE, Madv.COLD, Madv.PAGEOUT])
def test_this_cpus_batch_is_drained(machine: Machine, task: Task, advice: Madv) -> None:
    addr = touched(machine, task, "16KiB")
    other = new_task(machine, "b", cpu=1)
    touched(machine, other, "16KiB")
    theirs = list(machine.lru_batches[1].waiting)
    madvise(machine, task, addr, PAGE, advice)
    assert waiting_pfns(machine) == set(theirs)


@pytest.mark.parametrize(
    "how",
    [{"is_shared": True}, {"file": "tmpfs"}, {"file": "ext4"}],
    ids=["shared", "tmpfs", "ext4"],
)
def test_only_private_anonymous_memory_can_be_freed(
    machine: Machine, task: Task, how: dict[str, object]
) -> None:
    space = new_file(machine, "4KiB", str(how["file"])) if "file" in how else None
    addr = mapped(machine, task, "4KiB", space=space, is_shared="is_shared" in how)
    assert errno_of(madvise, machine, task, addr, PAGE, Madv.FREE) == "EINVAL"


# Populating


@pytest.mark.parametrize(
    ("advice", "shared", "line"),
    [
        (Madv.POPULATE_WRITE, False, "anon=4 dirty=4 active=0 N0=4"),
        (Madv.POPULATE_READ, False, ""),
        (Madv.POPULATE_WRITE, True, "dirty=4 active=0 N0=4"),
        (Madv.POPULATE_READ, True, "mapped=4 active=0 N0=4"),
    ],
)
def test_populating_faults_in(
    machine: Machine, task: Task, advice: Madv, shared: bool, line: str
) -> None:
    addr = mapped(machine, task, "16KiB", is_shared=shared)
    madvise(machine, task, addr, 4 * PAGE, advice)
    (text,) = maps(machine, task)
    name = "default file=/dev/zero\\040(deleted)" if shared else "default"
    assert text == f"{name} {line} kernelpagesize_kB=4" if line else text == name


def test_populating_for_writing_dirties_the_folios_that_are_there(
    machine: Machine, task: Task
) -> None:
    addr = mapped(machine, task, "16KiB", is_shared=True)
    touch(machine, task, addr, 4 * PAGE, write=False)
    madvise(machine, task, addr, 2 * PAGE, Madv.POPULATE_WRITE)
    assert maps(machine, task) == [
        "default file=/dev/zero\\040(deleted) dirty=2 mapped=4 active=0 N0=4 kernelpagesize_kB=4"
    ]


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [("6.12", [[1, 0], [3, -1]]), ("6.1", [[1, 0], [1, -1], [2, 0]])],
)
def test_populating_stops_at_a_hole_since_6_2(kernel: str, expected: list[list[int]]) -> None:
    machine = two_nodes("4MiB", kernel)
    task = new_task(machine)
    addr = mapped(machine, task, "16KiB")
    munmap(machine, task, addr + PAGE, PAGE)
    assert errno_of(madvise, machine, task, addr, 4 * PAGE, Madv.POPULATE_WRITE) == "ENOMEM"
    assert nodes_of(machine, task, addr, "16KiB") == expected


@pytest.mark.parametrize(
    ("prot", "advice", "flag"),
    [
        ("r", Madv.POPULATE_WRITE, 0),
        ("none", Madv.POPULATE_READ, 0),
        ("rw", Madv.POPULATE_READ, Vm.IO),
        ("rw", Madv.POPULATE_READ, Vm.PFNMAP),
    ],
)
def test_populating_needs_the_protection(
    machine: Machine, task: Task, prot: str, advice: Madv, flag: int
) -> None:
    addr = mapped(machine, task, "4KiB", prot)
    task.mm.vmas[0].flags |= flag
    assert errno_of(madvise, machine, task, addr, PAGE, advice) == "EINVAL"


def test_populating_behind_a_files_end_is_efault(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB", space=new_file(machine, "8KiB"), is_shared=True)
    assert errno_of(madvise, machine, task, addr, 4 * PAGE, Madv.POPULATE_READ) == "EFAULT"
    assert nodes_of(machine, task, addr, "16KiB") == [[2, 0], [2, -1]]


def test_populating_more_than_there_is_kills(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16MiB")
    assert errno_of(madvise, machine, task, addr, 16 << 20, Madv.POPULATE_WRITE) == "ENOMEM"
    assert machine.tasks == {}


# Collapsing


@pytest.mark.parametrize("size", ["1MiB", "2MiB"])
def test_memory_that_no_huge_page_fits_cannot_be_collapsed(
    machine: Machine, task: Task, size: str
) -> None:
    addr = mapped(machine, task, size)
    if size == "2MiB":
        madvise(machine, task, addr, 2 << 20, Madv.NOHUGEPAGE)
    assert errno_of(madvise, machine, task, addr, 1 << 20, Madv.COLLAPSE) == "EINVAL"


def test_a_range_that_covers_no_huge_page_has_nothing_to_collapse(
    machine: Machine, task: Task
) -> None:
    addr = mapped(machine, task, "2MiB")
    touch(machine, task, addr, PAGE)
    madvise(machine, task, addr, 1 << 20, Madv.COLLAPSE)


def test_a_range_within_a_huge_page_cannot_be_collapsed(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "2MiB")
    touch(machine, task, addr, PAGE)
    assert errno_of(madvise, machine, task, addr + PAGE, PAGE, Madv.COLLAPSE) == "EINVAL"


def test_memory_that_nobody_has_written_does_not_collapse(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "2MiB")
    assert errno_of(madvise, machine, task, addr, 2 << 20, Madv.COLLAPSE) == "EINVAL"


def test_a_disk_files_pages_do_not_collapse(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "2MiB", space=new_file(machine, "2MiB", "ext4"), is_shared=True)
    assert errno_of(madvise, machine, task, addr, 2 << 20, Madv.COLLAPSE) == "EINVAL"


def test_huge_pages_of_shared_memory_are_not_simulated(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "2MiB", is_shared=True)
    with pytest.raises(UnsupportedError, match="huge pages"):
        madvise(machine, task, addr, 2 << 20, Madv.COLLAPSE)


def test_children_see_what_was_freed_too(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    child = fork(machine, task, "b")
    madvise(machine, task, addr, 4 * PAGE, Madv.DONTNEED)
    assert nodes_of(machine, child, addr, "16KiB") == [[4, 0]]
    assert machine.nodes[0].nr_free == 1020
    check(machine)


def test_what_is_dropped_leaves_its_page_table(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "2MiB")
    touch(machine, task, addr, PAGE)
    madvise(machine, task, addr, PAGE, Madv.DONTNEED)
    machine.thp = "always"
    touch(machine, task, addr, PAGE)
    assert nodes_of(machine, task, addr, "2MiB") == [[1, 0], [511, -1]]


# process_madvise


def test_advice_about_another_process(machine: Machine, task: Task) -> None:
    addr, other = touched(machine, task, "16KiB"), new_task(machine)
    ranges = [(addr, PAGE), (addr + 2 * PAGE, 2 * PAGE)]
    assert process_madvise(machine, other, task, ranges, Madv.COLD) == 3 * PAGE


@pytest.mark.parametrize(
    ("ranges", "answer"),
    [
        ([(1 << 40, PAGE), (BASE, PAGE)], "ENOMEM"),
        ([(BASE, PAGE), (1 << 40, PAGE)], PAGE),
        ([(BASE + 1, PAGE)], "EINVAL"),
        ([(BASE, 0)], 0),
        ([], 0),
    ],
)
def test_what_was_done_before_a_range_was_refused(
    machine: Machine, task: Task, ranges: list[tuple[int, int]], answer: str | int
) -> None:
    assert touched(machine, task, "16KiB") == BASE
    args = (machine, task, task, ranges, Madv.PAGEOUT)
    if isinstance(answer, str):
        assert errno_of(process_madvise, *args) == answer
    else:
        assert process_madvise(*args) == answer


@pytest.mark.parametrize(
    ("kernel", "advice", "whose", "errno"),
    [
        ("6.12", Madv.DONTNEED, "own", "EINVAL"),
        ("7.2", Madv.DONTNEED, "own", None),
        ("7.2", Madv.DONTNEED, "other", "EINVAL"),
        ("6.12", Madv.COLD, "own", "EPERM"),
        ("7.2", Madv.COLD, "own", None),
        ("6.12", Madv.COLD, "other", "EPERM"),
        ("7.2", Madv.COLD, "other", "EPERM"),
        ("6.12", Madv.COLD, "another user's", "EACCES"),
        ("6.12", Madv.DONTNEED, "another user's", "EINVAL"),
        ("7.2", Madv.DONTNEED, "another user's", "EACCES"),
    ],
)
def test_who_may_advise(kernel: str, advice: Madv, whose: str, errno: str | None) -> None:
    machine = two_nodes(kernel=kernel)
    task = new_task(machine, uid=1000)
    task.caps = 0
    addr = touched(machine, task, "16KiB")
    caller = task
    if whose != "own":
        caller = new_task(machine, uid=1000 if whose == "other" else 1001)
        caller.caps = 0
    args = (machine, caller, task, [(addr, PAGE)], advice)
    if errno is None:
        assert process_madvise(*args) == PAGE
    else:
        assert errno_of(process_madvise, *args) == errno
