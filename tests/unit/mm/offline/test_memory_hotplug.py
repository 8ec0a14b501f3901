"""Memory blocks that go offline and come back."""

from collections.abc import Callable

import pytest

from pymigrate.errors import KernelError
from pymigrate.mm.base.memmap import Busy
from pymigrate.mm.compact.compaction import compact_node
from pymigrate.mm.frames.page_alloc import zonelist
from pymigrate.mm.offline.memory_hotplug import (
    BLOCK_NR,
    MemoryBlock,
    memory_blocks,
    model_pfn,
    offline_pages,
    online_pages,
    physical,
    valid_zones,
)
from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Cpuset, Task
from pymigrate.nodemask import Nodemask
from pymigrate.scenario.boot.build import boot
from pymigrate.scenario.spec.models import MachineSpec
from pymigrate.syscalls.gup import pin, unpin, work_on
from pymigrate.syscalls.mmap import memfd_secret, munmap
from pymigrate.syscalls.process import touch
from pymigrate.uapi import MPOL
from tests.conftest import (
    MIB,
    PAGE,
    errno_of,
    hold,
    mapped,
    new_file,
    new_task,
    nodes_of,
    nodes_with,
    placed_on,
    touched,
)
from tests.property.invariants import check
from tests.unit.mm.conftest import with_task

LONG = True


@pytest.fixture
def machine() -> Machine:
    return nodes_with("256MiB", "256MiB", "256MiB")


def block(machine: Machine, number: int) -> MemoryBlock:
    return next(b for b in memory_blocks(machine) if b.number == number)


def empty(machine: Machine, nid: int) -> None:
    """Take all memory of a node away."""
    for each in memory_blocks(machine, nid):
        offline_pages(machine, each)
    check(machine)


def test_blocks_are_128_mib_of_physical_memory(machine: Machine) -> None:
    blocks = memory_blocks(machine)
    assert [b.number for b in blocks] == [0, 1, 2, 3, 4, 5]
    assert [b.nodes for b in blocks] == [(0,), (0,), (1,), (1,), (2,), (2,)]
    assert {b.nr for b in blocks[1:]} == {32768}


def test_physical_numbers_run_on_from_node_to_node(machine: Machine) -> None:
    assert physical(machine, (1 << 32) + 5) == 65536 + 5
    assert model_pfn(machine, 65536 + 5) == (1 << 32) + 5
    assert model_pfn(machine, 3 * 65536) is None


def test_physical_numbers_stay_when_memory_goes(machine: Machine) -> None:
    empty(machine, 1)
    assert physical(machine, 2 << 32) == 2 * 65536


def test_pages_move_to_the_nearest_other_node(task: Task) -> None:
    machine = nodes_with(
        "256MiB", "256MiB", "256MiB", distances=((10, 20, 20), (20, 10, 15), (20, 15, 10))
    )
    task = new_task(machine)
    addr = touched(machine, task, "1MiB", node=1)
    empty(machine, 1)
    assert nodes_of(machine, task, addr, "1MiB") == [[256, 2]]
    assert machine.counters["pgmigrate_success"] == 256


def test_only_what_lies_in_the_block_moves(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "192MiB", node=1)
    offline_pages(machine, block(machine, 2))
    assert nodes_of(machine, task, addr, "192MiB") == [[32768, 2], [16384, 1]]


def test_page_cache_that_nobody_maps_moves(machine: Machine, task: Task) -> None:
    file = new_file(machine, "1MiB", "ext4")
    addr = mapped(machine, task, "1MiB", "r", space=file)
    with placed_on(task, 1):
        touch(machine, task, addr, MIB, write=False)
    munmap(machine, task, addr, MIB)
    empty(machine, 1)
    assert {run.lanes[0] >> 32 for run in file.pages.runs} == {2}


def test_trace_shows_sync_mode_and_the_highest_frame_first(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8KiB", node=1)
    machine.watch = Watch([])
    offline_pages(machine, block(machine, 2))
    told = [(e.name, e.page, e.text) for e in machine.watch.events if hasattr(e, "text")]
    assert told[0][2] == "mode=MIGRATE_SYNC reason=memory_hotplug"
    pages = [page for name, page, _ in told if name == "set_migration_pte"]
    assert pages == [addr // PAGE + 1, addr // PAGE]


def test_pinned_page_is_tried_until_a_signal_comes(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "16KiB", node=1)
    pin(machine, task, addr, PAGE, LONG)
    assert errno_of(offline_pages, machine, block(machine, 2)) == "EINTR"
    assert nodes_of(machine, task, addr, "16KiB") == [[1, 1], [3, 2]]
    assert machine.nodes[1].nr_free == 65536 - 1
    check(machine)
    unpin(machine, task, addr, PAGE, LONG)
    empty(machine, 1)


def test_work_that_ends_is_waited_for(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "4KiB", node=1)
    work_on(machine, task, addr, PAGE, Busy.LOCKED, 5)
    offline_pages(machine, block(machine, 2))
    assert nodes_of(machine, task, addr, "4KiB") == [[1, 2]]


def test_full_machine_keeps_its_memory() -> None:
    machine = nodes_with("128MiB", "256MiB")
    touched(machine, new_task(machine), "200MiB", node=1)
    assert errno_of(offline_pages, machine, block(machine, 1)) == "EINTR"
    assert machine.nodes[1].nr_pages == 65536
    check(machine)


def test_block_of_the_only_node_is_emptied_into_its_others(task: Task) -> None:
    machine, task = with_task(nodes_with("512MiB"))
    addr = touched(machine, task, "300MiB")
    offline_pages(machine, block(machine, 1))
    assert nodes_of(machine, task, addr, "300MiB") == [[76800, 0]]
    assert machine.nodes[0].nr_pages == 3 * 32768
    check(machine)


@pytest.mark.parametrize(
    ("memory", "number", "why"),
    [
        pytest.param(("256MiB",), 0, "it lies in several zones", id="it lies in two zones"),
        pytest.param(
            ("192MiB", "192MiB"), 1, "it lies in several zones", id="it lies on two nodes"
        ),
        pytest.param(("256MiB", "192MiB"), 3, "it has a hole", id="it has a hole"),
    ],
)
def test_some_blocks_never_go_offline(memory: tuple[str, ...], number: int, why: str) -> None:
    machine = nodes_with(*memory)
    with pytest.raises(KernelError) as failure:
        offline_pages(machine, block(machine, number))
    assert (failure.value.name, failure.value.why) == ("EINVAL", why)
    check(machine)


def test_block_goes_once_and_comes_once(machine: Machine) -> None:
    offline_pages(machine, block(machine, 2))
    assert errno_of(offline_pages, machine, block(machine, 2)) == "EINVAL"
    assert errno_of(online_pages, machine, block(machine, 3)) == "EINVAL"


def test_empty_node_has_no_memory_for_anybody(machine: Machine, task: Task) -> None:
    empty(machine, 1)
    assert machine.memory_nodes == Nodemask.parse("0,2")
    assert zonelist(machine, 1) == (2, 0)
    assert task.mems_allowed == Nodemask.parse("0,2")
    addr = mapped(machine, task, "8KiB")
    with placed_on(task, 1):
        touch(machine, task, addr, 2 * PAGE)
    assert nodes_of(machine, task, addr, "8KiB") == [[2, 2]]


def test_watermarks_and_span_follow(machine: Machine) -> None:
    [zone] = machine.nodes[1].zones
    before = zone.watermark_low
    offline_pages(machine, block(machine, 2))
    assert zone.watermark_low < before
    assert zone.span == (zone.start + 32768, zone.end)
    online_pages(machine, block(machine, 2))
    assert zone.watermark_low == before
    assert zone.span == (zone.start, zone.end)


def test_policies_are_rebound_as_when_a_cpuset_loses_the_node(machine: Machine, task: Task) -> None:
    task.policy = Mempolicy(MPOL.BIND, 0, Nodemask.of(1), machine.memory_nodes)
    empty(machine, 1)
    assert task.policy.nodes == Nodemask.of(2)  # the second of two, as it was of three


def test_cpuset_uses_what_is_left_and_its_own_again(machine: Machine, task: Task) -> None:
    machine.cpusets["batch"] = Cpuset("batch", task.cpus, Nodemask.of(1), True, Nodemask.of(1))
    task.cpuset, task.mems_allowed = "batch", Nodemask.of(1)
    addr = touched(machine, task, "1MiB", node=1)
    empty(machine, 1)
    assert task.mems_allowed == Nodemask.parse("0,2")
    assert nodes_of(machine, task, addr, "1MiB") == [[256, 2]]
    for each in memory_blocks(machine, 1):
        online_pages(machine, each)
    assert task.mems_allowed == Nodemask.of(1)
    assert nodes_of(machine, task, addr, "1MiB") == [[256, 1]]


def test_v1_cpuset_that_loses_its_last_node_loses_its_tasks() -> None:
    machine = nodes_with("256MiB", "256MiB", "256MiB", kernel="6.1")
    task, only = new_task(machine), Nodemask.of(1)
    batch = machine.cpusets["batch"] = Cpuset("batch", task.cpus, only, True, only)
    task.cpuset, task.mems_allowed = "batch", only
    empty(machine, 1)
    assert (task.cpuset, str(task.mems_allowed), batch.mems) == ("", "0,2", Nodemask())


def test_free_huge_pages_of_the_pool_are_dissolved(machine: Machine) -> None:
    set_nr_hugepages(machine, 3, 1)
    empty(machine, 1)
    assert machine.nodes[1].hugetlb.nr == 0


def test_reserved_huge_pages_keep_their_block(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 1, 1)  # it is the highest
    mapped(machine, task, "2MiB", hugetlb=True)
    assert errno_of(offline_pages, machine, block(machine, 3)) == "EBUSY"


def test_huge_page_in_use_moves_to_another_pool(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 1, 1)
    set_nr_hugepages(machine, 1, 0)
    addr = mapped(machine, task, "2MiB", hugetlb=True)
    with placed_on(task, 1):
        touch(machine, task, addr, 2 * MIB)
    empty(machine, 1)
    assert nodes_of(machine, task, addr, "2MiB") == [[512, 0]]
    assert (machine.nodes[0].hugetlb.nr, machine.nodes[1].hugetlb.nr) == (1, 0)


def test_huge_page_in_use_gets_a_fresh_one_without_pools(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 2, 1)  # the free one must go, too
    addr = mapped(machine, task, "2MiB", hugetlb=True)
    touch(machine, task, addr, 2 * MIB)
    machine.counters.clear()
    empty(machine, 1)
    assert nodes_of(machine, task, addr, "2MiB") == [[512, 2]]
    assert (machine.nodes[2].hugetlb.nr, machine.nodes[1].hugetlb.nr) == (1, 0)
    assert machine.counters["htlb_buddy_alloc_success"] == 1


def test_memory_comes_back_free(machine: Machine, task: Task) -> None:
    touched(machine, task, "1MiB", node=1)
    empty(machine, 1)
    for each in memory_blocks(machine, 1):
        online_pages(machine, each)
    assert machine.nodes[1].nr_free == 65536
    assert machine.memory_nodes == Nodemask.parse("0-2")


@pytest.mark.parametrize(
    ("number", "zones"),
    [
        pytest.param(2, ["dma32", "movable"], id="in the midst of a lower zone"),
        pytest.param(4, ["normal", "movable"], id="in front of movable memory"),
        pytest.param(5, ["movable", "normal"], id="movable memory around it"),
    ],
)
def test_a_block_is_of_the_zone_around_it(number: int, zones: list[str]) -> None:
    nodes = {0: {"cpus": "0", "memory": "512MiB"}, 1: {"memory": "512MiB", "movable": "512MiB"}}
    machine = boot(MachineSpec.model_validate({"nodes": nodes}), "6.12")
    offline_pages(machine, block(machine, number))
    assert valid_zones(machine, block(machine, number)) == zones


def zones_of(machine: Machine, nid: int) -> list[tuple[str, int, int]]:
    """Zones of a node: the blocks of 128 MiB from the first to the last one, and how many are its.

    They count from the node's first block.
    """
    first = machine.nodes[nid].span[0]
    return [
        (zone.name, (zone.start - first) // BLOCK_NR, zone.nr // BLOCK_NR)
        for zone in machine.nodes[nid].zones
    ]


@pytest.mark.parametrize(
    ("gone", "back", "zones"),
    [
        pytest.param("4567", [("4567", "online")], [("normal", 0, 4)], id="nothing was left"),
        pytest.param("5", [("5", "online")], [("movable", 0, 4)], id="in the midst"),
        pytest.param("7", [("7", "online")], [("movable", 0, 3), ("normal", 3, 1)], id="the last"),
        pytest.param("47", [("47", "online")], [("normal", 0, 2), ("movable", 1, 2)], id="both"),
        pytest.param(
            "5", [("5", "online_kernel")], [("normal", 1, 1), ("movable", 0, 3)], id="own"
        ),
        pytest.param(
            "47",
            [("4", "online"), ("7", None)],
            [("normal", 0, 1), ("movable", 1, 3)],
            id="as it was",
        ),
        pytest.param(
            "4567",
            [("46", "online_kernel"), ("57", "online_movable")],
            [("normal", 0, 2), ("movable", 1, 2)],
            id="in turn",
        ),
    ],
)
def test_what_is_written_chooses_the_zone(
    gone: str, back: list[tuple[str, str | None]], zones: list[tuple[str, int, int]]
) -> None:
    nodes = {0: {"cpus": "0", "memory": "512MiB"}, 1: {"memory": "512MiB", "movable": "512MiB"}}
    machine = boot(MachineSpec.model_validate({"nodes": nodes}), "6.12")
    for number in gone:
        offline_pages(machine, block(machine, int(number)))
    for numbers, state in back:
        for number in numbers:
            online_pages(machine, block(machine, int(number)), state)
            check(machine)
    assert sorted(zones_of(machine, 1)) == sorted(zones)
    task = new_task(machine)
    touched(machine, task, "500MiB", node=1)
    compact_node(machine, machine.nodes[1])
    check(machine)
    for each in memory_blocks(machine, 1):
        offline_pages(machine, each)
        check(machine)
    assert all(zone.managed == 0 for zone in machine.nodes[1].zones)


def pinned(machine: Machine, task: Task, addr: int) -> None:
    pin(machine, task, addr, 3 * PAGE, is_long=True)


def referenced(machine: Machine, task: Task, addr: int) -> None:
    hold(machine, task, addr, pins=0)


def secret(machine: Machine, task: Task, addr: int) -> None:
    with placed_on(task, 1):
        addr = mapped(machine, task, "8KiB", space=memfd_secret(machine, 2 * PAGE), is_shared=True)
        touch(machine, task, addr, 2 * PAGE)


def large(machine: Machine, task: Task, addr: int) -> None:
    machine.thp = "always"
    hold(machine, task, touched(machine, task, "2MiB", node=1))


@pytest.mark.parametrize(
    ("keep", "why"),
    [
        (large, "of a large folio that is held, or finds no memory elsewhere (511 pages)"),
        (pinned, "pinned by a (3 pages)"),
        (referenced, "referenced (1 page)"),
        (secret, "kept by secretmem (2 pages)"),
    ],
)
def test_what_keeps_a_block_is_told(
    machine: Machine, task: Task, keep: Callable[[Machine, Task, int], None], why: str
) -> None:
    keep(machine, task, touched(machine, task, "32KiB", node=1))
    with pytest.raises(KernelError) as failure:
        empty(machine, 1)
    assert failure.value.name == "EINTR"
    assert why in str(failure.value.why)
