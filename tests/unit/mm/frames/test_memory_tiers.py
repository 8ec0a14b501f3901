"""Memory tiers by abstract distance, and the nodes that each demotes to."""

from typing import Any

import pytest

from pymigrate.mm.frames.memory_tiers import (
    adistances,
    demotion_of,
    memory_tiers,
    next_demotion_node,
    node_is_toptier,
    perf_to_adistance,
)
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import AccessCoordinate
from pymigrate.scenario.boot.build import boot
from pymigrate.scenario.spec.models import MachineSpec

DRAM = AccessCoordinate(80, 80, 100000, 100000)
SLOW = AccessCoordinate(240, 240, 50000, 50000)  # latency x 3, bandwidth / 2
OPTANE = AccessCoordinate(800, 800, 20000, 20000)


def tiered(
    *perfs: AccessCoordinate | int | None,
    cpus: tuple[int, ...] = (0,),
    distances: tuple[tuple[int, ...], ...] | None = None,
    kernel: str = "6.12",
    seed: int = 0,
) -> Machine:
    """A machine whose nodes have that HMAT entry, abstract distance, or neither."""
    nodes: dict[int, dict[str, Any]] = {}
    for nid, perf in enumerate(perfs):
        nodes[nid] = {"memory": "64MiB", "cpus": str(nid) if nid in cpus else ""}
        if isinstance(perf, AccessCoordinate):
            nodes[nid]["hmat"] = perf._asdict()
        elif perf is not None:
            nodes[nid]["adistance"] = perf
    spec = {"nodes": nodes, "distances": distances, "seed": seed}
    return boot(MachineSpec.model_validate(spec), kernel)


def tiers(machine: Machine) -> dict[str, str]:
    return {tier.name: str(tier.nodes) for tier in memory_tiers(machine).tiers}


def targets(machine: Machine, nid: int) -> tuple[str, str]:
    preferred, fallback = demotion_of(machine, nid)
    return str(preferred), str(fallback)


def test_node_without_cpus_is_dram_where_nobody_says_otherwise() -> None:
    machine = tiered(None, None)
    assert tiers(machine) == {"memory_tier4": "0-1"}
    assert targets(machine, 0) == targets(machine, 1) == ("", "")


def test_latency_of_three_times_and_half_the_bandwidth_is_tier_27() -> None:
    machine = tiered(DRAM, SLOW)
    assert adistances(machine) == {0: 576, 1: 3456}
    assert tiers(machine) == {"memory_tier4": "0", "memory_tier27": "1"}
    assert targets(machine, 0) == ("1", "1")
    assert targets(machine, 1) == ("", "")


@pytest.mark.parametrize(
    ("perf", "distance"),
    [
        pytest.param(DRAM, 576, id="as DRAM"),
        pytest.param(AccessCoordinate(90, 70, 150000, 50000), 576, id="sums count"),
        pytest.param(AccessCoordinate(100, 101, 100000, 100000), 723, id="latency first"),
        pytest.param(AccessCoordinate(100, 101, 99999, 99999), 723, id="then bandwidth"),
        pytest.param(AccessCoordinate(100, 101, 70001, 70000), 1032, id="two divisions"),
        pytest.param(AccessCoordinate(40, 40, 200000, 200000), 144, id="faster"),
    ],
)
def test_abstract_distance_is_divided_in_this_order(perf: AccessCoordinate, distance: int) -> None:
    assert perf_to_adistance(perf, DRAM) == distance


@pytest.mark.parametrize(
    ("other", "distance"),
    [
        pytest.param(AccessCoordinate(88, 80, 100000, 100000), 3456, id="10 % off"),
        pytest.param(AccessCoordinate(89, 80, 100000, 100000), 576, id="latency"),
        pytest.param(AccessCoordinate(80, 71, 100000, 100000), 576, id="write latency"),
        pytest.param(AccessCoordinate(80, 80, 89999, 100000), 576, id="bandwidth"),
        pytest.param(AccessCoordinate(80, 80, 100000, 110001), 576, id="write bandwidth"),
    ],
)
def test_dram_that_deviates_by_more_than_ten_percent_disables_the_hmat(
    other: AccessCoordinate, distance: int
) -> None:
    assert adistances(tiered(DRAM, other, SLOW, cpus=(0, 1)))[2] == distance


def test_first_node_with_cpus_is_what_dram_is() -> None:
    machine = tiered(SLOW, DRAM, cpus=(1,))
    assert tiers(machine) == {"memory_tier4": "1", "memory_tier27": "0"}


def test_hmat_counts_for_nothing_in_6_1() -> None:
    assert tiers(tiered(DRAM, SLOW, kernel="6.1")) == {"memory_tier4": "0-1"}


def test_driver_wins_over_the_hmat() -> None:
    machine = tiered(DRAM, SLOW)
    machine.nodes[1].adistance = 2880
    assert tiers(machine) == {"memory_tier4": "0", "memory_tier22": "1"}


@pytest.mark.parametrize(
    ("distance", "tier"), [(511, 3), (512, 4), (639, 4), (640, 5)], ids=["511", "512", "639", "640"]
)
def test_tier_is_128_wide(distance: int, tier: int) -> None:
    assert f"memory_tier{tier}" in tiers(tiered(None, distance))


def test_only_the_nearest_of_the_next_tier_are_preferred() -> None:
    far = ((10, 21, 24, 34), (21, 10, 34, 24), (24, 34, 10, 44), (34, 24, 44, 10))
    machine = tiered(DRAM, DRAM, SLOW, SLOW, cpus=(0, 1), distances=far)
    assert targets(machine, 0) == ("2", "2-3")
    assert targets(machine, 1) == ("3", "2-3")


def test_fallback_is_all_lower_tiers_but_preferred_only_the_next() -> None:
    near = ((10, 30, 20), (30, 10, 20), (20, 20, 10))
    machine = tiered(DRAM, SLOW, OPTANE, distances=near)
    assert targets(machine, 0) == ("1", "1-2")
    assert targets(machine, 1) == ("2", "2")
    assert targets(machine, 2) == ("", "")


def test_all_nodes_at_the_same_smallest_distance_are_preferred() -> None:
    assert targets(tiered(DRAM, SLOW, SLOW), 0) == ("1-2", "1-2")


def test_nearer_node_that_is_found_later_is_not_preferred() -> None:
    """A number below one's own counts as a distance of 1, and then the zonelists decide."""
    machine = tiered(
        SLOW, DRAM, SLOW, cpus=(1,), distances=((10, 20, 20), (20, 10, 21), (20, 21, 10))
    )
    assert targets(machine, 1) == ("2", "0,2")


def test_one_of_several_targets_is_picked_by_the_seed() -> None:
    picks = [next_demotion_node(tiered(DRAM, SLOW, SLOW, seed=seed), 0) for seed in range(8)]
    again = [next_demotion_node(tiered(DRAM, SLOW, SLOW, seed=seed), 0) for seed in range(8)]
    assert picks == again
    machine = tiered(DRAM, SLOW, SLOW, seed=5)
    assert {next_demotion_node(machine, 0) for _ in range(32)} == {1, 2}


def test_single_target_takes_no_random_number() -> None:
    machine = tiered(DRAM, SLOW, seed=5)
    assert next_demotion_node(machine, 0) == 1
    assert next_demotion_node(machine, 1) is None
    assert machine.seed == 5


def test_top_is_the_slowest_tier_with_cpus_and_all_above() -> None:
    machine = tiered(DRAM, SLOW, OPTANE)
    assert [node_is_toptier(machine, nid) for nid in range(3)] == [True, False, False]
    machine = tiered(DRAM, 100, SLOW)  # node 1 is faster, without CPUs
    assert [node_is_toptier(machine, nid) for nid in range(3)] == [True, True, False]
    machine = tiered(None, 3000, 2000, 4000, cpus=(0, 1))
    assert [node_is_toptier(machine, nid) for nid in range(4)] == [True, True, True, False]


def test_node_without_memory_is_toptier() -> None:
    spec = {"nodes": {0: {"cpus": "0", "memory": "64MiB"}, 1: {"cpus": "1", "memory": 0}}}
    assert node_is_toptier(boot(MachineSpec.model_validate(spec), "6.12"), 1)
