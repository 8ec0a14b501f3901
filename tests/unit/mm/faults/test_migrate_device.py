"""Device-private memory: pages that move there, and come back when a CPU touches them."""

from collections.abc import Callable

import pytest

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.memmap import Busy, FrameFlag
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.faults.migrate_device import Moved
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.frames.page_alloc import available
from pymigrate.mm.state.machine import Machine, add_device
from pymigrate.mm.state.node import Device
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm
from pymigrate.nodemask import Nodemask
from pymigrate.store.codec import copy_machine
from pymigrate.syscalls.drivers import migrate_vma
from pymigrate.syscalls.gup import add_to_swap_cache, pin, work_on
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.mempolicy import get_mempolicy, mbind
from pymigrate.syscalls.migrate import migrate_pages, move_pages
from pymigrate.syscalls.mmap import mlock, mprotect, munlock, munmap
from pymigrate.syscalls.process import exit_task, fork, touch
from pymigrate.uapi import MPOL, MPOL_F_ADDR, MPOL_F_NODE
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.pictures import ps
from pymigrate.views.proc import numa_maps, vmstat
from tests.conftest import (
    HUGE,
    PAGE,
    errno_of,
    flags_at,
    hold,
    mapped,
    maps,
    new_file,
    new_task,
    nodes_of,
    placed_on,
    touched,
    two_nodes,
)
from tests.property.invariants import check
from tests.unit.mm.conftest import frame_at, huge
from tests.unit.store.conftest import plain

MIGRATION = (
    "pgmigrate_success pgmigrate_fail thp_migration_success thp_migration_fail"
    " thp_migration_split numa_pages_migrated"
).split()


@pytest.fixture
def machine() -> Machine:
    machine = two_nodes("16MiB")
    add_device(machine, "other", 16)
    add_device(machine, "gpu", 2048)
    return machine


@pytest.fixture
def gpu(machine: Machine) -> Device:
    return machine.devices["gpu"]


def moved(machine: Machine, task: Task, addr: int, length: int, to: str = "gpu") -> tuple[int, int]:
    """How many pages were collected, and migrated."""
    answer = migrate_vma(machine, task, addr, length, to)
    check(machine)
    return answer.collected, answer.migrated


def touches(machine: Machine, task: Task, addr: int, length: int, write: bool = False) -> int:
    """The number of faults that accesses to a range take."""
    machine.counters.clear()
    assert touch(machine, task, addr, length, write) is None
    check(machine)
    return machine.counters["pgfault"]


def fill(machine: Machine, task: Task) -> None:
    """Leave no memory that *task* could have."""
    nr = sum(available(node, to_min=True) for node in machine.nodes.values())
    addr = mapped(machine, task, f"{nr * 4}KiB")
    assert touch(machine, task, addr, nr * PAGE) is None


def used(device: Device) -> int:
    return device.nr - device.nr_free


def on_gpu(machine: Machine, task: Task, nr: int = 4, of: int = 0) -> int:
    """The address of *of* pages that were stored into, of which *nr* (or all) lie on the device."""
    addr = touched(machine, task, f"{(of or nr) * 4}KiB")
    assert moved(machine, task, addr, nr * PAGE) == (nr, nr)
    return addr


def test_pages_go_there_and_free_their_frames(machine: Machine, task: Task, gpu: Device) -> None:
    free = machine.nodes[1].nr_free
    addr = touched(machine, task, "64KiB", node=1)
    assert moved(machine, task, addr, 16 * PAGE) == (16, 16)
    assert used(gpu) == 16
    assert machine.nodes[1].nr_free == free
    assert flags_at(task, addr) == Pte.DEVICE | Pte.WRITE | Pte.EXCLUSIVE


@pytest.mark.parametrize("write", [False, True], ids=["load", "store"])
def test_touch_brings_pages_back_by_the_tasks_policy(
    machine: Machine, task: Task, gpu: Device, write: bool
) -> None:
    addr = on_gpu(machine, task, 16)
    with placed_on(task, 1):
        assert touches(machine, task, addr + PAGE, 4 * PAGE, write) == 4
    assert nodes_of(machine, task, addr, "64KiB") == [[1, -1], [4, 1], [11, -1]]
    assert used(gpu) == 12
    dirty = Pte.DIRTY if write else 0
    there = Pte.PRESENT | Pte.YOUNG | Pte.WRITE | Pte.EXCLUSIVE
    assert flags_at(task, addr + PAGE) == there | dirty


def test_interleaved_pages_come_back_interleaved(machine: Machine, task: Task) -> None:
    machine.weights = {0: 2}
    addr = mapped(machine, task, "64KiB")
    mbind(machine, task, addr, 16 * PAGE, MPOL.WEIGHTED_INTERLEAVE, Nodemask.of(0, 1), 0)
    touch(machine, task, addr, 16 * PAGE)
    before = nodes_of(machine, task, addr, "64KiB")
    moved(machine, task, addr, 16 * PAGE)
    touch(machine, task, addr + 5 * PAGE, PAGE)
    assert moved(machine, task, addr, 16 * PAGE, "ram") == (15, 15)
    assert nodes_of(machine, task, addr, "64KiB") == before
    assert len(before) == 11


def test_step_brings_pages_back_unused(machine: Machine, task: Task, gpu: Device) -> None:
    addr = on_gpu(machine, task, 16)
    assert moved(machine, task, addr, 16 * PAGE, "ram") == (16, 16)
    assert nodes_of(machine, task, addr, "64KiB") == [[16, 0]]
    assert used(gpu) == 0
    assert flags_at(task, addr) == Pte.PRESENT | Pte.WRITE | Pte.EXCLUSIVE
    assert touches(machine, task, addr, 16 * PAGE, write=True) == 0


def test_dirty_state_goes_there_and_back(machine: Machine, task: Task) -> None:
    moved(machine, task, on_gpu(machine, task), 4 * PAGE, "ram")
    assert maps(machine, task) == ["default anon=4 dirty=4 active=0 N0=4 kernelpagesize_kB=4"]


def test_content_stays_that_nobody_stored(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    assert moved(machine, task, addr, 4 * PAGE) == (4, 4)
    touches(machine, task, addr, 2 * PAGE)
    touches(machine, task, addr + 2 * PAGE, 2 * PAGE, write=True)
    runs = task.mm.page_table.between(addr >> PAGE_SHIFT, (addr >> PAGE_SHIFT) + 4)
    flags = [frame_of(machine, pfn).flags & FrameFlag.ZEROED for r in runs for pfn in r.pfns()]
    assert flags == [FrameFlag.ZEROED, FrameFlag.ZEROED, 0, 0]


def test_no_counter_of_migration_and_no_event_tells_of_it(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "64KiB")
    machine.watch = Watch([])
    moved(machine, task, addr, 16 * PAGE)
    moved(machine, task, addr, 8 * PAGE, "ram")
    touches(machine, task, addr, 16 * PAGE)
    assert not [name for name in MIGRATION if machine.counters[name]]
    assert machine.watch.events == []


def test_views_do_not_see_pages_on_the_device(machine: Machine, task: Task) -> None:
    addr = on_gpu(machine, task, 4, of=16)
    assert nodes_of(machine, task, addr, "64KiB") == [[4, -1], [12, 0]]
    [row] = numa_maps.rows(machine, task)
    assert (row.anon, row.nodes) == (12, {0: 12})
    [line] = ps.rows(machine)
    assert line.nodes == {0: 12, 1: 0}
    assert vmstat.rows(machine)["nr_anon_pages"] == 16


def test_move_pages_finds_nothing(machine: Machine, task: Task) -> None:
    addr = on_gpu(machine, task, 2, of=4)
    addrs = [addr + i * PAGE for i in range(4)]
    assert move_pages(machine, task, task, addrs, None, 0).status == [-2, -2, 0, 0]
    assert move_pages(machine, task, task, addrs, (1,) * 4, 2).status == [-2, -2, 1, 1]


def test_walks_pass_pages_on_the_device(machine: Machine, task: Task) -> None:
    addr = on_gpu(machine, task, 2, of=4)
    assert migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1)) == 0
    mbind(machine, task, addr, 4 * PAGE, MPOL.BIND, Nodemask.of(0), 3)
    assert nodes_of(machine, task, addr, "16KiB") == [[2, -1], [2, 0]]


@pytest.mark.parametrize(
    "use",
    [
        lambda machine, task, addr: get_mempolicy(machine, task, addr, MPOL_F_NODE | MPOL_F_ADDR),
        lambda machine, task, addr: pin(machine, task, addr, PAGE, True),
        lambda machine, task, addr: mlock(machine, task, addr, PAGE),
    ],
    ids=["get_mempolicy", "pin", "mlock"],
)
def test_what_needs_a_page_brings_it_back(
    machine: Machine, task: Task, gpu: Device, use: Callable[[Machine, Task, int], object]
) -> None:
    addr = on_gpu(machine, task)
    use(machine, task, addr)
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 0], [3, -1]]
    assert used(gpu) == 3


def test_store_after_mprotect_is_noticed(machine: Machine, task: Task) -> None:
    addr = on_gpu(machine, task, 2)
    mprotect(machine, task, addr, 2 * PAGE, "r")
    mprotect(machine, task, addr, 2 * PAGE, "rw")
    assert flags_at(task, addr) == Pte.DEVICE | Pte.EXCLUSIVE
    assert touches(machine, task, addr, 2 * PAGE, write=True) == 4


def test_munlock_unlocks_only_what_is_there(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    mlock(machine, task, addr, 4 * PAGE)
    assert moved(machine, task, addr, 2 * PAGE) == (2, 2)
    munlock(machine, task, addr, 4 * PAGE)
    touches(machine, task, addr, 4 * PAGE)
    assert vmstat.rows(machine)["nr_mlock"] == 0


def test_locked_memory_stays_locked(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    mlock(machine, task, addr, 4 * PAGE)
    moved(machine, task, addr, 4 * PAGE)
    touches(machine, task, addr, 4 * PAGE)
    assert vmstat.rows(machine)["nr_mlock"] == 4


@pytest.mark.parametrize("advice", [Madv.FREE, Madv.COLD, Madv.PAGEOUT])
def test_advice_passes_devices(machine: Machine, task: Task, gpu: Device, advice: Madv) -> None:
    addr = on_gpu(machine, task, 2, of=4)
    madvise(machine, task, addr, 4 * PAGE, advice)
    assert used(gpu) == 2


def test_collapse_brings_pages_back(machine: Machine, task: Task, gpu: Device) -> None:
    addr = on_gpu(machine, task, 7, of=512)
    madvise(machine, task, addr, HUGE, Madv.COLLAPSE)
    assert used(gpu) == 0
    assert [run.order for run in task.mm.page_table.runs] == [9]


def test_collapse_needs_memory_for_what_comes_back(machine: Machine, task: Task) -> None:
    addr = on_gpu(machine, task, 511, of=512)
    fill(machine, task)
    assert errno_of(madvise, machine, task, addr, HUGE, Madv.COLLAPSE) == "EINVAL"


def test_scans_pass_pages_on_the_device(machine: Machine, task: Task) -> None:
    machine.numa_balancing = 1
    addr = touched(machine, task, "16KiB", node=1)
    moved(machine, task, addr, 4 * PAGE)
    other = touched(machine, task, "16KiB", node=1)
    assert touch(machine, task, other, PAGE, seconds=3) is None
    assert flags_at(task, addr) & Pte.DEVICE


def test_what_is_unmapped_is_free_on_the_device(machine: Machine, task: Task, gpu: Device) -> None:
    addr = on_gpu(machine, task, 16)
    munmap(machine, task, addr, 4 * PAGE)
    assert used(gpu) == 12
    madvise(machine, task, addr + 4 * PAGE, 4 * PAGE, Madv.DONTNEED)
    assert used(gpu) == 8
    check(machine)
    exit_task(machine, task)
    assert used(gpu) == 0


def test_fork_shares_pages_on_the_device(machine: Machine, task: Task, gpu: Device) -> None:
    addr = on_gpu(machine, task)
    child = fork(machine, task, "child")
    assert used(gpu) == 4
    assert flags_at(task, addr) == flags_at(child, addr) == Pte.DEVICE
    assert touches(machine, child, addr, 4 * PAGE) == 4
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 0]]
    assert touches(machine, child, addr, 4 * PAGE, write=True) == 4
    assert machine.nodes[0].memmap.runs[-1].frame.mapcount == 1
    assert used(gpu) == 0


def test_shared_pages_go_with_all_their_entries(machine: Machine, task: Task, gpu: Device) -> None:
    addr = touched(machine, task, "16KiB")
    child = fork(machine, task, "child")
    touch(machine, child, addr + PAGE, PAGE)  # a copy of its own
    assert moved(machine, task, addr, 4 * PAGE) == (4, 4)
    assert nodes_of(machine, child, addr, "16KiB") == [[1, -1], [1, 0], [2, -1]]
    assert used(gpu) == 4
    exit_task(machine, task)
    assert used(gpu) == 3


def test_entries_of_different_pages_are_found(machine: Machine, task: Task, gpu: Device) -> None:
    addr = touched(machine, task, "16KiB")
    first, second = fork(machine, task, "first"), fork(machine, task, "second")
    touch(machine, first, addr, PAGE)
    touch(machine, second, addr + PAGE, PAGE)
    for child in (first, second):  # whose own page lies among the others then, in one run
        touch(machine, child, addr, 4 * PAGE, write=False)
        fork(machine, child, f"{child.name}'s")
    assert moved(machine, task, addr, 4 * PAGE) == (4, 4)
    assert nodes_of(machine, first, addr, "16KiB") == [[1, 0], [3, -1]]
    assert nodes_of(machine, second, addr, "16KiB") == [[1, -1], [1, 0], [2, -1]]
    assert used(gpu) == 4


def test_huge_page_of_another_process_stays(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "2MiB")
    other, third = fork(machine, task, "other"), fork(machine, task, "third")
    touch(machine, other, addr, PAGE)
    madvise(machine, other, addr, HUGE, Madv.COLLAPSE)
    assert moved(machine, task, addr + PAGE, 2 * PAGE) == (2, 2)
    assert nodes_of(machine, other, addr, "2MiB") == [[512, 0]]
    assert nodes_of(machine, third, addr, "2MiB") == [[1, 0], [2, -1], [509, 0]]


def test_store_after_a_hint_fault_that_never_came_is_noticed(machine: Machine, task: Task) -> None:
    machine.numa_balancing = 1
    addr = touched(machine, task, "8KiB", node=1)
    other = touched(machine, task, "8KiB", node=1)
    assert touch(machine, task, other, PAGE, seconds=3) is None
    assert flags_at(task, addr) & Pte.HINT
    assert moved(machine, task, addr, 2 * PAGE) == (2, 2)
    assert flags_at(task, addr) == Pte.DEVICE | Pte.EXCLUSIVE
    assert touches(machine, task, addr, 2 * PAGE, write=True) == 4


def test_page_is_dirty_or_locked_if_one_entry_was(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "8KiB")
    moved(machine, task, addr, 2 * PAGE)
    moved(machine, task, addr, 2 * PAGE, "ram")
    child = fork(machine, task, "child")
    mlock(machine, task, addr, PAGE)
    moved(machine, child, addr, 2 * PAGE)
    moved(machine, child, addr, 2 * PAGE, "ram")
    assert vmstat.rows(machine)["nr_mlock"] == 1


def test_holes_and_zero_pages_become_new_pages(machine: Machine, task: Task, gpu: Device) -> None:
    addr = mapped(machine, task, "16KiB")
    touch(machine, task, addr, 2 * PAGE, write=False)
    assert moved(machine, task, addr, 4 * PAGE) == (4, 4)
    assert used(gpu) == 4
    assert flags_at(task, addr) == Pte.DEVICE | Pte.WRITE | Pte.EXCLUSIVE


def test_new_pages_of_readable_memory_are_not_writable(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "8KiB", prot="r")
    assert moved(machine, task, addr, 2 * PAGE) == (2, 2)
    assert flags_at(task, addr) == Pte.DEVICE | Pte.EXCLUSIVE


def test_way_back_takes_holes_for_movable_and_leaves_them(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    touch(machine, task, addr, PAGE, write=False)
    touch(machine, task, addr + PAGE, PAGE)
    assert moved(machine, task, addr, 4 * PAGE, "ram") == (2, 0)


@pytest.mark.parametrize("pins", [1, 0], ids=["pinned", "held"])
def test_held_pages_are_passed_over(machine: Machine, task: Task, pins: int) -> None:
    addr = touched(machine, task, "16KiB")
    hold(machine, task, addr + PAGE, pins=pins)
    assert migrate_vma(machine, task, addr, 4 * PAGE, "gpu") == Moved(3, 3)
    assert nodes_of(machine, task, addr, "16KiB") == [[1, -1], [1, 0], [2, -1]]


def test_huge_page_that_cannot_be_split_is_passed_over(machine: Machine, task: Task) -> None:
    addr = huge(machine, task, "4MiB")
    hold(machine, task, addr)
    assert migrate_vma(machine, task, addr, 2 * HUGE, "gpu") == Moved(512, 512)
    assert nodes_of(machine, task, addr, "4MiB") == [[512, 0], [512, -1]]


def test_locked_page_is_passed_over_until_it_is_unlocked(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    work_on(machine, task, addr, PAGE, Busy.LOCKED, 1)
    assert moved(machine, task, addr, 4 * PAGE) == (3, 3)
    assert moved(machine, task, addr, 4 * PAGE) == (1, 1)


def test_pages_that_wait_for_their_lru_list_are_collected(machine: Machine, task: Task) -> None:
    other = new_task(machine, "b", cpu=1)
    addr = touched(machine, task, "16KiB")
    task.cpus = other.cpus
    assert machine.lru_batches
    assert moved(machine, task, addr, 4 * PAGE) == (4, 4)
    assert not machine.lru_batches


def test_page_in_the_swap_cache_gives_its_place_up(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    add_to_swap_cache(machine, task, addr, PAGE)
    assert moved(machine, task, addr, 2 * PAGE) == (2, 2)
    add_to_swap_cache(machine, task, addr, 2 * PAGE)
    assert not frame_at(machine, task, addr).flags & FrameFlag.SWAPCACHE


def test_files_pages_are_collected_and_stay(machine: Machine, task: Task, gpu: Device) -> None:
    addr = touched(machine, task, "16KiB", space=new_file(machine, "16KiB"), is_shared=True)
    assert moved(machine, task, addr, 4 * PAGE) == (4, 0)
    assert nodes_of(machine, task, addr, "16KiB") == [[4, 0]]
    assert used(gpu) == 0


def test_private_copies_go_and_absent_pages_do_not(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB", space=new_file(machine, "16KiB"))
    touch(machine, task, addr, 2 * PAGE)
    assert moved(machine, task, addr, 4 * PAGE) == (2, 2)
    assert touches(machine, task, addr, 2 * PAGE, write=True) == 2


def test_page_on_another_device_is_not_collected(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    assert moved(machine, task, addr, PAGE, "other") == (1, 1)
    assert moved(machine, task, addr, 2 * PAGE) == (1, 1)
    assert [used(device) for device in machine.devices.values()] == [1, 1]
    assert moved(machine, task, addr, 2 * PAGE, "ram") == (2, 2)


def test_huge_page_is_split_first(machine: Machine, task: Task) -> None:
    addr = huge(machine, task, "4MiB")
    machine.counters.clear()
    assert moved(machine, task, addr + PAGE, 2 * PAGE) == (2, 2)
    assert machine.counters["thp_split_page"] == 1
    assert nodes_of(machine, task, addr, "4MiB") == [[1, 0], [2, -1], [1021, 0]]


def test_huge_zero_page_is_split_first(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    addr = mapped(machine, task, "2MiB")
    touch(machine, task, addr, PAGE, write=False)
    assert moved(machine, task, addr, 2 * PAGE) == (2, 2)


def test_huge_page_mapped_by_pages_is_passed_over(machine: Machine, task: Task) -> None:
    addr = huge(machine, task)
    madvise(machine, task, addr, PAGE, Madv.DONTNEED)
    assert moved(machine, task, addr, 4 * PAGE) == (1, 1)


def test_what_is_not_a_part_of_one_mapping_is_refused(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    mbind(machine, task, addr, 2 * PAGE, MPOL.BIND, Nodemask.of(0), 0)
    for at, length in [(addr, 0), (addr, PAGE - 1), (addr, 4 * PAGE), (addr - PAGE, 2 * PAGE)]:
        assert errno_of(migrate_vma, machine, task, at, length, "gpu") == "EINVAL"


def test_hugetlb_memory_and_unknown_devices_are_refused(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "16KiB")
    assert errno_of(migrate_vma, machine, task, addr, PAGE, "npu") == "ENODEV"
    task.mm.vmas[0].flags |= Vm.HUGETLB
    assert errno_of(migrate_vma, machine, task, addr, PAGE, "gpu") == "EINVAL"


def test_full_device_leaves_pages_where_they_are(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "80KiB")
    assert moved(machine, task, addr, 20 * PAGE, "other") == (20, 16)
    assert nodes_of(machine, task, addr, "80KiB") == [[16, -1], [4, 0]]
    assert moved(machine, task, addr, 20 * PAGE, "other") == (4, 0)


def test_full_nodes_leave_pages_on_the_device(machine: Machine, task: Task, gpu: Device) -> None:
    addr = on_gpu(machine, task)
    fill(machine, task)
    assert moved(machine, task, addr, 4 * PAGE, "ram") == (4, 0)
    assert used(gpu) == 4


def test_touch_without_memory_kills(machine: Machine, task: Task, gpu: Device) -> None:
    addr = on_gpu(machine, task)
    fill(machine, task)
    faults = machine.counters["pgfault"]
    assert touch(machine, task, addr, PAGE, write=False) == "SIGKILL"
    assert machine.counters["pgfault"] == faults + 1
    assert used(gpu) == 0


def test_device_survives_the_store(machine: Machine, task: Task) -> None:
    on_gpu(machine, task)
    again = copy_machine(machine)
    check(again)
    assert plain(again) == plain(machine)
