"""Free memory: zones, watermarks, fallback orders, and what is counted."""

import pytest

from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.frames.page_alloc import (
    alloc_folio,
    alloc_run,
    available,
    free_pages,
    freed_on_error,
    reserve_pages,
    room_for,
    zonelist,
)
from pymigrate.mm.frames.placement import (
    Cycle,
    Demote,
    Placement,
    Prefer,
    PreferMany,
    ThisNode,
    Within,
    from_index,
)
from pymigrate.mm.frames.watermarks import setup_watermarks
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Zone
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.scenario.boot.build import boot
from pymigrate.scenario.spec.models import MachineSpec
from pymigrate.units import HPAGE_PMD_ORDER
from tests.conftest import four_nodes, new_task, nodes_with, two_nodes
from tests.unit.mm.conftest import with_task


@pytest.fixture
def machine() -> Machine:
    return two_nodes("4MiB")


PAIRS = ((10, 12, 30, 30), (12, 10, 30, 30), (30, 30, 10, 12), (30, 30, 12, 10))
# A node of 4 MiB beside an equal one: 1024 pages, "min" at 45 and "low" at 56.
LOW, MIN = 968, 979  # pages that can be had before each of them


def taken(machine: Machine, where: Placement, nr: int, cpu: int = 0) -> list[int]:
    """The pages that each node gives when *nr* are wanted."""
    task = new_task(machine, cpu=cpu)
    got = dict.fromkeys(machine.nodes, 0)
    for run in alloc_run(machine, task, where, pages(nr)):
        for start, count in run.extents():
            got[nid_of(start)] += count
    return list(got.values())


def pages(nr: int) -> PteRun:
    """Pages 0 to *nr* that want frames."""
    return PteRun(0, nr, ())


def zones(machine: Machine) -> list[tuple[int, str, int]]:
    return [(n.nid, zone.name, zone.nr) for n in machine.nodes.values() for zone in n.zones]


def marks(zone: Zone) -> tuple[int, int, int, int]:
    return zone.watermark_min, zone.watermark_low, zone.watermark_high, zone.reserve


def test_zones_end_at_16_mib_and_4_gib_of_physical_memory() -> None:
    assert zones(nodes_with("3GiB", "3GiB", "0")) == [
        (0, "dma", 4096),
        (0, "dma32", 782336),
        (1, "dma32", 262144),
        (1, "normal", 524288),
    ]


def test_frames_are_numbered_from_the_start_of_their_node() -> None:
    machine = nodes_with("3GiB", "3GiB")
    assert [zone.start for zone in machine.nodes[0].zones] == [0, 4096]
    assert [zone.start for zone in machine.nodes[1].zones] == [1 << 32, (1 << 32) + 262144]
    assert machine.nodes[1].zone_of((1 << 32) + 262144).name == "normal"


def test_no_zone_has_a_frame_beyond_the_node() -> None:
    with pytest.raises(AssertionError, match="lies in no zone"):
        two_nodes().nodes[0].zone_of(1 << 31)


def test_watermarks_share_min_free_kbytes_by_size() -> None:
    machine = two_nodes("512MiB")
    found = [marks(zone) for node in machine.nodes.values() for zone in node.zones]
    assert found == [(16, 20, 24, 496), (496, 622, 748, 0), (512, 643, 774, 0)]


def test_movable_zone_lies_behind_the_others_and_has_a_low_watermark_of_its_own() -> None:
    spec = {"cpus": "0", "memory": "512MiB", "movable": "256MiB"}
    machine = boot(MachineSpec.model_validate({"nodes": {0: spec}}), "6.12")
    assert zones(machine) == [(0, "dma", 4096), (0, "dma32", 61440), (0, "movable", 65536)]
    found = [marks(zone) for zone in machine.nodes[0].zones]
    assert found == [(32, 40, 48, 496), (480, 600, 720, 256), (64, 129, 194, 0)]


def test_lowmem_reserve_of_dma32_is_a_256th_of_what_lies_above() -> None:
    assert nodes_with("3GiB", "3GiB").nodes[1].zones[0].reserve == 2048


def test_huge_pages_raise_the_watermarks() -> None:
    machine = two_nodes("512MiB")
    machine.thp = "always"
    setup_watermarks(machine)
    found = [zone.watermark_min for node in machine.nodes.values() for zone in node.zones]
    assert found == [204, 6348, 6553]


@pytest.mark.parametrize(
    ("memory", "distances", "orders"),
    [
        pytest.param(
            ("1GiB",) * 4,
            None,
            [(0, 1, 2, 3), (1, 2, 3, 0), (2, 3, 0, 1), (3, 0, 1, 2)],
            id="4 nodes, all 20 apart",
        ),
        pytest.param(
            ("1GiB",) * 3, None, [(0, 1, 2), (1, 2, 0), (2, 0, 1)], id="3 nodes, all 20 apart"
        ),
        pytest.param(
            ("1GiB", "0", "1GiB"), None, [(0, 2), (2, 0), (2, 0)], id="node 1 without memory"
        ),
        pytest.param(
            ("1GiB",) * 4,
            PAIRS,
            [(0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0)],
            id="two pairs",
        ),
    ],
)
def test_fallback_order(
    memory: tuple[str, ...],
    distances: tuple[tuple[int, ...], ...] | None,
    orders: list[tuple[int, ...]],
) -> None:
    machine = nodes_with(*memory, distances=distances)
    assert [zonelist(machine, nid) for nid in machine.nodes] == orders


def test_a_memory_only_node_is_no_nearer_than_others() -> None:
    machine = nodes_with("1GiB", "1GiB", "1GiB", cpus=("0", "1", ""))
    assert zonelist(machine, 0) == (0, 1, 2)


def test_highest_zone_and_lowest_frame_come_first() -> None:
    machine, task = with_task(nodes_with("32MiB"))
    assert alloc_run(machine, task, Prefer(0), pages(3)) == [PteRun(0, 3, (4096,))]
    assert machine.counters["pgalloc_dma32"] == 3


def test_lower_zones_keep_a_reserve_and_are_used_last() -> None:
    # Each zone: min 90, low 112; the dma zone keeps 16 more.
    machine, task = with_task(nodes_with("32MiB"))
    alloc_run(machine, task, Prefer(0), pages(4096 - 112))
    assert machine.counters["pgalloc_dma"] == 0
    runs = alloc_run(machine, task, Prefer(0), pages(8192))
    assert runs[-1].end == 8192 - 90 - 90 - 16 - 3984
    assert machine.counters["pgalloc_dma32"] == 4096 - 90
    assert machine.counters["pgalloc_dma"] == 4096 - 90 - 16


@pytest.mark.parametrize(
    ("where", "nr", "expected"),
    [
        pytest.param(Prefer(0), LOW, [LOW, 0], id="local"),
        pytest.param(Prefer(0), LOW + 1, [LOW, 1], id="to the next node at low"),
        pytest.param(Prefer(0), 2 * LOW + 1, [LOW + 1, LOW], id="then down to min"),
        pytest.param(Prefer(0), 2000, [MIN, MIN], id="no more than that"),
        pytest.param(Prefer(1), LOW + 1, [1, LOW], id="preferred"),
        pytest.param(Within(0, Nodemask.of(1)), 2000, [0, MIN], id="bind has no fallback"),
        pytest.param(Within(1, Nodemask.of(0, 1)), 5, [0, 5], id="bind begins at home"),
        pytest.param(PreferMany(0, Nodemask.of(1)), LOW, [0, LOW], id="preferred-many"),
        pytest.param(PreferMany(0, Nodemask.of(1)), 1000, [21, MIN], id="then any"),
        pytest.param(ThisNode(1), 2000, [0, MIN], id="this node alone"),
        pytest.param(Cycle((0, 1)), 7, [4, 3], id="in turn"),
        pytest.param(Cycle((0, 1)), 2000, [MIN, MIN], id="in turn until all is full"),
        pytest.param(Cycle((0, 0, 1)), 9, [6, 3], id="by weight"),
        pytest.param(Cycle((0, 0, 1)), 1500, [LOW, 532], id="by weight, one is full"),
    ],
)
def test_where_pages_come_from(where: Placement, nr: int, expected: list[int]) -> None:
    assert taken(two_nodes("4MiB"), where, nr) == expected


def test_runs_lie_where_they_are_wanted(machine: Machine) -> None:
    wanted = PteRun(1024, 1024, (), HPAGE_PMD_ORDER, Pte.PRESENT | Pte.WRITE)
    [run] = alloc_run(machine, new_task(machine), Cycle((1, 0)), wanted)
    assert run == wanted._replace(lanes=((1 << 32) + 512, 512))


@pytest.mark.parametrize(
    "where",
    [
        pytest.param(Prefer(1), id="prefer"),
        pytest.param(PreferMany(0, Nodemask.of(1, 2)), id="prefer many"),
        pytest.param(Demote(3, Nodemask.of(0, 2)), id="demote"),
        pytest.param(Cycle((0, 1, 3)), id="in turn"),
        pytest.param(Cycle((0, 2, 2, 2, 1)), id="by weight"),
    ],
)
@pytest.mark.parametrize("order", [0, 3])
def test_a_run_is_what_as_many_folios_would_be(where: Placement, order: int) -> None:
    at_once, one_by_one = four_nodes("4MiB"), four_nodes("4MiB")
    wanted = PteRun(0, 5000, (), order)
    runs = alloc_run(at_once, new_task(at_once), where, wanted)
    nodes = [nid_of(pfn) for run in runs for pfn in run.pfns()]
    task = new_task(one_by_one)
    for i, nid in enumerate(nodes):
        pfn = alloc_folio(one_by_one, task, from_index(where, i), order)
        assert pfn is not None
        assert nid_of(pfn) == nid
    for a, b in zip(at_once.nodes.values(), one_by_one.nodes.values(), strict=True):
        assert (a.numa, a.nr_free) == (b.numa, b.nr_free)
    if len(nodes) < 5000 >> order:
        assert alloc_folio(one_by_one, task, from_index(where, len(nodes)), order) is None


def test_a_folio_comes_from_the_first_turn(machine: Machine, task: Task) -> None:
    assert alloc_folio(machine, task, Cycle((1, 0))) == 1 << 32
    assert alloc_folio(machine, task, Prefer(0), HPAGE_PMD_ORDER) == 512


def test_there_is_no_folio_where_no_block_is_free(machine: Machine, task: Task) -> None:
    taken(machine, ThisNode(0), 600)
    assert alloc_folio(machine, task, ThisNode(0), HPAGE_PMD_ORDER) is None


def test_nodes_that_the_task_may_not_use_are_passed_over() -> None:
    machine, task = with_task(four_nodes("4MiB"))
    task.mems_allowed = Nodemask.of(2, 3)
    assert alloc_folio(machine, task, Prefer(0)) == 2 << 32


def test_preferred_many_takes_any_if_its_are_not_allowed(machine: Machine, task: Task) -> None:
    task.mems_allowed = Nodemask.of(0)
    where = PreferMany(0, Nodemask.of(1))
    assert alloc_run(machine, task, where, pages(1)) == [PteRun(0, 1, (0,))]


def test_a_mask_without_an_allowed_node_gives_nothing(machine: Machine, task: Task) -> None:
    task.mems_allowed = Nodemask.of(0)
    where = Within(0, Nodemask.of(1))
    assert alloc_run(machine, task, where, pages(1)) == []
    assert room_for(machine, task, where) == 0


def test_hits_and_misses_are_counted_by_node(machine: Machine) -> None:
    taken(machine, Prefer(0), LOW + 2, cpu=1)
    assert machine.nodes[0].numa == {"numa_hit": LOW, "numa_other": LOW, "numa_foreign": 2}
    assert machine.nodes[1].numa == {"numa_miss": 2, "numa_local": 2}


def test_pages_that_get_their_turn_count_as_interleaved(machine: Machine) -> None:
    taken(machine, Cycle((0, 1)), 4)
    assert machine.nodes[1].numa == {"numa_hit": 2, "numa_interleave": 2, "numa_other": 2}


def test_a_miss_does_not_count_as_interleaved(machine: Machine) -> None:
    taken(machine, ThisNode(1), MIN)
    machine.nodes[0].numa.clear()
    taken(machine, Cycle((1,)), 1)
    assert machine.nodes[0].numa == {"numa_miss": 1, "numa_local": 1}


def test_freed_frames_join_their_neighbours(machine: Machine, task: Task) -> None:
    alloc_run(machine, task, Prefer(0), pages(10))
    free_pages(machine, [(3, 2), (7, 1)])
    assert machine.nodes[0].zones[0].free.runs == [Extent(3, 2), Extent(7, 1), Extent(10, 1014)]
    free_pages(machine, [(8, 2), (5, 2), (0, 3)])
    assert machine.nodes[0].zones[0].free.runs == [Extent(0, 1024)]
    assert machine.nodes[0].nr_free == 1024
    assert machine.counters["pgfree"] == 10


def test_frames_go_back_to_their_zone() -> None:
    machine, task = with_task(nodes_with("32MiB", "4MiB"))
    alloc_run(machine, task, ThisNode(0), pages(4100))
    alloc_run(machine, task, ThisNode(1), pages(1))
    assert [zone.nr_free for zone in machine.nodes[0].zones] == [3986, 106]
    free_pages(machine, [((1 << 32), 1), (0, 60), (4096, 3990)])
    assert [zone.nr_free for zone in machine.nodes[0].zones] == [4046, 4096]
    assert machine.nodes[1].nr_free == 1024


def test_what_is_available_stops_at_the_watermarks(machine: Machine) -> None:
    assert available(machine.nodes[0], to_min=False) == LOW
    assert available(machine.nodes[0], to_min=True) == MIN


def test_room_is_that_of_the_fullest_node_asked_for(machine: Machine) -> None:
    taken(machine, Prefer(1), 100)
    task = new_task(machine)
    assert room_for(machine, task, Cycle((0, 1))) == LOW - 100
    assert room_for(machine, task, ThisNode(1)) == MIN - 100


def test_reserved_frames_are_taken_below_the_watermarks() -> None:
    machine = nodes_with("32MiB")
    assert reserve_pages(machine.nodes[0], 8000) == [Extent(4096, 4096), Extent(0, 3904)]
    assert reserve_pages(machine.nodes[0], 8000) == [Extent(3904, 192)]
    assert machine.nodes[0].nr_free == 0
    assert machine.counters == {}


def test_freed_extents_are_cut_where_zones_meet() -> None:
    machine, task = with_task(nodes_with("32MiB"))
    alloc_run(machine, task, Prefer(0), pages(4096 - 112 + 10))
    reserve_pages(machine.nodes[0], 8000)
    free_pages(machine, [(4000, 200), (10, 2), (20, 2), (5000, 5)])
    assert [zone.free.runs for zone in machine.nodes[0].zones] == [
        [Extent(10, 2), Extent(20, 2), Extent(4000, 96)],
        [Extent(4096, 104), Extent(5000, 5)],
    ]


def test_what_was_taken_is_given_back_if_something_fails() -> None:
    machine = two_nodes("4MiB")
    taken = reserve_pages(machine.nodes[0], 8)
    with pytest.raises(KeyError), freed_on_error(machine, [taken]):
        raise KeyError
    assert machine.nodes[0].nr_free == 1024
