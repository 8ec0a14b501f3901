"""Direct compaction, kcompactd and proactive rounds: what they count, and when they give up."""

import pytest

from pymigrate.mm.base.advice import Madv
from pymigrate.mm.base.gfp import KERNEL, NOWAIT, TRANSHUGE, Gfp
from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.base.pageblock import MigrateType
from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.compact.compaction import ZoneRun
from pymigrate.mm.compact.control import CompactResult
from pymigrate.mm.compact.kcompactd import (
    fragmentation_score_node,
    proactive_compact_node,
    wakeup_kcompactd,
)
from pymigrate.mm.frames.buddy import migratetype_of, set_pageblocks
from pymigrate.mm.frames.frames import update_frames
from pymigrate.mm.reclaim.kernel_alloc import Blocks, alloc_kernel_pages, free_kernel_pages
from pymigrate.mm.state.machine import Machine, telling
from pymigrate.mm.state.node import MAX_DEFER_SHIFT, CompactState
from pymigrate.mm.state.scope import Scope, Watch
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_bytes
from pymigrate.syscalls.kernel_pages import alloc, free
from pymigrate.syscalls.madvise import madvise
from pymigrate.syscalls.migrate import migrate_pages
from pymigrate.syscalls.mmap import mlock
from pymigrate.syscalls.process import fork, touch
from pymigrate.syscalls.sysctl import write
from tests.conftest import errno_of, mapped, new_task, nodes_of, touched, two_nodes
from tests.property.invariants import check
from tests.unit.mm.compact.conftest import declared
from tests.unit.mm.conftest import huge, with_task


@pytest.fixture
def machine() -> Machine:
    """Node 0 has every third of its 4096 pages in use."""
    return declared("stride: 3", memory="16MiB")


def counted(machine: Machine, *names: str) -> list[int]:
    return [machine.counters[f"compact_{name}"] for name in names]


@pytest.mark.parametrize(("defrag", "huge"), [("always", 2), ("madvise", 0), ("never", 0)])
def test_huge_faults_compact_where_defrag_says_so(
    machine: Machine, task: Task, defrag: str, huge: int
) -> None:
    machine.thp, machine.defrag = "always", defrag
    addr = touched(machine, task, "4MiB")
    assert machine.counters["thp_fault_alloc"] == huge
    assert machine.counters["thp_fault_fallback"] == 2 - huge
    assert counted(machine, "stall", "success", "fail") == [huge, huge, 0]
    assert nodes_of(machine, task, addr, "4MiB") == [[1024, 0]]


def test_a_fault_that_defers_wakes_kcompactd(machine: Machine) -> None:
    machine.thp, machine.defrag = "always", "defer"
    touched(machine, new_task(machine), "2MiB")
    assert [machine.counters[name] for name in ("thp_fault_fallback", "thp_fault_alloc")] == [1, 0]
    assert counted(machine, "stall", "daemon_wake") == [0, 1]


def test_room_is_made_where_a_huge_page_is_to_go() -> None:
    machine, task = with_task(two_with_scattered_target())
    addr = huge(machine, task, "2MiB", node=0)
    assert migrate_pages(machine, machine.shell_of(0), task, Nodemask.of(0), Nodemask.of(1)) == 0
    check(machine)
    assert nodes_of(machine, task, addr, "2MiB") == [[512, 1]]
    assert machine.counters["thp_migration_success"] == 1
    assert counted(machine, "stall", "success") == [1, 1]


def two_with_scattered_target() -> Machine:
    text = (
        'machine: {nodes: {0: {cpus: "0", memory: 16MiB},'
        ' 1: {cpus: "1", memory: 16MiB, fragmentation: [{stride: 3}]}}}'
    )
    return build(load_bytes(text.encode(), "x.yaml"))


PACKED, UNMOVABLE = "stride: 3", "pages: unmovable, stride: 3"


@pytest.mark.parametrize(
    ("pattern", "flags", "got", "counts"),
    [
        # All pageblocks are movable: the first attempt looks at none, the second is not async.
        pytest.param(PACKED, KERNEL, 1, [2, 1, 1], id="async keeps to pageblocks of its type"),
        pytest.param(PACKED, KERNEL | Gfp.MOVABLE, 1, [1, 1, 0], id="a stall that ends well"),
        pytest.param(UNMOVABLE, KERNEL, 0, [2, 0, 2], id="memory that cannot be packed"),
    ],
)
def test_stalls(pattern: str, flags: Gfp, got: int, counts: list[int]) -> None:
    machine = declared(pattern, memory="16MiB")
    assert alloc_kernel_pages(machine, "x", 0, 0, Blocks(9, 1, flags)) == got
    check(machine)
    assert counted(machine, "stall", "success", "fail") == counts


def test_a_zone_that_has_a_block_now_is_the_last_that_is_compacted() -> None:
    scattered = "memory: 16MiB, fragmentation: [{stride: 3}]"
    text = f'machine: {{nodes: {{0: {{cpus: "0", {scattered}}}, 1: {{cpus: "1", {scattered}}}}}}}'
    machine = build(load_bytes(text.encode(), "x.yaml"))
    before = machine.nodes[1].memmap.runs[:]
    blocks = Blocks(4, 1, KERNEL & ~Gfp.KSWAPD_RECLAIM)  # it captures none of a movable pageblock
    assert alloc_kernel_pages(machine, "x", 0, 0, blocks) == 1
    assert nid_of(machine.allocations["x"].pfns[0]) == 0
    assert machine.nodes[1].memmap.runs == before


def test_too_little_free_memory_is_no_stall() -> None:
    machine = declared("stride: 2, size: 2MiB", "stride: 1, run: 1, offset: 2MiB", memory="16MiB")
    assert alloc_kernel_pages(machine, "x", 0, 0, Blocks(9, 1, KERNEL)) == 0
    assert counted(machine, "stall", "success", "fail", "migrate_scanned") == [0, 0, 0, 0]


def test_failures_that_were_not_async_put_later_runs_off() -> None:
    machine = declared("pages: unmovable, stride: 3", memory="16MiB")
    zone = machine.nodes[0].zones[0]
    alloc_kernel_pages(machine, "x", 0, 0, Blocks(9, 1, KERNEL & ~Gfp.KSWAPD_RECLAIM))
    assert (zone.compact.defer_shift, zone.compact.order_failed) == (1, 0)
    scanned = machine.counters["compact_migrate_scanned"]
    alloc_kernel_pages(machine, "y", 0, 0, Blocks(9, 1, KERNEL & ~Gfp.KSWAPD_RECLAIM | Gfp.NORETRY))
    assert machine.counters["compact_migrate_scanned"] == scanned
    assert counted(machine, "stall", "fail") == [3, 3]  # a deferred one counts, too


def test_a_block_ends_the_putting_off_once_it_is_allocated(machine: Machine) -> None:
    state = machine.nodes[0].zones[0].compact
    state.defer_shift = state.considered = 1
    state.blockskip_flush = True
    machine.watch = Watch(events := [])
    alloc_kernel_pages(machine, "x", 0, 0, Blocks(9, 1, KERNEL & ~Gfp.KSWAPD_RECLAIM | Gfp.MOVABLE))
    told = [event.text[29:] for event in events if event.name == "mm_compaction_defer_reset"]
    assert told == ["order_failed=10 consider=2 limit=2", "order_failed=10 consider=0 limit=1"]
    assert (state.defer_shift, state.order_failed, state.blockskip_flush) == (0, 10, False)


def test_deferral_doubles_up_to_64_requests() -> None:
    state = CompactState()
    for _ in range(10):
        state.defer(4)
    assert state.defer_shift == MAX_DEFER_SHIFT
    assert [state.is_deferred(4) for _ in range(64)] == [True] * 63 + [False]
    assert state.is_restarting(4)
    state.reset_defer(4, has_allocated=True)
    assert (state.defer_shift, state.order_failed) == (0, 5)
    assert not state.is_deferred(4)


def test_below_the_order_that_failed_nothing_is_put_off() -> None:
    state = CompactState(order_failed=6)
    state.defer(6)
    assert not state.is_deferred(5)
    assert state.is_deferred(6)


def test_who_does_not_wait_leaves_it_to_kcompactd(machine: Machine) -> None:
    assert alloc_kernel_pages(machine, "x", 0, 0, Blocks(9, 1, NOWAIT)) == 0
    assert counted(machine, "stall", "daemon_wake") == [0, 1]
    assert alloc_kernel_pages(machine, "x", 0, 0, Blocks(9, 1, NOWAIT)) == 1


@pytest.mark.parametrize("is_asked", [True, False])
def test_kswapd_forgets_what_is_to_be_skipped_if_that_was_asked_for(
    machine: Machine, is_asked: bool
) -> None:
    [zone] = machine.nodes[0].zones
    set_pageblocks(zone, zone.start, zone.end, skip=True)
    zone.compact.blockskip_flush = is_asked
    assert alloc_kernel_pages(machine, "x", 0, 0, Blocks(9, 1, NOWAIT)) == 0
    assert machine.counters["compact_daemon_migrate_scanned"] == 512 * is_asked


def test_a_captured_block_is_handed_over_in_the_middle_of_a_pageblock(machine: Machine) -> None:
    flags = (KERNEL | Gfp.MOVABLE) & ~Gfp.KSWAPD_RECLAIM
    assert alloc_kernel_pages(machine, "x", 0, 0, Blocks(4, 1, flags)) == 1
    assert counted(machine, "stall", "success") == [1, 1]
    assert machine.counters["compact_migrate_scanned"] < 512


def test_kcompactds_share_is_counted_twice(machine: Machine) -> None:
    node = machine.nodes[0]
    [run] = wakeup_kcompactd(machine, node, 9, node.zones)
    assert run == ZoneRun(0, "DMA", CompactResult.SUCCESS, 171, 512, 300)
    assert counted(machine, "migrate_scanned", "free_scanned") == [512, 300]
    assert counted(machine, "daemon_migrate_scanned", "daemon_free_scanned") == [512, 300]
    state = node.zones[0].compact
    assert (state.cached_migrate_async, state.cached_migrate_sync) == (512, 512)
    assert (state.cached_free, state.order_failed) == (3584, 10)


def test_kcompactd_is_not_woken_for_what_is_there(machine: Machine) -> None:
    node = machine.nodes[0]
    [run] = wakeup_kcompactd(machine, node, 1, node.zones)
    assert run == ZoneRun(0, "DMA", CompactResult.SUCCESS, 0, 0, 0)
    assert [wakeup_kcompactd(machine, node, order, node.zones) for order in (0, 11)] == [[], []]
    assert counted(machine, "daemon_wake") == [0]


def test_a_proactive_round_goes_on_until_the_score_is_low(machine: Machine) -> None:
    node = machine.nodes[0]
    assert fragmentation_score_node(node) == 99
    assert proactive_compact_node(machine, node)
    assert fragmentation_score_node(node) == 61
    assert counted(machine, "daemon_wake", "stall") == [0, 0]
    assert counted(machine, "daemon_migrate_scanned", "daemon_free_scanned") == [1024, 514]


def test_a_low_score_starts_no_round() -> None:
    machine = declared("stride: 2, size: 8MiB", memory="16MiB")
    assert proactive_compact_node(machine, machine.nodes[0])
    assert machine.counters["compact_migrate_scanned"] == 0


def test_as_time_passes_kcompactd_looks_for_scattered_memory(machine: Machine, task: Task) -> None:
    start = touched(machine, task, "4KiB")
    touch(machine, task, start, 4096, seconds=0.4)
    assert counted(machine, "daemon_migrate_scanned", "daemon_free_scanned") == [1024, 515]
    assert machine.nodes[0].next_proactive == 400 + 500


def test_after_a_round_in_vain_kcompactd_waits_for_32_seconds(machine: Machine, task: Task) -> None:
    start = touched(machine, task, "4KiB")
    node = machine.nodes[0]
    for run in node.memmap.runs:  # nothing can be isolated
        update_frames(machine, [(run.start, run.nr)], lambda f: f._replace(extra_refs=1))
    touch(machine, task, start, 4096, seconds=1)
    assert node.next_proactive == 1000 + 32000


@pytest.mark.parametrize(("value", "starts"), [("0", False), ("20", True)])
def test_proactiveness_starts_a_round(machine: Machine, value: str, starts: bool) -> None:
    write(machine, machine.shell_of(0), "compaction_proactiveness", value)
    assert (machine.counters["compact_migrate_scanned"] > 0) == starts


def test_unmovable_blocks_come_from_unmovable_pageblocks_first() -> None:
    machine = declared("pages: none, type: unmovable, offset: 4MiB, size: 2MiB", memory="16MiB")
    alloc_kernel_pages(machine, "x", 0, 0, Blocks(3, 4, KERNEL))
    assert machine.allocations["x"].pfns == (1024, 1032, 1040, 1048)


def test_a_stolen_pageblock_changes_its_type() -> None:
    machine = declared(memory="16MiB")
    zone = machine.nodes[0].zones[0]
    alloc_kernel_pages(machine, "x", 0, 0, Blocks(0, 1, KERNEL))
    [pfn] = machine.allocations["x"].pfns
    assert migratetype_of(zone, pfn) == MigrateType.UNMOVABLE


@pytest.mark.parametrize(
    ("pattern", "gfp", "kind"),
    [
        ("run: 312, stride: 512", KERNEL, MigrateType.MOVABLE),
        ("run: 256, stride: 512", KERNEL, MigrateType.UNMOVABLE),
        ("stride: 2, type: unmovable", KERNEL | Gfp.MOVABLE, MigrateType.UNMOVABLE),
        ("run: 16, stride: 32, type: unmovable", KERNEL | Gfp.MOVABLE, MigrateType.MOVABLE),
    ],
    ids=["less than half is free", "half of it is", "small blocks", "larger ones"],
)
def test_a_pageblock_is_stolen_that_is_free_for_the_most(
    pattern: str, gfp: Gfp, kind: MigrateType
) -> None:
    machine = declared(pattern, memory="16MiB")
    alloc_kernel_pages(machine, "x", 0, 0, Blocks(0, 1, gfp))
    [pfn] = machine.allocations["x"].pfns
    assert migratetype_of(machine.nodes[0].zones[0], pfn) == kind


def test_what_the_kernel_gets_elsewhere_is_a_miss() -> None:
    machine = two_nodes("16MiB")
    assert alloc_kernel_pages(machine, "x", 0, 0, Blocks(0, 5000, KERNEL)) == 5000
    near, far = (node.numa for node in machine.nodes.values())
    hit, missed = near["numa_hit"], near["numa_foreign"]
    assert near == {"numa_hit": hit, "numa_local": hit, "numa_foreign": 5000 - hit}
    assert far == {"numa_miss": missed, "numa_other": missed}


def test_blocks_are_given_back(machine: Machine) -> None:
    before = machine.nodes[0].nr_free
    alloc_kernel_pages(machine, "x", 0, 0, Blocks(4, 5, KERNEL))
    assert machine.nodes[0].nr_free == before - 80
    assert free_kernel_pages(machine, "x") == 5
    assert machine.nodes[0].nr_free == before


def test_calls_of_the_kernel_are_refused_with_a_reason(machine: Machine) -> None:
    shell = machine.shell_of(0)
    assert alloc(machine, shell, "x", Blocks(0, 1, KERNEL)) == 1
    assert errno_of(alloc, machine, shell, "x", Blocks(0, 1, KERNEL)) == "EEXIST"
    assert errno_of(alloc, machine, shell, "y", Blocks(0, 1, KERNEL), 7) == "ENODEV"
    assert errno_of(alloc, machine, shell, "y", Blocks(10, 4, Gfp.NONE), 0) == "ENOMEM"
    assert errno_of(free, machine, "y") == "ENOENT"
    assert free(machine, "x") == 1


def test_the_kernel_gets_nothing_of_zone_movable() -> None:
    text = 'machine: {nodes: {0: {cpus: "0", memory: 16MiB, movable: 14MiB}}}'
    machine = build(load_bytes(text.encode(), "x.yaml"))
    got = alloc_kernel_pages(machine, "x", 0, 0, Blocks(0, 4096, KERNEL))
    assert got < 512
    got = alloc_kernel_pages(machine, "y", 0, 0, Blocks(0, 4096, KERNEL | Gfp.MOVABLE))
    assert got > 3000


def test_mlocked_pages_move_if_that_is_allowed(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "64KiB")
    mlock(machine, task, addr, 65536)
    write(machine, machine.shell_of(0), "compact_unevictable_allowed", "0")
    write(machine, machine.shell_of(0), "compact_memory", "1")
    before = [run.lanes for run in task.mm.page_table.runs]
    write(machine, machine.shell_of(0), "compact_unevictable_allowed", "1")
    assert [run.lanes for run in task.mm.page_table.runs] == before
    write(machine, machine.shell_of(0), "compact_memory", "1")
    assert [run.lanes for run in task.mm.page_table.runs] != before


def test_the_hugetlb_pool_is_filled_out_of_scattered_memory(machine: Machine) -> None:
    write(machine, machine.shell_of(0), "nr_hugepages", "2")
    assert machine.nodes[0].hugetlb.nr == 2
    # The first one wakes kcompactd, too, which makes room for the second.
    assert counted(machine, "stall", "success", "daemon_wake") == [1, 1, 1]


def test_collapse_makes_room_for_its_huge_page(machine: Machine, task: Task) -> None:
    addr = touched(machine, task, "2MiB")
    madvise(machine, task, addr, 2 << 20, Madv.COLLAPSE)
    assert machine.counters["thp_collapse_alloc"] == 1
    assert counted(machine, "success") == [1]


def test_pages_that_a_migration_has_isolated_stay(machine: Machine) -> None:
    with telling(machine, Scope(off_lru=RunMap([Extent(0, 7)]))):
        write(machine, machine.shell_of(0), "compact_memory", "1")
    memmap = machine.nodes[0].memmap
    assert [pfn for pfn in range(12) if memmap.at(pfn)] == [0, 3, 6]


def test_a_touch_finds_pages_that_its_huge_faults_moved(machine: Machine, task: Task) -> None:
    addr = mapped(machine, task, "6MiB")
    assert touch(machine, task, addr + (2 << 20), 2 << 20) is None
    fork(machine, task, "b")  # so that the next stores copy them
    machine.thp, machine.defrag = "always", "always"
    assert touch(machine, task, addr, 6 << 20) is None
    assert machine.counters["thp_fault_alloc"] > 0


def spoilt() -> Machine:
    """Every fourth page is the kernel's: no block of more than two pages can be made."""
    return declared("pages: unmovable, stride: 4, type: movable", memory="16MiB")


def stalls(machine: Machine, order: int, flags: Gfp) -> int:
    blocks = Blocks(order, 1, flags & ~Gfp.KSWAPD_RECLAIM)
    assert alloc_kernel_pages(machine, "x", 0, 0, blocks) == 0
    check(machine)
    return machine.counters["compact_stall"]


@pytest.mark.parametrize(
    ("order", "flags", "tried"),
    [
        pytest.param(9, KERNEL, 2, id="costly: async, then sync once"),
        pytest.param(9, KERNEL | Gfp.RETRY_MAYFAIL, 2, id="costly: no harder than sync-light"),
        pytest.param(9, KERNEL | Gfp.NORETRY, 2, id="noretry: async, and once more"),
        pytest.param(9, TRANSHUGE | Gfp.NORETRY | Gfp.THISNODE, 1, id="noretry on one node: once"),
        pytest.param(3, KERNEL, 3, id="others: async, sync-light, whole zones"),
        pytest.param(3, KERNEL | Gfp.MOVABLE, 2, id="others that can move: not async"),
    ],
)
def test_retries_depend_on_the_order_and_the_flags(order: int, flags: Gfp, tried: int) -> None:
    assert stalls(spoilt(), order, flags) == tried


def test_an_allocation_without_files_leaves_their_pages(machine: Machine) -> None:
    blocks = Blocks(9, 1, Gfp.DIRECT_RECLAIM | Gfp.MOVABLE)
    assert alloc_kernel_pages(machine, "x", 0, 0, blocks) == 0
    assert counted(machine, "stall", "fail", "isolated") == [2, 2, 0]


def test_kcompactd_puts_later_rounds_off_after_a_failure() -> None:
    machine = spoilt()
    machine.watch = Watch(events := [])
    node = machine.nodes[0]
    [run] = wakeup_kcompactd(machine, node, 9, node.zones)
    assert run.result == CompactResult.COMPLETE
    assert node.zones[0].compact.defer_shift == 1
    [run] = wakeup_kcompactd(machine, node, 9, node.zones)
    assert run.result == CompactResult.DEFERRED
    wakes = [event.text for event in events if event.name == "mm_compaction_kcompactd_wake"]
    assert wakes == ["nid=0 order=9 classzone_idx=DMA     "] * 2


def test_blocks_without_anything_to_move_are_skipped_next_time() -> None:
    kernel = "pages: unmovable, stride: 4, type: movable, size: 2MiB"
    machine = declared(kernel, "stride: 3, offset: 2MiB")
    zone = machine.nodes[0].zones[0]
    wakeup_kcompactd(machine, machine.nodes[0], 9, [zone])
    assert zone.pageblocks.runs[0] == (0, 512, MigrateType.MOVABLE, True)
    assert zone.pageblocks.at(512) is None
