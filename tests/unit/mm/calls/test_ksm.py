"""KSM: which pages become one, who maps them then, and how they come apart again."""

from collections.abc import Callable

import pytest

from pymigrate.mm.balance.scan import task_numa_work
from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.memmap import Busy, FrameFlag, mapping_bits, nid_of
from pymigrate.mm.base.pte import Pte
from pymigrate.mm.calls import ksm
from pymigrate.mm.compact.compaction import compact_memory
from pymigrate.mm.faults.migrate_device import Select, migrate_to_device, migrate_vma_setup
from pymigrate.mm.frames.busy import begin
from pymigrate.mm.state.events import Name, Step
from pymigrate.mm.state.machine import Machine, add_device
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls import gup
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.mempolicy import mbind
from pymigrate.syscalls.migrate import migrate_pages, move_pages
from pymigrate.syscalls.mmap import mlock, mprotect, munmap
from pymigrate.syscalls.process import exit_task, fork, touch
from pymigrate.uapi import MPOL_MF_MOVE_ALL
from tests.conftest import (
    PAGE,
    errno_of,
    flags_at,
    hold,
    kernel_page,
    mapped,
    maps,
    new_task,
    nodes_of,
    pfn_at,
    placed_on,
    touched,
    two_nodes,
)
from tests.property.invariants import check
from tests.unit.mm.conftest import entry_events, frame_at, with_task


@pytest.fixture
def machine() -> Machine:
    return two_nodes("16MiB")


def scan(machine: Machine) -> tuple[int, int, int]:
    """Merge; give how many merged pages there are, how many more map them, and single pages."""
    ksm.scan(machine)
    check(machine)
    return ksm.state(machine)


def advised(machine: Machine, task: Task, nr: int, node: int = 0, write: bool = True) -> int:
    """The address of *nr* pages that may be merged: written to, or zero-filled."""
    addr = mapped(machine, task, f"{nr * 4}KiB")
    with placed_on(task, node):
        if write:
            touch(machine, task, addr, nr * PAGE)
        else:
            madvise(machine, task, addr, nr * PAGE, Madv.POPULATE_WRITE)
    madvise(machine, task, addr, nr * PAGE, Madv.MERGEABLE)
    return addr


def merged(machine: Machine, task: Task, nr: int) -> int:
    """The address of *nr* pages that have become one."""
    addr = advised(machine, task, nr)
    scan(machine)
    return addr


def test_parents_that_were_not_scanned_do_not_count(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    child = fork(machine, task, "child")
    madvise(machine, child, addr, 4 * PAGE, Madv.MERGEABLE)
    assert scan(machine) == (1, 3, 0)
    exit_task(machine, child)
    assert ksm.state(machine) == (0, 0, 0)


def test_pages_with_the_same_content_become_one(machine: Machine, task: Task) -> None:
    addr = advised(machine, task, 4)
    used = machine.nodes[0].nr_free
    assert scan(machine) == (1, 3, 0)
    frame = frame_at(machine, task, addr)
    assert frame.mapcount == 4
    assert frame.flags & FrameFlag.KSM
    assert machine.nodes[0].nr_free == used + 3


def test_memory_without_the_advice_is_left_alone(machine: Machine, task: Task) -> None:
    touched(machine, task, "16KiB")
    assert scan(machine) == (0, 0, 0)


def test_zero_filled_pages_are_merged_among_themselves(machine: Machine, task: Task) -> None:
    advised(machine, task, 3)
    advised(machine, task, 2, write=False)
    assert scan(machine) == (2, 3, 0)


def test_second_of_two_equal_pages_is_the_one_that_stays(machine: Machine, task: Task) -> None:
    first = advised(machine, task, 1, node=0)
    second = advised(machine, task, 2, node=1)
    scan(machine)
    assert nodes_of(machine, task, first, "4KiB") == [[1, 1]]
    assert nodes_of(machine, task, second, "8KiB") == [[2, 1]]


def test_page_without_a_twin_stays_as_it_is(machine: Machine, task: Task) -> None:
    addr = advised(machine, task, 1)
    assert scan(machine) == (0, 0, 1)
    assert flags_at(task, addr) & Pte.WRITE


def test_tasks_of_different_families_share_a_merged_page(machine: Machine, task: Task) -> None:
    other = new_task(machine, "b", 1)
    ours, theirs = advised(machine, task, 2), advised(machine, other, 2, node=1)
    assert scan(machine) == (1, 3, 0)
    assert pfn_at(task, ours) == pfn_at(other, theirs)


def test_merged_page_stands_for_256_at_most(machine: Machine, task: Task) -> None:
    advised(machine, task, 2 * 256 + 1)
    assert [scan(machine), scan(machine)] == [(2, 510, 1)] * 2


def test_new_pages_join_those_that_are_merged_already(machine: Machine, task: Task) -> None:
    addr = merged(machine, task, 3)
    again = advised(machine, task, 2)
    assert scan(machine) == (1, 4, 0)
    assert pfn_at(task, addr) == pfn_at(task, again)


def test_scanning_twice_changes_nothing(machine: Machine, task: Task) -> None:
    addr = merged(machine, task, 300)
    items = {node: list(items) for node, items in machine.stable_tree.items.items()}
    before = [pfn_at(task, addr + i * PAGE) for i in range(300)]
    scan(machine)
    assert [pfn_at(task, addr + i * PAGE) for i in range(300)] == before
    assert machine.stable_tree.items == items


def referenced(machine: Machine, task: Task, addr: int) -> None:
    hold(machine, task, addr, pins=0)


def worked_on(machine: Machine, task: Task, addr: int) -> None:
    begin(machine, pfn_at(task, addr), Busy.LOCKED)


def on_a_device(machine: Machine, task: Task, addr: int) -> None:
    add_device(machine, "gpu", 16)
    migrate_to_device(machine, task, machine.devices["gpu"], addr >> 12, (addr >> 12) + 1)


@pytest.mark.parametrize(("keep", "single"), [(referenced, 1), (worked_on, 1), (on_a_device, 0)])
def test_page_that_is_in_use_otherwise_is_not_merged(
    machine: Machine, task: Task, keep: Callable[[Machine, Task, int], None], single: int
) -> None:
    keep(machine, task, advised(machine, task, 3))
    assert scan(machine) == (1, 1, single)


def test_huge_page_is_split_and_merged(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    addr = advised(machine, task, 512)
    assert frame_at(machine, task, addr).order == 9
    assert scan(machine) == (2, 510, 0)
    assert machine.counters["thp_split_page"] == 1
    assert machine.counters["thp_split_pmd"] == 1


@pytest.mark.parametrize(("keep", "failed"), [(referenced, 1), (worked_on, 0)])
def test_huge_page_that_is_in_use_otherwise_stays_huge(
    machine: Machine, task: Task, keep: Callable[[Machine, Task, int], None], failed: int
) -> None:
    machine.thp = "always"
    addr = advised(machine, task, 512)
    keep(machine, task, addr)
    ksm.scan(machine)
    assert frame_at(machine, task, addr).order == 9
    assert machine.counters["thp_split_page_failed"] == failed


def test_page_shared_by_fork_is_no_twin_of_itself(machine: Machine, task: Task) -> None:
    advised(machine, task, 1)
    fork(machine, task, "b")
    assert scan(machine)[:2] == (0, 0)


def test_pages_shared_by_fork_merge_in_all_tasks(machine: Machine, task: Task) -> None:
    addr = advised(machine, task, 3)
    child = fork(machine, task, "b")
    assert scan(machine) == (1, 5, 0)
    assert pfn_at(task, addr) == pfn_at(child, addr + 2 * PAGE)


def test_fork_maps_merged_pages_in_the_child_too(machine: Machine, task: Task) -> None:
    addr = merged(machine, task, 4)
    child = fork(machine, task, "b")
    check(machine)
    assert frame_at(machine, child, addr).mapcount == 8
    exit_task(machine, task)
    assert frame_at(machine, child, addr).mapcount == 4
    assert migrate_pages(machine, child, child, Nodemask.of(0), Nodemask.of(1)) == 3
    assert nodes_of(machine, child, addr, "16KiB") == [[4, 1]]


def test_last_entry_that_goes_frees_a_merged_page(machine: Machine, task: Task) -> None:
    free = machine.nodes[0].nr_free
    addr = merged(machine, task, 4)
    munmap(machine, task, addr, 2 * PAGE)
    check(machine)
    assert frame_at(machine, task, addr + 2 * PAGE).mapcount == 2
    exit_task(machine, task)
    assert machine.nodes[0].nr_free == free
    assert scan(machine) == (0, 0, 0)
    assert not machine.stable_tree.items


def test_store_into_a_merged_page_copies_it(machine: Machine, task: Task) -> None:
    addr = merged(machine, task, 4)
    with placed_on(task, 1):
        touch(machine, task, addr, PAGE)
    assert machine.counters["cow_ksm"] == 1
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 1], [3, 0]]
    assert frame_at(machine, task, addr + PAGE).mapcount == 3


def test_store_into_the_last_mapping_copies_a_merged_page(machine: Machine, task: Task) -> None:
    addr = merged(machine, task, 2)
    touch(machine, task, addr, 2 * PAGE)
    assert machine.counters["cow_ksm"] == 2
    assert not frame_at(machine, task, addr + PAGE).flags & FrameFlag.KSM
    assert scan(machine) == (1, 1, 0)


def test_long_pin_is_taken_on_a_copy(machine: Machine, task: Task) -> None:
    addr = merged(machine, task, 4)
    gup.pin(machine, task, addr, PAGE, True)
    assert machine.counters["cow_ksm"] == 1
    assert frame_at(machine, task, addr).pins == 1
    assert frame_at(machine, task, addr + PAGE).mapcount == 3


def test_unmergeable_memory_is_copied_but_not_stored_into(machine: Machine, task: Task) -> None:
    addr = merged(machine, task, 4)
    touch(machine, task, addr + PAGE, PAGE)  # a copy already
    madvise(machine, task, addr, 2 * PAGE, Madv.UNMERGEABLE)
    assert frame_at(machine, task, addr).mapcount == 1
    assert frame_at(machine, task, addr + 2 * PAGE).mapcount == 2
    assert machine.counters["cow_ksm"] == 2
    assert flags_at(task, addr) == Pte.PRESENT | Pte.YOUNG | Pte.EXCLUSIVE


def test_unmerging_without_memory_is_enomem() -> None:
    machine, task = with_task(two_nodes("4MiB"))
    addr = merged(machine, task, 1000)
    touched(machine, task, "6MiB")
    assert errno_of(madvise, machine, task, addr, 1000 * PAGE, Madv.UNMERGEABLE) == "ENOMEM"


def test_merged_page_is_read_only_in_memory_made_writable(machine: Machine, task: Task) -> None:
    addr = merged(machine, task, 4)
    mprotect(machine, task, addr, 4 * PAGE, "r")
    mprotect(machine, task, addr, 4 * PAGE, "rw")
    assert frame_at(machine, task, addr).mapcount == 4


@pytest.mark.parametrize(("prot", "copies"), [("rw", 4), ("r", 0)])
def test_locking_takes_merged_pages_apart_that_may_be_written(
    machine: Machine, task: Task, prot: str, copies: int
) -> None:
    addr = advised(machine, task, 4)
    mprotect(machine, task, addr, 4 * PAGE, prot)
    scan(machine)
    mlock(machine, task, addr, 4 * PAGE)
    frame = frame_at(machine, task, addr)
    assert machine.counters["cow_ksm"] == copies
    found = (frame.mapcount, frame.flags & FrameFlag.MLOCKED)
    assert found == (1 if copies else 4, FrameFlag.MLOCKED)


def test_page_merged_into_locked_memory_is_mlocked(machine: Machine, task: Task) -> None:
    addr = advised(machine, task, 4)
    mlock(machine, task, addr, PAGE)
    scan(machine)
    assert frame_at(machine, task, addr).flags & FrameFlag.MLOCKED


def test_merged_page_moves_as_one_folio_for_all(machine: Machine, task: Task) -> None:
    addr = merged(machine, task, 3)
    assert move_pages(machine, task, task, [addr], [1], MPOL_MF_MOVE_ALL).ret == 0
    check(machine)
    assert nodes_of(machine, task, addr, "12KiB") == [[3, 1]]
    assert machine.counters["pgmigrate_success"] == 1
    touch(machine, task, addr, PAGE)
    assert scan(machine) == (1, 2, 0)
    assert nid_of(pfn_at(task, addr)) == 1


def test_merged_page_is_busy_when_it_is_named_again(machine: Machine, task: Task) -> None:
    addr = merged(machine, task, 3)
    addrs = [addr, addr + PAGE, addr + 2 * PAGE]
    result = move_pages(machine, task, task, addrs, [1] * 3, MPOL_MF_MOVE_ALL)
    assert result.status == [1, -16, 1]


def test_merged_page_is_shared_even_in_one_process(machine: Machine, task: Task) -> None:
    addr = merged(machine, task, 3)
    assert move_pages(machine, task, task, [addr], [1], 2).status == [-13]
    task.caps = 0
    assert migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1)) == 0
    assert nodes_of(machine, task, addr, "12KiB") == [[3, 0]]


def test_merged_page_that_one_entry_maps_needs_no_move_all(machine: Machine, task: Task) -> None:
    addr = merged(machine, task, 2)
    touch(machine, task, addr, PAGE)
    assert move_pages(machine, task, task, [addr + PAGE], [1], 2).status == [1]
    assert frame_at(machine, task, addr + PAGE).flags & FrameFlag.KSM


def test_every_mapping_of_a_merged_page_has_its_trace_line(machine: Machine, task: Task) -> None:
    addr = advised(machine, task, 3)
    other = new_task(machine, "b", 1)
    advised(machine, other, 1)
    scan(machine)
    machine.watch = Watch([])
    move_pages(machine, task, task, [addr], [1], MPOL_MF_MOVE_ALL)
    assert entry_events(machine) == ["set_migration_pte"] * 4 + ["remove_migration_pte"] * 4


def test_merged_page_with_a_reference_stays(machine: Machine, task: Task) -> None:
    addr = merged(machine, task, 3)
    gup.pin(machine, task, addr, PAGE, False)
    assert move_pages(machine, task, task, [addr], [1], MPOL_MF_MOVE_ALL).ret == 1
    assert machine.counters["pgmigrate_fail"] == 1
    assert nodes_of(machine, task, addr, "12KiB") == [[3, 0]]


def test_mbind_moves_merged_and_other_pages(machine: Machine, task: Task) -> None:
    addr = merged(machine, task, 3)
    touch(machine, task, addr + PAGE, PAGE)
    mbind(machine, task, addr, 3 * PAGE, 3, Nodemask.of(1), MPOL_MF_MOVE_ALL)
    assert nodes_of(machine, task, addr, "12KiB") == [[3, 1]]
    assert machine.counters["pgmigrate_success"] == 2


def test_numa_scan_passes_merged_pages_over(machine: Machine, task: Task) -> None:
    machine.numa_balancing = 1
    advised(machine, task, 3, node=1)
    scan(machine)
    task_numa_work(machine, task)
    assert machine.counters["numa_pte_updates"] == 0


@pytest.mark.parametrize("is_watched", [False, True], ids=["at once", "watched"])
def test_compaction_moves_merged_pages(machine: Machine, task: Task, is_watched: bool) -> None:
    touched(machine, task, "4KiB")
    addr = merged(machine, task, 3)
    before = pfn_at(task, addr)
    kernel_page(machine, 1024)
    machine.watch = Watch([] if is_watched else None)
    compact_memory(machine)
    machine.watch = Watch()
    assert pfn_at(task, addr) == pfn_at(task, addr + 2 * PAGE) > before
    assert machine.counters["pgmigrate_success"] == 2


def test_merged_pages_do_not_go_to_devices(machine: Machine, task: Task) -> None:
    addr = merged(machine, task, 3)
    work = migrate_vma_setup(machine, task, addr >> 12, (addr >> 12) + 3, Select.SYSTEM)
    assert work.collected == 0


def test_low_bits_of_a_merged_pages_mapping_are_both_set(machine: Machine, task: Task) -> None:
    addr = merged(machine, task, 3)
    assert mapping_bits(frame_at(machine, task, addr)) == 3


def test_steps_of_a_merged_page_tell_where_it_comes_from(machine: Machine, task: Task) -> None:
    addr = merged(machine, task, 3)
    machine.watch = Watch([], steps=True)
    move_pages(machine, task, task, [addr], [1], MPOL_MF_MOVE_ALL)
    names = {event.folio for event in machine.watch.events if isinstance(event, Step)}
    assert names == {Name((addr >> 12) + 1, task.pid)}


def test_page_in_the_swap_cache_is_merged_and_stays_there(machine: Machine, task: Task) -> None:
    addr = advised(machine, task, 3)
    gup.add_to_swap_cache(machine, task, addr, 3 << 12)
    scan(machine)
    assert migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1)) == 2
    check(machine)
    line = "default anon=3 dirty=3 mapmax=3 swapcache=3 active=0 N1=3 kernelpagesize_kB=4"
    assert maps(machine, task) == [line]
    touch(machine, task, addr, PAGE)
    assert machine.counters["cow_ksm"] == 1


def test_merged_pages_of_other_nodes_are_not_meant(machine: Machine, task: Task) -> None:
    addr = merged(machine, task, 3)
    pfn = pfn_at(task, addr)
    assert migrate_pages(machine, task, task, Nodemask.of(1), Nodemask.of(0)) == 0
    assert pfn_at(task, addr) == pfn
    assert machine.counters["pgmigrate_success"] == 0
