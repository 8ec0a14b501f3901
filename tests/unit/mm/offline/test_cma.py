"""CMA and alloc_contig_range(): memory in one piece, whose pages are moved out of the way."""

import pytest

from pymigrate.mm.base.gfp import KERNEL, Gfp
from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.compact.compaction import compact_memory
from pymigrate.mm.frames.free_area import nr_free_cma, take
from pymigrate.mm.frames.page_alloc import available
from pymigrate.mm.offline.contig import alloc_contig_range, cma_alloc, cma_release, declare_cma
from pymigrate.mm.offline.memory_hotplug import memory_blocks, offline_pages
from pymigrate.mm.reclaim.hugetlb import set_nr_hugepages
from pymigrate.mm.reclaim.kernel_alloc import Blocks, alloc_kernel_pages
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Zone
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Task
from pymigrate.scenario.boot.build import boot
from pymigrate.scenario.spec.models import MachineSpec
from pymigrate.syscalls.gup import add_to_swap_cache, pin
from pymigrate.syscalls.mmap import munmap
from pymigrate.syscalls.process import touch
from pymigrate.views.proc import vmstat
from pymigrate.views.proc.meminfo import meminfo
from tests.conftest import (
    MIB,
    PAGE,
    check,
    errno_of,
    kernel_page,
    mapped,
    new_file,
    new_task,
    nodes_of,
    pfn_at,
    placed_on,
    touched,
    two_nodes,
)
from tests.unit.mm.conftest import file_mapped

LONG, SHORT = True, False


def with_cma(cma: str = "64MiB", memory: str = "256MiB", **of_machine: object) -> Machine:
    """Node 1 keeps its last *cma* for CMA."""
    nodes = {0: {"cpus": "0", "memory": "256MiB"}, 1: {"cpus": "1", "memory": memory, "cma": cma}}
    return boot(MachineSpec.model_validate({"nodes": nodes, **of_machine}), "6.12")


@pytest.fixture
def machine() -> Machine:
    return with_cma()


def zone_of(machine: Machine) -> Zone:
    return machine.nodes[1].zones[0]


def filled(machine: Machine, task: Task) -> int:
    """Memory of node 1, so much of it that half of CMA's pageblocks are in use, too."""
    return touched(machine, task, "160MiB", node=1)


def test_then_they_take_from_both_in_turn(machine: Machine, task: Task) -> None:
    touched(machine, task, "160MiB", node=1)
    assert nr_free_cma(zone_of(machine)) == 16384 - 4096
    assert zone_of(machine).nr_free == 2 * (16384 - 4096)


@pytest.mark.parametrize(
    ("cma", "nr", "left"),
    [
        pytest.param("64MiB", 32767, 16384, id="others hold more"),
        pytest.param("64MiB", 32769, 16384, id="the others' turn"),
        pytest.param("64MiB", 32770, 16383, id="CMA's turn"),
        pytest.param("192MiB", 10, 49142, id="CMA holds more"),
        pytest.param("192MiB", 32770, 16383, id="until it holds half"),
    ],
)
def test_share_of_cma(cma: str, nr: int, left: int) -> None:
    zone = zone_of(with_cma(cma))
    take(zone, nr, 0, is_movable=True)
    assert nr_free_cma(zone) == left


def test_huge_pages_take_turns_too() -> None:
    zone = zone_of(with_cma())
    take(zone, 66, 9, is_movable=True)
    assert nr_free_cma(zone) == 31 * 512


def test_pages_that_cannot_move_never_come_from_cma() -> None:
    machine = with_cma()
    node = machine.nodes[1]
    assert available(node, to_min=True) - available(node, to_min=True, is_movable=False) == 16384
    zone = zone_of(machine)
    taken = take(zone, 32768, 0, is_movable=False)
    assert sum(extent.nr for extent in taken) == 32768
    assert nr_free_cma(zone) == 16384


def test_allocation_is_one_piece_of_the_area(machine: Machine) -> None:
    start, nr = cma_alloc(machine, 1, "a", 1024)
    assert (start, nr) == (zone_of(machine).end - 16384, 1024)
    assert machine.counters["cma_alloc_success"] == 1024


def test_allocations_follow_each_other_and_are_aligned(machine: Machine) -> None:
    first = cma_alloc(machine, 1, "a", 5)
    second = cma_alloc(machine, 1, "b", 300)
    assert first.start % 8 == 0
    assert second.start == first.start + 256
    assert cma_alloc(machine, 1, "c", 3).start == first.start + 8


def test_no_allocation_reaches_beyond_the_area(machine: Machine) -> None:
    cma_alloc(machine, 1, "a", 1024)
    assert errno_of(cma_alloc, machine, 1, "b", 16384 - 1023) == "ENOMEM"
    assert not declare_cma(machine.nodes[0], 1 << 20)


def test_memory_elsewhere_is_to_be_had_unless_the_kernel_uses_it(
    machine: Machine, task: Task
) -> None:
    pfn = pfn_at(task, touched(machine, task, "4KiB"))
    kernel_page(machine, pfn + 2)
    assert errno_of(alloc_contig_range, machine, pfn, pfn + 4) == "EBUSY"
    assert machine.counters["pgmigrate_success"] == 0
    alloc_contig_range(machine, pfn, pfn + 2)
    assert machine.counters["pgmigrate_success"] == 1


def test_released_memory_is_free_again(machine: Machine) -> None:
    cma_alloc(machine, 1, "a", 1024)
    cma_release(machine, "a")
    assert nr_free_cma(zone_of(machine)) == 16384
    assert cma_alloc(machine, 1, "b", 16384).nr == 16384


def test_what_lies_there_moves_within_the_node(machine: Machine, task: Task) -> None:
    addr = filled(machine, task)
    used = 16384 - nr_free_cma(zone_of(machine))
    cma_alloc(machine, 1, "a", 12288)
    assert nodes_of(machine, task, addr, "160MiB") == [[40960, 1]]
    assert machine.counters["pgmigrate_success"] == used


def test_full_node_lets_it_go_to_another(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "220MiB", node=1)
    cma_alloc(machine, 1, "a", 16384)
    assert {node for _, node in nodes_of(machine, task, addr, "220MiB")} == {0, 1}


def test_trace_shows_batches_of_32_in_sync_mode(machine: Machine, task: Task) -> None:
    filled(machine, task)
    machine.watch = Watch([])
    cma_alloc(machine, 1, "a", 64)
    calls = [event.text for event in machine.watch.events if event.name == "mm_migrate_pages"]
    assert len(calls) == 2
    assert calls[0].startswith("nr_succeeded=32 ")
    assert calls[0].endswith("mode=MIGRATE_SYNC reason=contig_range")


def test_a_partly_pinned_huge_page_takes_no_place_in_a_batch() -> None:
    machine = two_nodes("16MiB")
    task = new_task(machine)
    touched(machine, task, "2MiB", node=1)
    machine.thp = "always"
    start = touched(machine, task, "12MiB", node=1)  # from the highest frames down
    huge, next_one = sorted(
        range(start, start + 12 * MIB, 2 * MIB), key=lambda addr: pfn_at(task, addr)
    )[:2]
    munmap(machine, task, next_one, 2 * MIB)
    machine.thp = "never"
    base = touched(machine, task, "2304KiB", node=1)  # fills what is free below the huge pages
    first = pfn_at(task, huge)
    assert pfn_at(task, base + 2 * MIB) == first + 512
    pin(machine, task, huge, 511 * PAGE, LONG)
    machine.watch = Watch([])
    assert errno_of(alloc_contig_range, machine, first, first + 1024) == "EBUSY"
    calls = [event.text for event in machine.watch.events if event.name == "mm_migrate_pages"]
    assert [text.split()[0] for text in calls] == ["nr_succeeded=32"] * 2


def in_cma(machine: Machine, task: Task, addr: int, nr: int) -> list[int]:
    """Those of the pages from *addr* on that lie in CMA's pageblocks."""
    low = zone_of(machine).end - 16384
    pages = range(addr // PAGE, addr // PAGE + nr)
    runs = ((page, task.mm.page_table.at(page)) for page in pages)
    return [page for page, run in runs if run and run.pfn(page) >= low]


def pinned_in_cma(machine: Machine, task: Task, is_long: bool = SHORT) -> int:
    """The address of a page that lay in CMA when it was pinned."""
    page = in_cma(machine, task, filled(machine, task), 40960)[0]
    pin(machine, task, page * PAGE, PAGE, is_long)
    return page * PAGE


def test_held_page_is_gone_round(machine: Machine, task: Task) -> None:
    pinned_in_cma(machine, task)
    start, _ = cma_alloc(machine, 1, "a", 1024)
    assert start > zone_of(machine).end - 16384
    assert machine.counters["pgmigrate_fail"] == 0  # it looks pinned, and is not even isolated


def test_held_page_fails_what_cannot_go_round(machine: Machine, task: Task) -> None:
    pinned_in_cma(machine, task)
    assert errno_of(cma_alloc, machine, 1, "a", 16384) == "ENOMEM"
    assert machine.counters["cma_alloc_fail"] == 16384
    assert machine.contigs == {}


def test_long_pin_takes_pages_out_of_cma(machine: Machine, task: Task) -> None:
    addr = pinned_in_cma(machine, task, LONG)
    assert not in_cma(machine, task, addr, 1)


def test_page_that_its_file_system_keeps_is_tried_five_times(machine: Machine, task: Task) -> None:
    touched(machine, task, "128MiB", node=1)
    addr = file_mapped(machine, task, "8KiB", "ramfs")
    with placed_on(task, 1):
        touch(machine, task, addr, 2 * PAGE)
    [page] = in_cma(machine, task, addr, 2)
    pfn = pfn_at(task, page * PAGE)
    assert errno_of(alloc_contig_range, machine, pfn, pfn + 1) == "EBUSY"
    assert machine.counters["pgmigrate_fail"] == 5


def test_clean_page_cache_is_dropped(machine: Machine, task: Task) -> None:
    touched(machine, task, "140MiB", node=1)
    file = new_file(machine, "1MiB", "ext4")
    addr = mapped(machine, task, "1MiB", "r", space=file)
    with placed_on(task, 1):
        touch(machine, task, addr, MIB, write=False)
    munmap(machine, task, addr, MIB)
    cached = sum(run.nr for run in file.pages.runs)
    moved = 16384 - nr_free_cma(zone_of(machine))
    cma_alloc(machine, 1, "a", 16384)
    left = sum(run.nr for run in file.pages.runs)
    assert left < cached
    assert machine.counters["pgmigrate_success"] == moved - (cached - left)


def test_huge_page_in_use_moves(machine: Machine, task: Task) -> None:
    set_nr_hugepages(machine, 70, 1)
    addr = mapped(machine, task, "140MiB", hugetlb=True)
    touch(machine, task, addr, 140 * MIB)
    set_nr_hugepages(machine, 70, 1)
    assert in_cma(machine, task, addr, 512 * 70)
    cma_alloc(machine, 1, "a", 4096)
    assert nid_of(machine.contigs["a"].start) == 1


def test_movable_memory_is_taken_without_cma(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "8MiB", node=1)
    start = machine.nodes[1].memmap.runs[0].start
    alloc_contig_range(machine, start, start + 1024)
    assert nodes_of(machine, task, addr, "8MiB") == [[2048, 1]]
    assert machine.counters["pgmigrate_success"] == 1024


def test_block_with_cma_does_not_go_offline(machine: Machine) -> None:
    assert errno_of(offline_pages, machine, memory_blocks(machine)[3]) == "EBUSY"


def test_views_know_what_is_kept(machine: Machine) -> None:
    cma_alloc(machine, 1, "a", 1024)
    values = vmstat.rows(machine)
    assert values["nr_free_cma"] == 16384 - 1024
    assert (values["cma_alloc_success"], values["cma_alloc_fail"]) == (1024, 0)
    shown = meminfo(machine)
    assert (shown["CmaTotal"], shown["CmaFree"]) == (65536, 61440)


def test_the_kernels_own_memory_never_comes_from_cma() -> None:
    machine = with_cma("192MiB")
    got = alloc_kernel_pages(machine, "own", 1, 0, Blocks(3, 1 << 14, KERNEL | Gfp.THISNODE))
    assert 0 < got < 8192
    assert nr_free_cma(zone_of(machine)) == 49152
    check(machine)


def test_compaction_leaves_allocations_where_they_are(machine: Machine, task: Task) -> None:
    filled(machine, task)
    extent = cma_alloc(machine, 1, "a", 1024)
    compact_memory(machine)
    assert machine.contigs["a"] == extent


@pytest.mark.parametrize("watches", [False, True], ids=["alone", "watched"])
@pytest.mark.parametrize("swaps", [False, True], ids=["plain", "one in the swap cache"])
def test_what_moves_counts_once_as_isolated(
    machine: Machine, task: Task, swaps: bool, watches: bool
) -> None:
    addr = touched(machine, task, "400KiB")
    if swaps:
        add_to_swap_cache(machine, task, addr, PAGE)
    machine.watch = Watch([] if watches else None)
    start = pfn_at(task, addr)
    alloc_contig_range(machine, start, start + 64)
    assert machine.counters["compact_isolated"] == 64 + 64  # what moved, and what was taken
