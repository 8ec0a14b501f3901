"""hwloc's lstopo: the topology that it finds in sys/devices/system."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from pymigrate.nodemask import Cpumask
from tests.conftest import MIB
from tests.readers.conftest import program, run


@pytest.fixture
def topology(exported: Path) -> ElementTree.Element:
    # Without the component that asks this machine's own CPUs.
    text = run(
        [program("lstopo-no-graphics", "hwloc-nox"), "--of", "xml", "-"],
        HWLOC_FSROOT=str(exported),
        HWLOC_COMPONENTS="linux,stop",
    )
    return ElementTree.fromstring(text)


def objects(topology: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    found = [o for o in topology.iter("object") if o.get("type") == kind]
    return sorted(found, key=lambda o: int(o.get("os_index", "0")))


def test_nodes_have_the_scenarios_memory(topology: ElementTree.Element) -> None:
    memory = {
        o.get("os_index"): int(o.get("local_memory", "0")) for o in objects(topology, "NUMANode")
    }
    assert memory == {"0": 256 * MIB, "1": 192 * MIB, "2": 0, "3": 128 * MIB}


def test_the_pools_are_counted_in_huge_pages(topology: ElementTree.Element) -> None:
    pools = {
        o.get("os_index"): [
            int(pages.get("count", "0"))
            for pages in o.iter("page_type")
            if pages.get("size") == str(2 * MIB)
        ]
        for o in objects(topology, "NUMANode")
    }
    assert pools == {"0": [4], "1": [2], "2": [0], "3": [0]}


def test_each_cpu_is_a_core_of_its_nodes_package(topology: ElementTree.Element) -> None:
    cpus = {o.get("os_index"): o.get("nodeset") for o in objects(topology, "PU")}
    assert list(cpus) == [str(cpu) for cpu in range(8)]
    packages = {o.get("os_index"): o.get("cpuset") for o in objects(topology, "Package")}
    assert packages == {"0": "0x00000007", "1": "0x00000038", "2": "0x000000c0"}
    assert len(objects(topology, "Core")) == 8


def test_distances_are_the_scenarios(topology: ElementTree.Element) -> None:
    [distances] = topology.iter("distances2")
    assert distances.get("type") == "NUMANode"
    values = " ".join(part.text or "" for part in distances.iter("u64values")).split()
    rows = "10 21 31 17 21 10 31 28 31 31 10 31 17 28 31 10"
    assert values == rows.split()


@pytest.mark.parametrize(
    ("attribute", "of_node_0", "of_node_3"),
    [
        ("ReadLatency", "80", "250"),
        ("WriteLatency", "80", "300"),
        ("ReadBandwidth", "100000", "30000"),
        ("WriteBandwidth", "90000", "20000"),
    ],
)
def test_speed_of_memory_is_the_hmats(
    topology: ElementTree.Element, attribute: str, of_node_0: str, of_node_3: str
) -> None:
    [values] = (attr for attr in topology.iter("memattr") if attr.get("name") == attribute)
    found = {value.get("target_obj_gp_index"): value.get("value") for value in values}
    initiators = {
        value.get("target_obj_gp_index"): value.get("initiator_cpuset") for value in values
    }
    nodes = {o.get("os_index"): o.get("gp_index") for o in objects(topology, "NUMANode")}
    assert (found[nodes["0"]], found[nodes["3"]]) == (of_node_0, of_node_3)
    assert initiators[nodes["3"]] == "0x00000007"  # node 0 is the nearest with CPUs
    assert nodes["2"] not in found


def test_lscpu_shows_the_cpus_of_each_node(exported: Path) -> None:
    lines = run([program("lscpu", "util-linux"), "--sysroot", str(exported)]).splitlines()
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    cpus = [Cpumask.parse(found[f"NUMA node{nid} CPU(s)"].strip(" -")) for nid in range(4)]
    assert [str(mask) for mask in cpus] == ["0-2", "3-5", "6-7", ""]
    assert found["CPU(s)"].strip() == "8"


def test_lsmem_adds_the_memory_blocks_up(exported: Path) -> None:
    lsmem = program("lsmem", "util-linux")
    text = run([lsmem, "--sysroot", str(exported), "--bytes", "--summary=only"])
    lines = dict(line.split(":", 1) for line in text.splitlines())
    assert {name: value.strip() for name, value in lines.items()} == {
        "Memory block size": str(128 * MIB),
        "Total online memory": str(640 * MIB),  # 576 MiB end within the last block
        "Total offline memory": "0",
    }
