"""Memory blocks in sysfs."""

import pytest

from pymigrate.mm.offline.memory_hotplug import memory_blocks, offline_pages
from pymigrate.mm.state.machine import Machine
from pymigrate.scenario.boot.build import boot
from pymigrate.scenario.read.loader import load_text
from pymigrate.views.entries import read
from pymigrate.views.proc import buddyinfo, zoneinfo
from pymigrate.views.tree import tree
from tests.conftest import nodes_with

MEMORY, NODE = "sys/devices/system/memory", "sys/devices/system/node/node1"

MOVABLE = """
machine:
  nodes:
    0: {cpus: "0", memory: 512MiB}
    1: {memory: 512MiB, movable: 512MiB}
tasks: {a: {}}
"""


@pytest.fixture
def machine() -> Machine:
    """Block 2, the first one of node 1, is offline."""
    machine = nodes_with("256MiB", "256MiB")
    offline_pages(machine, memory_blocks(machine)[2])
    return machine


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (f"{MEMORY}/block_size_bytes", "8000000"),
        (f"{MEMORY}/memory2/state", "offline"),
        (f"{MEMORY}/memory2/online", "0"),
        (f"{MEMORY}/memory2/valid_zones", "Normal Movable"),
        (f"{MEMORY}/memory3/state", "online"),
        (f"{MEMORY}/memory3/phys_index", "00000003"),
        (f"{MEMORY}/memory3/removable", "1"),
        (f"{MEMORY}/memory0/valid_zones", "none"),
        (f"{MEMORY}/memory0/node0/cpulist", "0"),
        (f"{NODE}/memory2/state", "offline"),
    ],
)
def test_files(machine: Machine, path: str, line: str) -> None:
    assert read(tree(machine), path) == f"{line}\n"


@pytest.mark.parametrize(
    ("gone", "asked", "zones"),
    [
        pytest.param([5], 5, "Movable Normal", id="movable memory around it"),
        pytest.param([4], 4, "Normal Movable", id="only behind it"),
        pytest.param([4, 5, 6, 7], 5, "Normal Movable", id="none online"),
        pytest.param([2], 2, "DMA32 Movable", id="in the midst of a lower zone"),
    ],
)
def test_offline_block_may_come_into_the_zone_around_it(
    gone: list[int], asked: int, zones: str
) -> None:
    machine = boot(load_text(MOVABLE).machine, "6.12")
    for number in gone:
        offline_pages(machine, memory_blocks(machine)[number])
    assert read(tree(machine), f"{MEMORY}/memory{asked}/valid_zones") == f"{zones}\n"


def test_zone_begins_with_its_first_block_that_is_online(machine: Machine) -> None:
    text = zoneinfo.format_rows(machine, zoneinfo.rows(machine))
    node = text[text.index("Node 1, zone    DMA32") :]
    assert "        spanned  32768\n        present  32768\n" in node
    assert "  start_pfn:           98304\n" in node


def test_zone_without_memory_is_not_populated(machine: Machine) -> None:
    offline_pages(machine, memory_blocks(machine)[3])
    assert {row.node for row in buddyinfo.rows(machine)} == {0}
    assert read(tree(machine), "sys/devices/system/node/has_memory") == "0\n"
    assert read(tree(machine), "sys/devices/system/node/has_normal_memory") == "0\n"
