"""A machine in one line."""

import pytest
import yaml

from pymigrate.scenario.text.shorthand import scenario_text


def test_nodes_have_cpus_and_memory_in_turn() -> None:
    machine = yaml.safe_load(scenario_text("2x1GiB:2,512MiB:1"))["machine"]
    assert machine["nodes"] == {
        0: {"cpus": "0-1", "memory": "1GiB"},
        1: {"cpus": "2-3", "memory": "1GiB"},
        2: {"cpus": "4", "memory": "512MiB"},
    }
    assert machine["distances"] == [[10, 21, 21], [21, 10, 21], [21, 21, 10]]


def test_cxl_memory_is_slow_and_near_to_one_socket() -> None:
    machine = yaml.safe_load(scenario_text("2x1GiB,2x4GiB@cxl"))["machine"]
    assert "cpus" not in machine["nodes"][2]
    assert machine["nodes"][2]["hmat"]["read_latency"] == 240
    assert machine["nodes"][0]["hmat"]["read_latency"] == 80
    assert machine["distances"][0] == [10, 21, 24, 34]
    assert machine["distances"][3] == [34, 24, 44, 10]


def test_the_task_fits_into_a_small_node() -> None:
    tasks = yaml.safe_load(scenario_text("16MiB"))["tasks"]
    assert tasks["app"]["memory"][0]["size"] == "2MiB"


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ("", "is no node"),
        ("2x", "is not a size"),
        ("3y", "is not a size"),
        ("1GiB@pmem", "is no node"),
        ("1GiB@cxl", "has no node with CPUs"),
        ("1GiB:0", "has no node with CPUs"),
        ("1025x1GiB", "more than 1024 nodes"),
    ],
)
def test_what_means_nothing_is_refused(nodes: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        scenario_text(nodes)
