"""Faults, copy-on-write and unmapping: entries and counts of mappings."""

import pytest

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.frames.frames import frame_of, update_frames
from pymigrate.mm.frames.page_alloc import available
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.mempolicy import mbind, set_mempolicy
from pymigrate.syscalls.mmap import mlock, mprotect, munmap
from pymigrate.syscalls.process import exit_task, fork, sched_setaffinity, touch
from tests.conftest import (
    BASE,
    PAGE,
    flags_at,
    four_nodes,
    hold,
    mapped,
    maps,
    new_file,
    new_task,
    nodes_of,
    pfn_at,
    placed_on,
    touched,
    two_nodes,
)
from tests.property.invariants import check
from tests.unit.mm.conftest import file_mapped, file_of, frame_at, loaded, with_task

BIND, INTERLEAVE, WEIGHTED = 2, 3, 6


def test_a_read_of_untouched_memory_maps_the_zero_page(machine: Machine, task: Task) -> None:
    addr = loaded(machine, task, "16KiB")
    assert flags_at(task, addr) == Pte.PRESENT | Pte.YOUNG
    assert nodes_of(machine, task, addr, "16KiB") == [[4, -1]]
    assert machine.nodes[0].nr_free == 16384


def test_a_write_to_the_zero_page_allocates(machine: Machine, task: Task) -> None:
    addr = loaded(machine, task, "16KiB")
    touch(machine, task, addr + PAGE, PAGE)
    assert nodes_of(machine, task, addr, "16KiB") == [[1, -1], [1, 0], [2, -1]]
    assert machine.counters["pgfault"] == 5


def test_a_written_page_is_exclusive_writable_and_dirty(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    assert flags_at(task, addr) == (Pte.PRESENT | Pte.WRITE | Pte.DIRTY | Pte.YOUNG | Pte.EXCLUSIVE)


def test_a_page_that_is_there_costs_nothing(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    free, faults = machine.nodes[0].nr_free, machine.counters["pgfault"]
    touch(machine, task, addr, 4 * PAGE)
    assert (machine.nodes[0].nr_free, machine.counters["pgfault"]) == (free, faults)


@pytest.mark.parametrize(
    ("prot", "write", "signal"),
    [
        ("rw", True, None),
        ("r", False, None),
        ("r", True, "SIGSEGV"),
        ("none", False, "SIGSEGV"),
        ("none", True, "SIGSEGV"),
        ("x", False, None),
        ("w", False, None),
    ],
)
def test_the_protection_decides(
    machine: Machine, task: Task, prot: str, write: bool, signal: str | None
) -> None:
    addr = mapped(machine, task, "4KiB", prot)
    assert touch(machine, task, addr, PAGE, write) == signal


def test_an_access_ends_at_a_hole_with_the_rest_done(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    munmap(machine, task, addr + 2 * PAGE, PAGE)
    assert touch(machine, task, addr, 4 * PAGE) == "SIGSEGV"
    assert nodes_of(machine, task, addr, "16KiB") == [[2, 0], [2, -1]]


def test_an_access_behind_all_memory_is_a_segv(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "4KiB")
    assert touch(machine, task, addr, 2 * PAGE) == "SIGSEGV"
    assert touch(machine, task, BASE - PAGE, PAGE) == "SIGSEGV"


@pytest.mark.parametrize(
    ("mode", "nodes", "expected"),
    [
        pytest.param(INTERLEAVE, "0-1", [[1, 0], [1, 1]] * 3, id="two nodes"),
        pytest.param(INTERLEAVE, "0-2", [[1, 0], [1, 1], [1, 2]] * 2, id="three nodes"),
        pytest.param(WEIGHTED, "0-1", [[2, 0], [1, 1]] * 2, id="weighted"),
        pytest.param(BIND, "1-3", [[6, 2]], id="bind begins at the CPU's node"),
        pytest.param(BIND, "0,3", [[6, 3]], id="bind, nearest"),
    ],
)
def test_anonymous_pages_go_by_address(mode: int, nodes: str, expected: list[list[int]]) -> None:
    machine = four_nodes()
    machine.weights = {0: 2}
    task = new_task(machine, cpu=2)
    set_mempolicy(machine, task, mode, Nodemask.parse(nodes))
    addr = mapped(machine, task, "24KiB")
    touch(machine, task, addr, 6 * PAGE)
    assert nodes_of(machine, task, addr, "24KiB") == expected


@pytest.mark.parametrize(
    ("kernel", "blocks", "nodes"),
    [("6.12", 0, [0, 1, 2]), ("6.12", 1, [2, 0, 1]), ("6.1", 0, [1, 2, 0])],
    ids=["page 0 modulo 3", "page 512", "an index of 32 bits"],
)
def test_three_nodes_begin_where_the_address_says(
    kernel: str, blocks: int, nodes: list[int]
) -> None:
    machine, task = with_task(four_nodes(kernel=kernel))
    set_mempolicy(machine, task, INTERLEAVE, Nodemask.of(0, 1, 2))
    addr = mapped(machine, task, "4MiB") + (blocks << 21)
    touch(machine, task, addr, 3 * PAGE)
    assert nodes_of(machine, task, addr, "12KiB") == [[1, nid] for nid in nodes]


def test_the_vmas_policy_precedes_the_tasks(machine: Machine, task: Task) -> None:
    set_mempolicy(machine, task, BIND, Nodemask.of(0))
    addr = mapped(machine, task, "8KiB")
    mbind(machine, task, addr, PAGE, BIND, Nodemask.of(1), 0)
    touch(machine, task, addr, 2 * PAGE)
    assert nodes_of(machine, task, addr, "8KiB") == [[1, 1], [1, 0]]


def test_a_full_node_falls_back() -> None:
    machine, task = with_task(two_nodes("4MiB"))
    addr = touched(machine, task, "5MiB")
    assert nodes_of(machine, task, addr, "5MiB") == [[968, 0], [312, 1]]


def test_a_child_that_writes_gets_a_copy_on_its_own_node(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    child = fork(machine, task, "b")
    sched_setaffinity(machine, child, Cpumask.of(1))
    touch(machine, child, addr, 2 * PAGE)
    assert nodes_of(machine, child, addr, "16KiB") == [[2, 1], [2, 0]]
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 0]]
    assert frame_at(machine, task, addr).mapcount == 1


def test_the_last_one_to_write_keeps_the_page(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    child = fork(machine, task, "b")
    kept = pfn_at(task, addr)
    touch(machine, child, addr, PAGE)
    touch(machine, task, addr, PAGE)
    assert pfn_at(task, addr) == kept
    assert flags_at(task, addr) & (Pte.WRITE | Pte.EXCLUSIVE) == Pte.WRITE | Pte.EXCLUSIVE


@pytest.mark.parametrize("pins", [0, 1])
def test_a_page_that_somebody_holds_is_copied(machine: Machine, task: Task, pins: int) -> None:
    addr = touched(machine, task, "4KiB")
    exit_task(machine, fork(machine, task, "b"))
    before = pfn_at(task, addr)
    hold(machine, task, addr, pins=pins)
    touch(machine, task, addr, PAGE)
    assert pfn_at(task, addr) != before
    assert frame_of(machine, before).mapcount == 0


@pytest.mark.parametrize("cpu", [0, 1], ids=["this CPU", "another CPU"])
def test_a_page_that_waits_on_this_cpu_is_reused(machine: Machine, task: Task, cpu: int) -> None:
    addr = touched(machine, task, "4KiB")
    child = fork(machine, task, "b")
    child.cpus = Cpumask.of(1)
    exit_task(machine, child)
    kept = pfn_at(task, addr)
    task.cpus = Cpumask.of(cpu)
    touch(machine, task, addr, PAGE)
    assert (pfn_at(task, addr) == kept) is (cpu == 0)


def test_a_page_gives_up_its_place_in_swap_when_it_is_reused(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    exit_task(machine, fork(machine, task, "b"))
    kept = pfn_at(task, addr)
    update_frames(machine, [(kept, 1)], lambda frame: frame.with_flags(FrameFlag.SWAPCACHE))
    touch(machine, task, addr, PAGE)
    assert pfn_at(task, addr) == kept
    assert not frame_of(machine, kept).flags & FrameFlag.SWAPCACHE


def test_pages_shared_in_part_are_copied_in_part(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "256KiB")
    child = fork(machine, task, "b")
    touch(machine, child, addr + 8 * PAGE, 4 * PAGE)
    with placed_on(task, 1):
        touch(machine, task, addr, 64 * PAGE)
    assert nodes_of(machine, task, addr, "256KiB") == [[8, 1], [4, 0], [52, 1]]


def test_pages_of_a_table_are_copied_one_by_one(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "32KiB")
    for page in (3, 0, 6, 1, 7, 2, 5, 4):
        touch(machine, task, addr + page * PAGE, PAGE)
    child = fork(machine, task, "b")
    touch(machine, child, addr + 2 * PAGE, PAGE)
    touch(machine, child, addr + 5 * PAGE, 2 * PAGE)
    with placed_on(task, 1):
        touch(machine, task, addr, 8 * PAGE)
    assert nodes_of(machine, task, addr, "32KiB") == [[2, 1], [1, 0], [2, 1], [2, 0], [1, 1]]


def test_a_store_into_memory_made_writable_is_in_place(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    mprotect(machine, task, addr, PAGE, "r")
    assert touch(machine, task, addr, PAGE) == "SIGSEGV"
    kept = pfn_at(task, addr)
    mprotect(machine, task, addr, PAGE, "rw")
    assert touch(machine, task, addr, PAGE) is None
    assert pfn_at(task, addr) == kept


def test_a_shared_write_maps_just_that_page(machine: Machine, task: Task) -> None:
    file, addr = file_of(machine, task, "64KiB")
    touch(machine, task, addr + 3 * PAGE, PAGE)
    assert nodes_of(machine, task, addr, "64KiB") == [[3, -1], [1, 0], [12, -1]]
    assert [run.start for run in file.pages.runs] == [3]
    assert maps(machine, task) == ["default file=/data dirty=1 N0=1 kernelpagesize_kB=4"]


def test_a_read_of_shared_memory_is_writable_and_clean(machine: Machine, task: Task) -> None:
    addr = loaded(machine, task, "4KiB", is_shared=True)
    assert flags_at(task, addr) == Pte.PRESENT | Pte.YOUNG | Pte.WRITE
    touch(machine, task, addr, PAGE)
    assert flags_at(task, addr) & Pte.DIRTY
    assert not frame_at(machine, task, addr).flags & FrameFlag.DIRTY


def test_a_read_of_a_disk_file_is_not_writable(machine: Machine, task: Task) -> None:
    addr = file_mapped(machine, task, "4KiB", "ext4")
    touch(machine, task, addr, PAGE, write=False)
    assert not flags_at(task, addr) & Pte.WRITE
    touch(machine, task, addr, PAGE)
    assert flags_at(task, addr) & (Pte.WRITE | Pte.DIRTY) == Pte.WRITE | Pte.DIRTY
    assert frame_at(machine, task, addr).flags & FrameFlag.DIRTY


@pytest.mark.parametrize("fs", ["tmpfs", "ext4"])
@pytest.mark.parametrize("is_shared", [False, True])
@pytest.mark.parametrize("write", [False, True])
def test_an_access_behind_the_files_end_is_a_sigbus(
    machine: Machine, task: Task, fs: str, is_shared: bool, write: bool
) -> None:
    file = new_file(machine, "10000", fs)
    addr = mapped(machine, task, "64KiB", space=file, is_shared=is_shared)
    assert touch(machine, task, addr + 3 * PAGE, PAGE, write) == "SIGBUS"
    assert bool(task.mm.vmas[0].anon_vma) is (write and not is_shared)
    assert touch(machine, task, addr, 16 * PAGE, write) == "SIGBUS"
    assert nodes_of(machine, task, addr, "64KiB") == [[3, 0], [13, -1]]


def test_a_private_write_copies_and_leaves_the_file_clean(machine: Machine, task: Task) -> None:
    file, addr = file_of(machine, task, "40KiB", is_shared=False)
    touch(machine, task, addr, 10 * PAGE, write=False)
    touch(machine, task, addr, 4 * PAGE)
    line = "default file=/data anon=4 dirty=4 mapped=10 N0=10 kernelpagesize_kB=4"
    assert maps(machine, task) == [line]
    assert sum(run.nr for run in file.pages.runs) == 10


@pytest.mark.parametrize("fs", ["tmpfs", "ext4"])
def test_a_first_private_write_caches_the_page_too(machine: Machine, task: Task, fs: str) -> None:
    _, addr = file_of(machine, task, "4KiB", fs, is_shared=False)
    touch(machine, task, addr, PAGE)
    assert maps(machine, task) == ["default file=/data anon=1 dirty=1 N0=1 kernelpagesize_kB=4"]
    assert machine.nodes[0].nr_free == 16384 - 2


def test_a_private_copy_goes_by_the_objects_policy(machine: Machine, task: Task) -> None:
    file = new_file(machine, "16KiB")
    shared = mapped(machine, task, "16KiB", space=file, is_shared=True)
    mbind(machine, task, shared + PAGE, PAGE, BIND, Nodemask.of(1), 0)
    private = mapped(machine, task, "16KiB", space=file)
    touch(machine, task, private, 4 * PAGE)
    assert nodes_of(machine, task, private, "16KiB") == [[1, 0], [1, 1], [2, 0]]


def test_a_private_mapping_sets_the_objects_policy_too(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "8KiB", space=new_file(machine, "8KiB"))
    mbind(machine, task, addr, 2 * PAGE, BIND, Nodemask.of(1), 0)
    touch(machine, task, addr, 2 * PAGE)
    assert nodes_of(machine, task, addr, "8KiB") == [[2, 1]]


def test_shared_memory_goes_by_the_objects_policy_for_everybody(machine: Machine) -> None:
    one, other = new_task(machine, "a"), new_task(machine, "b")
    file = new_file(machine, "16KiB")
    ours = mapped(machine, one, "16KiB", space=file, is_shared=True)
    theirs = mapped(machine, other, "16KiB", space=file, is_shared=True)
    mbind(machine, one, ours, 2 * PAGE, BIND, Nodemask.of(1), 0)
    touch(machine, other, theirs, 4 * PAGE)
    assert nodes_of(machine, other, theirs, "16KiB") == [[2, 1], [2, 0]]


def test_shared_memory_is_interleaved_by_offset_and_inode(machine: Machine, task: Task) -> None:
    file = new_file(machine, "16KiB", inode=3)
    addr = mapped(machine, task, "16KiB", space=file, is_shared=True)
    mbind(machine, task, addr, 4 * PAGE, INTERLEAVE, Nodemask.of(0, 1), 0)
    touch(machine, task, addr, 4 * PAGE)
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 1], [1, 0], [1, 1], [1, 0]]


def test_a_disk_files_pages_ignore_the_vmas_policy(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB", space=new_file(machine, "16KiB", "ext4"), is_shared=True)
    mbind(machine, task, addr, 4 * PAGE, BIND, Nodemask.of(1), 0)
    touch(machine, task, addr, 4 * PAGE, write=False)
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 0]]


def test_a_copy_of_a_disk_files_page_obeys_the_vma(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "8KiB", space=new_file(machine, "8KiB", "ext4"))
    mbind(machine, task, addr, 2 * PAGE, BIND, Nodemask.of(1), 0)
    touch(machine, task, addr, PAGE)
    assert nodes_of(machine, task, addr, "4KiB") == [[1, 1]]


def test_unmapped_anonymous_memory_is_freed(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "64KiB")
    munmap(machine, task, addr + PAGE, 4 * PAGE)
    assert machine.nodes[0].nr_free == 16384 - 12
    assert nodes_of(machine, task, addr, "64KiB") == [[1, 0], [4, -1], [11, 0]]


def test_unmapped_pages_of_a_file_stay_cached_and_dirty(machine: Machine, task: Task) -> None:
    file, addr = file_of(machine, task, "8KiB")
    touch(machine, task, addr, PAGE, write=False)
    touch(machine, task, addr, PAGE)
    munmap(machine, task, addr, 2 * PAGE)
    frame = frame_of(machine, file.pages.runs[0].pfn(0))
    assert (frame.mapcount, bool(frame.flags & FrameFlag.DIRTY)) == (0, True)


def test_shared_anonymous_memory_goes_with_its_last_mapping(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "64KiB", is_shared=True)
    child = fork(machine, task, "b")
    munmap(machine, task, addr, 16 * PAGE)
    assert machine.nodes[0].nr_free == 16384 - 16
    exit_task(machine, child)
    assert machine.nodes[0].nr_free == 16384
    assert machine.spaces == {}


def test_pages_that_are_held_outlive_their_mapping(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    hold(machine, task, addr + PAGE)
    munmap(machine, task, addr, 4 * PAGE)
    assert machine.nodes[0].nr_free == 16384 - 1


def test_a_page_of_locked_memory_is_unlocked_with_it(machine: Machine, task: Task) -> None:
    addr = file_mapped(machine, task, "4KiB")
    mlock(machine, task, addr, PAGE)
    pfn = pfn_at(task, addr)
    assert frame_of(machine, pfn).flags & FrameFlag.MLOCKED
    munmap(machine, task, addr, PAGE)
    assert not frame_of(machine, pfn).flags & FrameFlag.MLOCKED


def test_a_task_that_is_killed_while_it_copies_lets_its_old_pages_go() -> None:
    machine = two_nodes("2MiB")
    parent = new_task(machine)
    addr = touched(machine, parent, "1600KiB")
    child = fork(machine, parent, "b")
    touched(machine, child, "1600KiB")
    assert touch(machine, child, addr, 1600 << 10) == "SIGKILL"
    check(machine)


def test_faults_are_counted_up_to_the_one_that_kills() -> None:
    machine = two_nodes("2MiB")
    parent = new_task(machine)
    addr = touched(machine, parent, "1600KiB")
    child = fork(machine, parent, "b")
    left = room(machine) - 10
    touched(machine, child, f"{left * 4}KiB")
    machine.counters["pgfault"] = 0
    assert touch(machine, child, addr, 400 * PAGE) == "SIGKILL"
    assert machine.counters["pgfault"] == 10 + 1
    left = room(machine)
    addr = mapped(machine, parent, "8MiB")
    assert touch(machine, parent, addr, 8 << 20) == "SIGKILL"
    assert machine.counters["pgfault"] == 10 + 1 + left + 1


def room(machine: Machine) -> int:
    """How many pages faults can have."""
    return sum(available(node, to_min=True) for node in machine.nodes.values())


def test_what_was_lazily_freed_gives_way_before_anybody_is_killed() -> None:
    machine, task = with_task(two_nodes("2MiB"))
    old = touched(machine, task, "3MiB")
    madvise(machine, task, old, 3 << 20, Madv.FREE)
    touch(machine, task, old, 64 * PAGE)  # it is used again
    new = touched(machine, task, "3MiB")
    assert [nid for _, nid in nodes_of(machine, task, new, "3MiB") if nid < 0] == []
    assert machine.counters["pglazyfreed"] >= 512
    assert nodes_of(machine, task, old, "256KiB") == [[64, 0]]
    check(machine)


def test_a_task_goes_on_copying_when_another_one_was_killed() -> None:
    machine = two_nodes("2MiB")
    large, parent = new_task(machine, "large"), new_task(machine)
    touched(machine, large, "2MiB")
    addr = touched(machine, parent, "1MiB")
    child = fork(machine, parent, "b")
    assert touch(machine, child, addr, 1 << 20) is None
    assert large not in machine.tasks.values()
    check(machine)


@pytest.mark.parametrize(("kernel", "is_writable"), [("6.12", True), ("6.1", False)])
def test_a_clean_exclusive_page_is_stored_into_in_place(kernel: str, is_writable: bool) -> None:
    machine, task = with_task(two_nodes("4MiB", kernel))
    addr = touched(machine, task, "4KiB")
    madvise(machine, task, addr, PAGE, Madv.FREE)
    mprotect(machine, task, addr, PAGE, "r")
    mprotect(machine, task, addr, PAGE, "rw")
    assert bool(flags_at(task, addr) & Pte.WRITE) == is_writable
    kept = pfn_at(task, addr)
    touch(machine, task, addr, PAGE)
    assert (pfn_at(task, addr), flags_at(task, addr) & Pte.DIRTY) == (kept, Pte.DIRTY)


def test_an_anon_vma_is_borrowed_from_the_neighbour(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "8KiB")
    mprotect(machine, task, addr + PAGE, PAGE, "rwx")
    touch(machine, task, addr, PAGE)
    touch(machine, task, addr + PAGE, PAGE)
    assert len({vma.anon_vma for vma in task.mm.vmas}) == 1
    mprotect(machine, task, addr + PAGE, PAGE, "rw")
    assert len(task.mm.vmas) == 1


@pytest.mark.parametrize("advice", [Madv.NORMAL, Madv.RANDOM])
def test_a_disk_file_that_fills_the_machine_gives_way_to_itself(advice: Madv) -> None:
    machine, task = with_task(two_nodes("2MiB"))
    addr = mapped(machine, task, "8MiB", space=new_file(machine, "8MiB", "ext4"), is_shared=True)
    madvise(machine, task, addr, 8 << 20, advice)
    assert touch(machine, task, addr, 8 << 20, write=False) is None
    assert touch(machine, task, addr, 8 << 20) == "SIGKILL"  # dirty pages stay
    check(machine)


def test_a_populated_page_is_zero_until_it_is_stored_into(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "8KiB")
    madvise(machine, task, addr, 2 * PAGE, Madv.POPULATE_WRITE)
    exit_task(machine, fork(machine, task, "b"))
    madvise(machine, task, addr, PAGE, Madv.POPULATE_WRITE)
    touch(machine, task, addr + PAGE, PAGE)
    frames = [frame_at(machine, task, addr + i * PAGE) for i in (0, 1)]
    assert [bool(frame.flags & FrameFlag.ZEROED) for frame in frames] == [True, False]


def test_copies_and_what_is_copied_share_the_node_until_it_is_full(
    machine: Machine, task: Task
) -> None:
    space = new_file(machine, "40MiB")
    addr = mapped(machine, task, "40MiB", space=space)
    assert touch(machine, task, addr, 40 << 20) is None
    copies = nodes_of(machine, task, addr, "40MiB")
    assert [nid for _, nid in copies] == [0, 1]
    again = mapped(machine, task, "40MiB", space=space, is_shared=True)
    assert touch(machine, task, again, 40 << 20, write=False) is None
    found = nodes_of(machine, task, again, "40MiB")
    assert [nid for _, nid in found] == [0, 1]
    assert copies[0][0] - found[0][0] in (0, 1)
