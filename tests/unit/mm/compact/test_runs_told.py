"""What tracepoints and counters tell of runs over a zone of 2048 frames."""

import pytest

from pymigrate.mm.base.pageblock import MigrateType
from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.compact.compaction import (
    compact_zone,
    compaction_suitable,
    fragmentation_score_wmark,
    reset_isolation_suitable,
)
from pymigrate.mm.compact.control import WHOLE_ZONE, CompactControl, Owners
from pymigrate.mm.compact.kcompactd import poll
from pymigrate.mm.frames.buddy import set_pageblocks
from pymigrate.mm.state.events import Event, MigrateMode
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from tests.conftest import hold, new_file, new_task, touched
from tests.unit.mm.compact.conftest import declared

SYNC, ASYNC = MigrateMode.SYNC_LIGHT, MigrateMode.ASYNC
FEW = "stride: 64, run: 2"
KERNEL = "pages: unmovable, stride: 512, offset: 40KiB, type: movable"


def told(machine: Machine, mode: MigrateMode, order: int = 9, **how: object) -> list[str]:
    """The lines about a run over node 0."""
    machine.watch = Watch([])
    node = machine.nodes[0]
    cc = CompactControl(machine, node, node.zones[0], Owners(machine), 0, order, mode)
    for name, value in how.items():
        setattr(cc, name, value)
    compact_zone(cc)
    events = [each for each in machine.watch.events or [] if isinstance(each, Event)]
    return [f"{e.name[14:]} {e.text}" for e in events if e.name.startswith("mm_compaction")]


BEGUN = "begin zone_start=0x0 migrate_pfn=0x0 free_pfn=0x600 zone_end=0x800,"
SUITS = "suitable node=0 zone=DMA      order=9 ret=continue"
GOES_ON = "finished node=0 zone=DMA      order=9 ret=no_suitable_page"


@pytest.mark.parametrize(
    ("patterns", "mode", "how", "lines"),
    [
        pytest.param(
            [FEW],
            SYNC,
            {},
            [
                SUITS,
                f"{BEGUN} mode=sync",
                GOES_ON,
                "isolate_migratepages range=(0x0 ~ 0x200) nr_scanned=512 nr_taken=16",
                "migratepages nr_migrated=16 nr_failed=0",
                "finished node=0 zone=DMA      order=9 ret=success",
                "end zone_start=0x0 migrate_pfn=0x200 free_pfn=0x600 zone_end=0x800, mode=sync"
                " status=success",
            ],
            id="until a block is free",
        ),
        pytest.param(
            [FEW],
            ASYNC,
            {"is_direct": True, "migratetype": MigrateType.MOVABLE},
            [
                SUITS,
                f"{BEGUN} mode=async",
                GOES_ON,
                "isolate_migratepages range=(0x0 ~ 0x200) nr_scanned=512 nr_taken=16",
                "migratepages nr_migrated=16 nr_failed=0",
                "end zone_start=0x0 migrate_pfn=0x200 free_pfn=0x600 zone_end=0x800, mode=async"
                " status=success",
            ],
            id="until a block is captured",
        ),
        pytest.param(
            [f"{FEW}, size: 2MiB", "run: 3, stride: 1000, offset: 2MiB"],
            MigrateMode.SYNC,
            {"order": WHOLE_ZONE, "whole_zone": True, "ignore_skip_hint": True},
            [
                f"{BEGUN} mode=sync",
                "finished node=0 zone=DMA      order=-1 ret=continue",
                "isolate_migratepages range=(0x0 ~ 0x200) nr_scanned=512 nr_taken=16",
                "isolate_freepages range=(0x400 ~ 0x500) nr_scanned=256 nr_taken=256",
                "migratepages nr_migrated=16 nr_failed=0",
                "finished node=0 zone=DMA      order=-1 ret=continue",
                "isolate_migratepages range=(0x200 ~ 0x400) nr_scanned=512 nr_taken=3",
                "migratepages nr_migrated=3 nr_failed=0",
                "finished node=0 zone=DMA      order=-1 ret=complete",
                "end zone_start=0x0 migrate_pfn=0x400 free_pfn=0x500 zone_end=0x800, mode=sync"
                " status=complete",
            ],
            id="the whole zone",
        ),
        pytest.param(
            [FEW, KERNEL],
            ASYNC,
            {"is_direct": True, "migratetype": MigrateType.MOVABLE},
            [
                SUITS,
                f"{BEGUN} mode=async",
                GOES_ON,
                "isolate_migratepages range=(0x0 ~ 0x200) nr_scanned=11 nr_taken=0",
                GOES_ON,
                "isolate_migratepages range=(0x200 ~ 0x400) nr_scanned=11 nr_taken=0",
                GOES_ON,
                "isolate_migratepages range=(0x400 ~ 0x600) nr_scanned=11 nr_taken=0",
                "finished node=0 zone=DMA      order=9 ret=complete",
                "end zone_start=0x0 migrate_pfn=0x600 free_pfn=0x600 zone_end=0x800, mode=async"
                " status=complete",
            ],
            id="blocks that cannot become free",
        ),
        pytest.param(
            ["stride: 600, run: 40"],
            ASYNC,
            {},
            [
                SUITS,
                f"{BEGUN} mode=async",
                GOES_ON,
                "isolate_migratepages range=(0x0 ~ 0x20) nr_scanned=32 nr_taken=32",
                "migratepages nr_migrated=32 nr_failed=0",
                "finished node=0 zone=DMA      order=9 ret=continue",
                "isolate_migratepages range=(0x20 ~ 0x200) nr_scanned=480 nr_taken=8",
                "migratepages nr_migrated=8 nr_failed=0",
                "finished node=0 zone=DMA      order=9 ret=success",
                "end zone_start=0x0 migrate_pfn=0x200 free_pfn=0x600 zone_end=0x800, mode=async"
                " status=success",
            ],
            id="32 pages at a time",
        ),
    ],
)
def test_a_run_is_told(
    patterns: list[str], mode: MigrateMode, how: dict[str, object], lines: list[str]
) -> None:
    assert told(declared(*patterns, memory="8MiB"), mode, **how) == lines


def test_runs_that_wait_begin_behind_a_block_without_anything_to_move_too() -> None:
    kernel = "pages: unmovable, run: 1, stride: 4096, offset: 40KiB, type: movable"
    machine = declared(kernel, f"{FEW}, offset: 2MiB", memory="8MiB")
    told(machine, ASYNC, is_direct=True, migratetype=MigrateType.MOVABLE)
    state = machine.nodes[0].zones[0].compact
    assert (state.cached_migrate_async, state.cached_migrate_sync) == (512, 512)


def test_a_part_of_a_block_that_cannot_become_free_is_left_at_once() -> None:
    machine = declared("stride: 8", KERNEL, memory="8MiB")
    lines = told(machine, ASYNC, order=4, is_direct=True, migratetype=MigrateType.MOVABLE)
    assert lines[3] == "isolate_migratepages range=(0x0 ~ 0x20) nr_scanned=27 nr_taken=2"


def test_no_block_of_cma_is_captured() -> None:
    machine = declared(FEW, memory="8MiB")
    set_pageblocks(machine.nodes[0].zones[0], 0, 512, MigrateType.CMA)
    lines = told(machine, ASYNC, is_direct=True, migratetype=MigrateType.MOVABLE)
    assert lines[5] == "finished node=0 zone=DMA      order=9 ret=success"


@pytest.mark.parametrize(
    ("size", "between"), [("64KiB", ["finished"]), ("256KiB", [])], ids=["at its end", "inside"]
)
def test_a_block_in_which_a_page_stays_is_scanned_to_its_end_at_once(
    size: str, between: list[str]
) -> None:
    machine = declared("run: 1, stride: 4096", "stride: 2, offset: 6MiB", memory="8MiB")
    task, file = new_task(machine), new_file(machine, size)
    hold(machine, task, touched(machine, task, size, space=file, is_shared=True))
    names = [line.partition(" ")[0] for line in told(machine, SYNC, order=WHOLE_ZONE)]
    assert names[5 : 6 + len(between)] == [*between, "isolate_migratepages"]


def test_blocks_without_anything_to_move_are_passed_by_later_runs() -> None:
    machine = declared(FEW, KERNEL, memory="8MiB")
    told(machine, ASYNC, is_direct=True, migratetype=MigrateType.MOVABLE)
    zone = machine.nodes[0].zones[0]
    assert [(run.start, run.nr, run.skip) for run in zone.pageblocks.runs] == [(0, 1536, True)]
    assert told(machine, ASYNC, is_direct=True, migratetype=MigrateType.MOVABLE)[3:] == [
        "finished node=0 zone=DMA      order=9 ret=complete",
        "end zone_start=0x0 migrate_pfn=0x600 free_pfn=0x600 zone_end=0x800, mode=async"
        " status=complete",
    ]


@pytest.mark.parametrize("flush", [False, True])
def test_skip_bits_are_forgotten_when_that_was_asked_for(flush: bool) -> None:
    zone = declared(FEW, memory="8MiB").nodes[0].zones[0]
    set_pageblocks(zone, 0, 1024, skip=True)
    zone.compact.cached_free, zone.compact.blockskip_flush = 512, flush
    reset_isolation_suitable(zone)
    assert [(run.start, run.nr) for run in zone.pageblocks.runs] == [] if flush else [(0, 1024)]
    state = zone.compact
    found = (state.cached_free, state.init_free, state.init_migrate)
    assert found == ((1536, 1536, 0) if flush else (512, -1, -1))
    assert not state.blockskip_flush


@pytest.mark.parametrize(("order", "suits"), [(3, True), (4, False)])
def test_only_costly_orders_ask_whether_memory_is_scattered(order: int, suits: bool) -> None:
    machine = declared("stride: 2, size: 1MiB", memory="8MiB")
    machine.compact_knobs = machine.compact_knobs._replace(extfrag_threshold=1000)
    node = machine.nodes[0]
    zone = node.zones[0]
    zone.free = RunMap([Extent(i, 1) for i in range(1, 2048, 2)])
    zone.nr_free = 1024
    assert compaction_suitable(machine, node, zone, order, has_reserve=True) is suits


@pytest.mark.parametrize(("proactiveness", "when"), [(0, 0), (20, 1500)])
def test_kcompactd_polls_if_proactive(machine: Machine, proactiveness: int, when: int) -> None:
    machine.compact_knobs = machine.compact_knobs._replace(proactiveness=proactiveness)
    machine.now = 1000
    poll(machine)
    assert machine.nodes[0].next_proactive == when


@pytest.mark.parametrize(
    ("proactiveness", "low", "high"), [(0, 100, 100), (20, 80, 90), (95, 5, 15), (100, 5, 15)]
)
def test_proactive_runs_begin_at_a_score_and_end_ten_below(
    machine: Machine, proactiveness: int, low: int, high: int
) -> None:
    machine.compact_knobs = machine.compact_knobs._replace(proactiveness=proactiveness)
    found = [fragmentation_score_wmark(machine, is_low=is_low) for is_low in (True, False)]
    assert found == [low, high]
