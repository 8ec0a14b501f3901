"""Pins, long ones and short ones: which pages they hold, and what they copy or move first."""

import pytest

from pymigrate.mm.base.pte import Pte
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.scenario.boot.build import boot
from pymigrate.scenario.spec.models import MachineSpec
from pymigrate.syscalls.gup import pin, unpin
from pymigrate.syscalls.mempolicy import set_mempolicy
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.mmap import munmap
from pymigrate.syscalls.process import exit_task, fork, touch
from pymigrate.uapi import MPOL
from tests.conftest import (
    PAGE,
    errno_of,
    flags_at,
    mapped,
    maps,
    new_file,
    new_task,
    nodes_of,
    nodes_with,
    pfn_at,
    placed_on,
    touched,
)
from tests.property.invariants import check, check_pins, used_frames
from tests.unit.mm.conftest import huge

LONG, SHORT = True, False


def is_sound(machine: Machine) -> bool:
    check(machine)
    check_pins(machine, used_frames(machine))
    return True


@pytest.mark.parametrize("kind", [LONG, SHORT], ids=["long", "short"])
def test_pinned_pages_do_not_migrate(machine: Machine, task: Task, kind: bool) -> None:
    addr = touched(machine, task, "16KiB")
    pin(machine, task, addr + PAGE, 2 * PAGE, kind)
    assert migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1)) == 2
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 1], [2, 0], [1, 1]]
    assert is_sound(machine)


@pytest.mark.parametrize("kind", [LONG, SHORT], ids=["long", "short"])
def test_unpinned_pages_do(machine: Machine, task: Task, kind: bool) -> None:
    addr = touched(machine, task, "16KiB")
    pin(machine, task, addr, 4 * PAGE, kind)
    unpin(machine, task, addr, 4 * PAGE, kind)
    assert migrate_pages(machine, task, task, Nodemask.of(0), Nodemask.of(1)) == 0


def test_only_what_was_pinned_can_be_unpinned(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    pin(machine, task, addr, 2 * PAGE, LONG)
    for call in ((addr, PAGE, LONG), (addr + PAGE, 2 * PAGE, LONG), (addr, 2 * PAGE, SHORT)):
        assert errno_of(unpin, machine, task, *call) == "EINVAL"


def test_a_page_may_be_pinned_twice(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB")
    pin(machine, task, addr, PAGE, LONG)
    pin(machine, task, addr, PAGE, LONG)
    unpin(machine, task, addr, PAGE, LONG)
    assert frame_of(machine, 0).pins == 1
    assert machine.nodes[0].numa["nr_foll_pin_acquired"] == 2
    assert machine.nodes[0].numa["nr_foll_pin_released"] == 1


def test_a_long_pin_faults_in_for_writing_and_breaks_sharing(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    child = fork(machine, task, "b")
    pin(machine, child, addr, PAGE, LONG)
    assert [frame_of(machine, pfn).mapcount for pfn in (0, 1, 2)] == [1, 2, 1]
    absent = mapped(machine, task, "4KiB")
    pin(machine, task, absent, PAGE, LONG)
    assert nodes_of(machine, task, absent, "4KiB") == [[1, 0]]
    assert is_sound(machine)


def test_a_short_one_faults_in_for_reading(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    child = fork(machine, task, "b")
    pin(machine, child, addr, PAGE, SHORT)
    assert (frame_of(machine, 0).mapcount, frame_of(machine, 0).extra_refs) == (2, 1)
    absent = mapped(machine, task, "4KiB")
    pin(machine, task, absent, PAGE, SHORT)
    assert nodes_of(machine, task, absent, "4KiB") == [[1, -1]]


def test_a_page_populated_by_a_read_stays_clean(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "4KiB", is_shared=True)
    touch(machine, task, addr, PAGE, write=False)
    pin(machine, task, addr, PAGE, LONG)
    assert "dirty" not in maps(machine, task)[0]


@pytest.mark.parametrize(
    ("prot", "kind", "held"),
    [
        pytest.param("r", LONG, "EFAULT", id="long, read-only"),
        pytest.param("none", SHORT, "EFAULT", id="short, inaccessible"),
        pytest.param("r", SHORT, 2, id="short, read-only"),
    ],
)
def test_the_protection_must_allow_it(
    machine: Machine, task: Task, prot: str, kind: bool, held: int | str
) -> None:
    addr = mapped(machine, task, "8KiB", prot, space=new_file(machine, "8KiB"))
    if held == "EFAULT":
        assert errno_of(pin, machine, task, addr, 2 * PAGE, kind) == "EFAULT"
    else:
        pin(machine, task, addr, 2 * PAGE, kind)
        assert machine.pins[0].nr_held == held


@pytest.mark.parametrize(("kind", "held"), [(LONG, None), (SHORT, 2)])
def test_a_long_pin_needs_all_pages_a_short_one_takes_what_it_can(
    machine: Machine, task: Task, kind: bool, held: int | None
) -> None:
    addr = mapped(machine, task, "16KiB", space=new_file(machine, "8KiB"), is_shared=True)
    if held is None:
        assert errno_of(pin, machine, task, addr, 4 * PAGE, kind) == "EFAULT"
        assert machine.pins == []
    else:
        pin(machine, task, addr, 4 * PAGE, kind)
        assert machine.pins[0].nr_held == held


def test_a_hole_ends_a_short_pin(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    munmap(machine, task, addr + PAGE, PAGE)
    pin(machine, task, addr, 4 * PAGE, SHORT)
    assert machine.pins[0].nr_held == 1
    assert errno_of(pin, machine, task, addr + PAGE, PAGE, SHORT) == "EFAULT"


def test_pinned_memory_outlives_its_mapping_until_it_is_unpinned(
    machine: Machine, task: Task
) -> None:
    addr = touched(machine, task, "16KiB")
    pin(machine, task, addr, 2 * PAGE, LONG)
    munmap(machine, task, addr, 4 * PAGE)
    assert machine.nodes[0].nr_free == 1022
    unpin(machine, task, addr, 2 * PAGE, LONG)
    assert machine.nodes[0].nr_free == 1024


def test_a_files_page_stays_cached_when_it_is_unpinned(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB", space=new_file(machine, "4KiB"), is_shared=True)
    pin(machine, task, addr, PAGE, LONG)
    munmap(machine, task, addr, PAGE)
    unpin(machine, task, addr, PAGE, LONG)
    assert machine.nodes[0].nr_free == 1023
    assert is_sound(machine)


def test_shared_memory_that_is_gone_is_freed_when_it_is_unpinned(
    machine: Machine, task: Task
) -> None:
    addr = touched(machine, task, "8KiB", is_shared=True)
    pin(machine, task, addr, PAGE, LONG)
    munmap(machine, task, addr, 2 * PAGE)
    assert machine.nodes[0].nr_free == 1023
    unpin(machine, task, addr, PAGE, LONG)
    assert machine.nodes[0].nr_free == 1024


def test_exit_unpins(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    child = fork(machine, task, "b")
    pin(machine, child, addr, 4 * PAGE, LONG)
    pin(machine, task, addr, PAGE, SHORT)
    exit_task(machine, child)
    assert [p.pid for p in machine.pins] == [task.pid]
    assert is_sound(machine)


def test_a_part_of_a_huge_page_is_held_page_by_page() -> None:
    machine = nodes_with("64MiB")
    task = new_task(machine)
    addr = huge(machine, task, "8MiB")
    pfn = pfn_at(task, addr)
    pin(machine, task, addr + PAGE, 5 << 20, LONG)
    assert [(run.nr, run.order) for run in machine.pins[0].runs] == [(511, 0), (512, 9), (257, 0)]
    assert machine.pins[0].extents()[0] == (pfn + 1, 511)
    unpin(machine, task, addr + PAGE, 5 << 20, LONG)
    pin(machine, task, addr + PAGE, PAGE, LONG)
    assert machine.pins[0].extents() == [(pfn + 1, 1)]


def test_memory_of_any_size_and_placement_is_held_at_once() -> None:
    """Page by page this would take hours."""
    machine = nodes_with("512GiB", "512GiB")
    free = [node.nr_free for node in machine.nodes.values()]
    task = new_task(machine)
    nodes = Nodemask.parse("0-1")
    addr = mapped(machine, task, "400GiB")
    set_mempolicy(machine, task, MPOL.INTERLEAVE, nodes)
    pin(machine, task, addr, 400 << 30, LONG)
    assert machine.pins[0].nr_held == 400 << 18
    assert len(machine.pins[0].runs) == 1
    assert sum(n.numa["nr_foll_pin_acquired"] for n in machine.nodes.values()) == 400 << 18
    munmap(machine, task, addr, 400 << 30)
    unpin(machine, task, addr, 400 << 30, LONG)
    assert [node.nr_free for node in machine.nodes.values()] == free


def test_large_folios_are_free_once_nobody_holds_any_of_them() -> None:
    machine = nodes_with("64MiB")
    task = new_task(machine)
    addr = huge(machine, task, "8MiB")
    free = machine.nodes[0].nr_free
    pin(machine, task, addr + PAGE, 5 << 20, LONG)
    pin(machine, task, addr + (5 << 20), PAGE, SHORT)
    munmap(machine, task, addr, 8 << 20)
    assert machine.nodes[0].nr_free == free + 512
    unpin(machine, task, addr + PAGE, 5 << 20, LONG)
    assert machine.nodes[0].nr_free == free + 3 * 512
    unpin(machine, task, addr + (5 << 20), PAGE, SHORT)
    assert machine.nodes[0].nr_free == free + 4 * 512


def test_a_range_need_not_be_aligned(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB")
    pin(machine, task, addr + 100, PAGE, LONG)
    assert machine.pins[0].extents() == [(0, 2)]


def test_a_pinned_page_is_copied_by_fork(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB")
    pin(machine, task, addr, PAGE, LONG)
    fork(machine, task, "b")
    assert [frame_of(machine, pfn).mapcount for pfn in (0, 1, 2)] == [1, 2, 1]
    assert is_sound(machine)


# Long-term pins of memory that must stay free to move


def with_movable(movable: str = "128MiB", **of_machine: object) -> Machine:
    """Node 1's last *movable* are ZONE_MOVABLE; a task's pages on node 1 lie there first."""
    nodes = {0: {"cpus": "0", "memory": "256MiB"}}
    nodes |= {1: {"cpus": "1", "memory": "256MiB", "movable": movable}}
    return boot(MachineSpec.model_validate({"nodes": nodes, **of_machine}), "6.12")


def zones_of(machine: Machine, task: Task, addr: int, nr: int) -> set[tuple[int, str]]:
    """The nodes and zones that pages lie in."""
    found = set()
    for page in range(addr // PAGE, addr // PAGE + nr):
        run = task.mm.page_table.at(page)
        assert run is not None
        pfn = run.pfn(page)
        found.add((pfn >> 32, machine.nodes[pfn >> 32].zone_of(pfn).name))
    return found


def test_long_pin_moves_pages_out_of_the_movable_zone() -> None:
    machine = with_movable()
    task = new_task(machine)
    addr = touched(machine, task, "16KiB", node=1)
    assert zones_of(machine, task, addr, 4) == {(1, "movable")}
    pin(machine, task, addr, 4 * PAGE, LONG)
    assert zones_of(machine, task, addr, 4) == {(1, "dma32")}
    assert machine.counters["pgmigrate_success"] == 4
    assert is_sound(machine)


def test_its_pins_are_taken_dropped_and_taken_again() -> None:
    machine = with_movable()
    task = new_task(machine)
    addr = touched(machine, task, "16KiB", node=1)
    pin(machine, task, addr, 4 * PAGE, LONG)
    numa = machine.nodes[1].numa
    assert (numa["nr_foll_pin_acquired"], numa["nr_foll_pin_released"]) == (8, 4)


def test_its_migration_is_told_as_such() -> None:
    machine = with_movable()
    task = new_task(machine)
    addr = touched(machine, task, "4KiB", node=1)
    machine.watch = Watch([])
    pin(machine, task, addr, PAGE, LONG)
    texts = [event.text for event in machine.watch.events if hasattr(event, "text")]
    assert texts[0] == "mode=MIGRATE_SYNC reason=longterm_pin"


def test_pages_of_two_nodes_move_in_one_call_each_on_its_own() -> None:
    spec = {"cpus": "", "memory": "256MiB", "movable": "128MiB"}
    nodes = {0: spec | {"cpus": "0"}, 1: spec}
    machine = boot(MachineSpec.model_validate({"nodes": nodes}), "6.12")
    task = new_task(machine)
    addr = mapped(machine, task, "8KiB")
    for node in (0, 1):
        with placed_on(task, node):
            touch(machine, task, addr + node * PAGE, PAGE)
    assert zones_of(machine, task, addr, 2) == {(0, "movable"), (1, "movable")}
    machine.watch = Watch([])
    pin(machine, task, addr, 2 * PAGE, LONG)
    assert zones_of(machine, task, addr, 2) == {(0, "dma32"), (1, "dma32")}
    names = [event.name for event in machine.watch.events]
    assert names.count("mm_migrate_pages_start") == 1


def test_short_reference_leaves_pages_in_the_movable_zone() -> None:
    machine = with_movable()
    task = new_task(machine)
    addr = touched(machine, task, "16KiB", node=1)
    pin(machine, task, addr, 4 * PAGE, SHORT)
    assert zones_of(machine, task, addr, 4) == {(1, "movable")}


def test_pages_that_a_long_pin_faults_in_are_not_movable() -> None:
    machine = with_movable()
    task = new_task(machine, cpu=1)
    addr = mapped(machine, task, "16KiB")
    pin(machine, task, addr, 4 * PAGE, LONG)
    assert zones_of(machine, task, addr, 4) == {(1, "dma32")}
    assert machine.counters["pgmigrate_success"] == 0


def test_they_lie_elsewhere_if_the_policy_names_movable_memory_alone() -> None:
    machine = with_movable("256MiB")
    task = new_task(machine, cpu=1)
    addr = mapped(machine, task, "16KiB")
    set_mempolicy(machine, task, MPOL.BIND, Nodemask.of(1))
    pin(machine, task, addr, 4 * PAGE, LONG)
    assert zones_of(machine, task, addr, 4) == {(0, "dma32")}


def test_page_that_somebody_else_holds_keeps_the_pinner_waiting_for_memory() -> None:
    machine = with_movable()
    task = new_task(machine)
    addr = touched(machine, task, "8KiB", node=1)
    pin(machine, task, addr, PAGE, SHORT)
    assert errno_of(pin, machine, task, addr, 2 * PAGE, LONG) == "ENOMEM"
    assert zones_of(machine, task, addr, 1) == {(1, "movable")}
    assert zones_of(machine, task, addr + PAGE, 1) == {(1, "dma32")}
    assert is_sound(machine)


def test_huge_page_moves_whole() -> None:
    machine = with_movable(thp="always")
    task = new_task(machine)
    addr = touched(machine, task, "2MiB", node=1)
    assert zones_of(machine, task, addr, 512) == {(1, "movable")}
    pin(machine, task, addr, PAGE, LONG)
    assert zones_of(machine, task, addr, 512) == {(1, "dma32")}
    assert machine.counters["thp_migration_success"] == 1


@pytest.mark.parametrize("nr", [1, 2], ids=["the only one", "with a free one there"])
def test_huge_page_of_the_pool_moves_to_one_that_is_not_movable(nr: int) -> None:
    machine = with_movable(hugetlb={1: nr})
    task = new_task(machine)
    addr = mapped(machine, task, "2MiB", hugetlb=True)
    touch(machine, task, addr, PAGE)
    assert zones_of(machine, task, addr, 1) == {(1, "movable")}
    pin(machine, task, addr, PAGE, LONG)
    assert zones_of(machine, task, addr, 1) == {(1, "dma32")}
    assert is_sound(machine)


def test_pin_leaves_a_huge_entry_that_was_not_used_as_it_is(machine: Machine, task: Task) -> None:
    machine.thp = "always"
    addr = touched(machine, task, "2MiB")
    child = fork(machine, task, "b")
    pin(machine, child, addr, PAGE, False)
    assert not flags_at(child, addr) & Pte.YOUNG
    assert child.mm.page_table.runs[0].order == 9
