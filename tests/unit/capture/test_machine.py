"""The whole machine comes back: settings, tiers, zones, pools, pages of other sizes."""

import re
from pathlib import Path

import pytest

import pymigrate
from pymigrate.capture.capture import capture
from pymigrate.cli.tree_writer import TreeWriter
from pymigrate.errors import ScenarioError
from pymigrate.mm.frames.memory_tiers import CHUNK_BITS
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load, load_text
from pymigrate.scenario.spec.models import MachineSpec, Scenario
from pymigrate.views.entries import read
from pymigrate.views.sysfs.memory_blocks import is_of_block
from pymigrate.views.tree import is_of_pages, tree
from tests.unit.capture.conftest import NUMA_MAPS, STATUS, write

SCENARIOS = sorted((Path(__file__).parents[3] / "scenarios").glob("*.yaml"))
WHOLE = """\
kernel: "6.12"
machine:
  nodes:
    0:
      cpus: "0-3"
      memory: 256MiB
      movable: 64MiB
      cma: 16MiB
      hmat: {read_latency: 80, write_latency: 80, read_bandwidth: 100000, write_bandwidth: 100000}
    1:
      cpus: "4-7"
      memory: 256MiB
      kernel: 16MiB
      cache: 32MiB
      hmat: {read_latency: 80, write_latency: 80, read_bandwidth: 100000, write_bandwidth: 100000}
    3:
      memory: 128MiB
      movable: 128MiB
      hmat: {read_latency: 300, write_latency: 310, read_bandwidth: 20000, write_bandwidth: 10000}
    4: {memory: 128MiB, adistance: 9024}
    9: {cpus: "8", memory: 0}
  distances:
  - [10, 20, 30, 40, 20]
  - [20, 10, 30, 40, 20]
  - [30, 30, 10, 40, 30]
  - [40, 40, 40, 10, 40]
  - [20, 20, 30, 40, 10]
  weights: {0: 3, 1: 2}
  demotion: true
  numa_balancing: 2
  thp: madvise
  thp_defrag: defer
  hugetlb: {0: 3}
tasks:
  a:
    memory:
    - {as: heap, kind: heap, size: 8MiB, pages: [[100, 0], [1900, 1]], thp: 6MiB}
    - {as: big, size: 9MiB, pages: [[1024, 1], [1, 0], [1023, 3]], thp: 4MiB}
  idle: {}
"""


def _is_left_out(path: str) -> bool:
    return is_of_block(path) or is_of_pages(path)


def exported(scenario: Scenario, folder: Path) -> str:
    """Where the tree of the machine that *scenario* describes is."""
    writer = TreeWriter(str(folder / "tree"), leave_out=_is_left_out)
    writer.write(tree(build(scenario)))
    return str(folder / "tree")


def known(spec: MachineSpec) -> dict[str, object]:
    """What files can say of a machine: no seeds, costs or devices, and an adistance by its tier."""
    data = spec.model_dump(exclude={"seed", "costs", "devices"})
    for node in data["nodes"].values():
        del node["fragmentation"]
        node["adistance"] = (node["adistance"] or 0) >> CHUNK_BITS
    return {**data, "distances": spec.matrix}


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_that_ships_comes_back(path: Path, tmp_path: Path) -> None:
    scenario = load(path)
    again = load_text(capture(exported(scenario, tmp_path), [], False)[0])
    machine, booted = build(scenario), build(again)
    ours, theirs = tree(booted), tree(machine)
    for task in machine.processes:
        assert read(ours, f"proc/{task.pid}/numa_maps") == read(
            theirs, f"proc/{task.pid}/numa_maps"
        )
    tiers = "sys/devices/virtual/memory_tiering"
    assert read(ours, tiers) == read(theirs, tiers)
    if any(node.fragmentation for node in scenario.machine.nodes.values()):
        return  # no file says how; what is in use is the kernel's, and cache
    ours, theirs = known(again.machine), known(scenario.machine)
    for data in (ours, theirs) if scenario.drivers else ():  # their pages are the kernel's
        for node in data["nodes"].values():
            del node["kernel"], node["cache"]
    assert ours == theirs
    ours, theirs = tree(booted), tree(machine)
    if not scenario.drivers and path.stem != "taking-memory-away":  # of CMA memory some is in use
        assert read(ours, "proc/meminfo") == read(theirs, "proc/meminfo")
        assert read(ours, "proc/zoneinfo") == read(theirs, "proc/zoneinfo")


def test_all_that_a_machine_can_say_comes_back(tmp_path: Path) -> None:
    scenario = load_text(WHOLE)
    text, notes = capture(exported(scenario, tmp_path), [], False)
    again = load_text(text)
    assert known(again.machine) == known(scenario.machine)
    ours, theirs = tree(build(again)), tree(build(scenario))
    for name in ("proc/meminfo", "proc/zoneinfo", "proc/1000/smaps", "proc/1001/maps"):
        assert read(ours, name) == read(theirs, name)
    assert notes == ["node 4: its adistance is one of tier 70, not known better"]


def test_thp_lies_in_the_first_blocks_of_each_node() -> None:
    smaps = read(tree(build(load_text(WHOLE))), "proc/1000/smaps")
    assert re.findall(r"AnonHugePages: +(\d+)", smaps) == ["4096", "6144"]


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("size: 4MiB, pages: [[1024, 0]], thp: 1MiB", "expected a multiple of 2MiB"),
        ("size: 4MiB, thp: 2MiB", "no runs of `pages`; expected them with thp"),
        ("size: 4MiB, pages: [[1023, 0]], thp: 4MiB", "2MiB of its thp lie in no block of 2 MiB"),
        ("kind: shmem, size: 4MiB, pages: [[1024, 0]], thp: 2MiB", "no thp here"),
        ("size: 8MiB, pages: [[2048, 0]], thp: 8MiB", "too few free blocks of 2 MiB for its thp"),
    ],
)
def test_thp_that_cannot_be_is_refused(region: str, message: str) -> None:
    machine = "machine: {nodes: {0: {cpus: '0', memory: 9MiB, kernel: 1MiB}}}"
    text = f"{machine}\ntasks: {{a: {{memory: [{{as: m, {region}}}]}}}}"
    with pytest.raises(ScenarioError, match=message):
        build(load_text(text))


def test_pages_of_64_kib_are_16_pages_each(root: Path) -> None:
    maps = "7fff00000000-7fff04000000 rw-p 00000000 00:00 0 \n"
    line = "7fff00000000 default anon=1009 dirty=1009 active=0 N0=9 N1=100 kernelpagesize_kB=64\n"
    write(root, "proc/77/maps", maps)
    write(root, "proc/77/numa_maps", line.replace("1009", "109"))
    text, notes = capture(str(root), [77], False)
    machine = pymigrate.boot(text)
    assert [tuple(run) for run in machine.placement("app", "anon")][:2] == [(144, 0), (1600, 1)]
    assert "each page of 64 KiB is 16 of 4 KiB: counts of pages are 16 times as high" in notes


def test_pools_of_other_sizes_are_the_kernels(root: Path) -> None:
    write(root, "sys/devices/system/node/node0/hugepages/hugepages-16384kB/nr_hugepages", "2\n")
    text, notes = capture(str(root), [77], False)
    assert "0: {cpus: 0-1, memory: 64MiB, kernel: 32MiB}" in text
    assert "node 0: 2 huge pages of 16384 kB are the kernel's, and never move" in notes


def test_the_stack_of_a_thread_is_memory_like_any_other(root: Path) -> None:
    write(root, "proc/77/maps", "7f0000000000-7f0000800000 rw-p 00000000 00:00 0 [stack:4400]\n")
    write(root, "proc/77/numa_maps", "7f0000000000 default stack:4400 anon=3 dirty=3 N0=3\n")
    text, _ = capture(str(root), [77], False)
    assert "{as: stack_4400, kind: anon, size: 8MiB" in text


def test_a_copied_page_that_others_map_is_one_mapping(root: Path) -> None:
    write(root, "proc/77/maps", "7f0000000000-7f0000001000 rw-p 00000000 fd:00 9 /lib/libc.so\n")
    line = "default file=/lib/libc.so anon=1 dirty=1 mapmax=2 N0=1 kernelpagesize_kB=4"
    write(root, "proc/77/numa_maps", f"7f0000000000 {line}\n")
    [note] = capture(str(root), [77], False)[1]
    assert note.startswith("1 mapping shares pages")


def test_memory_of_devices_is_left_out_with_a_note(root: Path) -> None:
    with (root / "proc/77/maps").open("a") as file:
        file.write("7ffffffff000-800000000000 rw-s 00000000 00:0d 4 /dev/vfio/44\n")
    write(root, "proc/77/numa_maps", f"{NUMA_MAPS}7ffffffff000 default file=/dev/vfio/44\n")
    write(root, "proc/77/status", f"{STATUS}VmPin:\t    4096 kB\n")
    notes = capture(str(root), [77], False)[1]
    assert (
        "process 77: 1 mapping of devices (/dev/vfio/44) left out: none of it ever moves" in notes
    )
    assert "process 77: 4096 kB are pinned (VmPin) and would stay; here they move" in notes


def test_a_policy_of_all_mappings_of_an_excerpt_is_not_the_tasks(root: Path) -> None:
    write(root, "proc/77/maps", "7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n")
    write(root, "proc/77/numa_maps", "7f0000000000 bind:1 anon=1 N1=1 kernelpagesize_kB=4\n")
    text, notes = capture(str(root), [77], False)
    assert str(pymigrate.boot(text).get_mempolicy("app")) == "default"
    assert notes == ["process 77: without [stack] its own policy is not known: taken for default"]


@pytest.mark.parametrize(
    ("name", "text", "note"),
    [
        ("proc/sys/vm/zone_reclaim_mode", "1\n", "proc/sys/vm/zone_reclaim_mode is 1, here 0"),
        ("proc/sys/vm/swappiness", "9\n", "proc/sys/vm: not taken over: swappiness"),
        ("sys/kernel/mm/ksm/run", "1\n", "sys/kernel/mm/ksm/run is 1, here 0"),
    ],
)
def test_settings_that_are_not_simulated_so_are_noted(
    root: Path, name: str, text: str, note: str
) -> None:
    write(root, name, text)
    assert note in capture(str(root), [77], False)[1]


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("sys/kernel/mm/transparent_hugepage/enabled", "taken for never"),
        ("sys/kernel/mm/transparent_hugepage/defrag", "taken for madvise"),
        ("sys/kernel/mm/numa/demotion_enabled", "taken for false"),
        ("proc/sys/kernel/numa_balancing", "taken for 0"),
    ],
)
def test_every_default_is_noted(root: Path, name: str, note: str) -> None:
    (root / name).unlink()
    assert f"there is no {name}: {note}" in capture(str(root), [77], False)[1]


def test_the_kernel_is_told_by_proc_version_too(root: Path) -> None:
    (root / "proc/sys/kernel/osrelease").unlink()
    assert "nothing says which kernel it is: taken for 6.12" in capture(str(root), [77], False)[1]
    write(root, "proc/version", "Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org)\n")
    assert "kernel: '6.1'\n" in capture(str(root), [77], False)[0]


def test_scattered_free_memory_is_noted(root: Path) -> None:
    write(root, "proc/buddyinfo", f"Node 1, zone   Normal  512 {'0 ' * 8} 3 0\n")
    notes = capture(str(root), [77], False)[1]
    what = "node 1: of its free memory 75 % lie in blocks of 2 MiB or more, here nearly all"
    assert what in notes


def test_who_has_no_cpulist_has_a_cpumap(root: Path) -> None:
    for nid in (0, 1):
        (root / f"sys/devices/system/node/node{nid}/cpulist").unlink()
    write(root, "sys/devices/system/node/node0/cpumap", "00000001,00000003\n\0")
    (root / "sys/devices/system/node/node1/cpu2").mkdir()
    text, notes = capture(str(root), [77], False)
    assert "0: {cpus: '0-1,32', memory" in text
    assert "1: {cpus: '2', memory" in text
    assert "node 1: it has no cpulist; its CPUs are by its links to them" in notes


ZONE = """\
Node {}, zone   Normal
  pages free     1
        spanned  8192
        present  8192
        managed  {}
"""


def test_who_has_no_meminfo_has_zoneinfo_or_is_told(root: Path) -> None:
    for nid in (0, 1):
        (root / f"sys/devices/system/node/node{nid}/meminfo").unlink()
    with pytest.raises(ScenarioError, match="nothing says how much memory the node has; --memory"):
        capture(str(root), [77], False)
    assert "memory: 1024MiB" in capture(str(root), [77], False, memory=1 << 30)[0]
    write(root, "proc/zoneinfo", ZONE.format(0, 8000) + ZONE.format(1, 4096))
    text, notes = capture(str(root), [77], False)
    assert "0: {cpus: 0-1, memory: 32000KiB" in text
    assert "node 1: it has no meminfo; its memory is by proc/zoneinfo" in notes


def test_a_machine_of_no_cpus_is_refused_by_name(root: Path) -> None:
    for nid in (0, 1):
        write(root, f"sys/devices/system/node/node{nid}/cpulist", "\n")
    with pytest.raises(ScenarioError, match="no node has CPUs by its cpulist, its cpumap"):
        capture(str(root), [77], False)


def test_distances_that_nobody_tells_are_noted(root: Path) -> None:
    for nid in (0, 1):
        (root / f"sys/devices/system/node/node{nid}/distance").unlink()
    text, notes = capture(str(root), [77], False)
    assert "distances" not in text.split("machine:")[1]
    assert "no node tells distances: 10 to itself, 20 to others" in notes
