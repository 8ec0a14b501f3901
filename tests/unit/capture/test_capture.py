"""A captured machine is what its files say, and prints them again once it is booted."""

import os
import re
import sys
from pathlib import Path

import pytest

import pymigrate
from pymigrate.capture.capture import capture
from pymigrate.capture.tree import Tree
from pymigrate.errors import ScenarioError
from tests.unit.capture.conftest import MAPS, NUMA_MAPS, STATUS, write


def booted(root: Path, *pids: int, anonymize: bool = False) -> pymigrate.Machine:
    return pymigrate.boot(capture(str(root), list(pids), anonymize)[0])


def shown(text: str) -> str:
    """numa_maps without what other processes and the LRU lists decide."""
    return re.sub(r" (active|mapmax)=\d+", "", text)


def test_the_booted_machine_prints_the_numa_maps_that_were_captured(root: Path) -> None:
    assert shown(booted(root, 77).numa_maps_text(77)) == shown(NUMA_MAPS)


def test_the_machine_is_what_sysfs_says(root: Path) -> None:
    machine = booted(root)
    assert machine.kernel == "6.1"
    assert machine.nodes[1].cpus == (2, 3)
    assert machine.nodes[1].memory == 64 << 20
    assert machine.nodes[1].distances == {0: 21, 1: 10}
    assert machine.sysctl("thp") == "always [madvise] never"
    assert machine.sysctl("nr_hugepages") == "2"


def test_the_task_is_what_its_status_says(root: Path) -> None:
    machine = booted(root, 77)
    [process] = machine.ps()
    assert process[:6] == (77, 1000, "app", "0-1", "prefer:1", "app")
    assert str(machine.get_mempolicy("app", "heap")) == "default"  # it follows the task's
    assert str(machine.get_mempolicy("app", "zero")) == "weighted interleave:0-1"
    assert machine.mbind("app", "heap", "bind:0", move_all=True).moved == 4  # it has CAP_SYS_NICE


def test_notes_say_what_is_not_as_it_was(root: Path) -> None:
    text, notes = capture(str(root), [77], False)
    what = (
        "1 mapping shares pages with processes that are not captured, or in part: mapmax is lower"
    )
    assert notes == [what]
    assert f"# Not as it was: {what}\n" in text


@pytest.mark.parametrize(
    ("release", "kernel", "noted"),
    [("6.12.9", "6.12", False), ("5.10.0", "6.1", True), ("7.4.1", "7.2", True)],
)
def test_the_kernel_is_the_nearest_that_is_simulated(
    root: Path, release: str, kernel: str, noted: bool
) -> None:
    write(root, "proc/sys/kernel/osrelease", f"{release}\n")
    text, notes = capture(str(root), [77], False)
    assert pymigrate.boot(text).kernel == kernel
    assert (f"Linux {release} is taken for {kernel}" in notes) is noted


def test_a_cpuset_keeps_its_task_from_nodes(root: Path) -> None:
    write(root, "proc/77/status", STATUS.replace("list:\t0-1\n", "list:\t1\n"))
    write(root, "proc/77/cpuset", "/batch/night\n")
    lines = re.sub(r"^7f0.*\n", "", NUMA_MAPS, flags=re.MULTILINE)
    write(root, "proc/77/numa_maps", lines)
    write(root, "proc/77/maps", re.sub(r"^7f0.*\n", "", MAPS, flags=re.MULTILINE))
    machine = booted(root, 77)
    assert machine.mems_allowed("app") == (1,)
    assert machine.cpusets["batch_night"].pids == (77,)
    assert shown(machine.numa_maps_text(77)) == shown(lines)


def test_processes_that_map_the_same_object_share_it(root: Path) -> None:
    write(root, "proc/78/status", STATUS.replace("app", "other"))
    write(root, "proc/78/maps", MAPS.splitlines(keepends=True)[3])
    write(
        root,
        "proc/78/numa_maps",
        "7f0000000000 weighted interleave:0-1 file=/dev/zero\\040(deleted) dirty=1 N1=1"
        " kernelpagesize_kB=4\n",
    )
    machine = booted(root)
    assert [row.mapmax for row in machine.numa_maps("other")] == [2]
    assert machine.numa_maps("other")[0].nodes == {1: 1}


def test_private_memory_that_is_mapped_twice_is_that_of_a_fork(root: Path) -> None:
    line = "01000000 default heap anon=6 dirty=6 mapmax=2 N0=2 N1=4 kernelpagesize_kB=4\n"
    for pid in (77, 78):
        write(root, f"proc/{pid}/status", STATUS)
        write(root, f"proc/{pid}/maps", MAPS.splitlines(keepends=True)[2])
        write(root, f"proc/{pid}/numa_maps", line)
    machine = booted(root)
    assert machine.tasks == {"app-77": 77, "app-78": 78}
    assert machine.numa_maps_text(78).split() == [*line.split()[:6], "active=0", *line.split()[6:]]
    assert machine.nodes[0].memory - machine.nodes[0].free == 2 * 4096


def test_huge_pages_of_the_pool(root: Path) -> None:
    write(
        root, "proc/77/maps", "40000000-40400000 rw-p 00000000 00:0f 3 /anon_hugepage (deleted)\n"
    )
    line = (
        "40000000 default file=/anon_hugepage\\040(deleted) huge anon=2 dirty=2 N1=2"
        " kernelpagesize_kB=2048\n"
    )
    write(root, "proc/77/numa_maps", line)
    assert booted(root).numa_maps_text(77) == line


def test_anonymize_replaces_what_says_something(root: Path) -> None:
    write(root, "proc/77/maps", MAPS.replace("/bin/app", "/dev/shm/secret (deleted)"))
    text, _ = capture(str(root), [77], True)
    assert not re.search(r"app\b|secret|1000[^0-9]", text.replace("uid: 1000", ""))
    assert "/dev/shm/file1 (deleted)" in text
    machine = pymigrate.boot(text)
    assert machine.tasks == {"task1": 77}
    assert machine.ps()[0].uid == 1000


PAGE = 1 << 63
FILE = 1 << 61


@pytest.mark.parametrize("by", ["memory blocks", "zoneinfo"])
def test_pagemap_places_each_page(root: Path, by: str) -> None:
    start, nr = 0x1000, 16
    if by == "memory blocks":
        write(root, "sys/devices/system/memory/block_size_bytes", "1000000\n")  # 4096 frames
        for nid in (0, 1):
            write(root, f"sys/devices/system/node/node{nid}/memory{nid}/state", "online\n")
    else:
        zone = "Node {}, zone  Normal\n        spanned  4096\n  start_pfn:           {}\n"
        write(root, "proc/zoneinfo", zone.format(0, 0) + zone.format(1, 4096))
    entries = [0] * (start + nr)
    for i, pfn in enumerate((5000, 7, 0, 5001, 5002, 8, 5003)):
        entries[start + i] = PAGE | pfn if pfn else 0
    data = b"".join(entry.to_bytes(8, "little") for entry in entries)
    (root / "proc/77/pagemap").write_bytes(data)
    runs = [tuple(run) for run in booted(root, 77).placement("app", "heap")]
    assert runs == [(1, 1), (1, 0), (1, None), (2, 1), (1, 0), (1, 1), (9, None)]


def test_pagemap_without_frames_leaves_the_counts(root: Path) -> None:
    write(root, "sys/devices/system/memory/block_size_bytes", "1000000\n")
    write(root, "sys/devices/system/node/node0/memory0/state", "online\n")
    (root / "proc/77/pagemap").write_bytes(PAGE.to_bytes(8, "little") * 0x1010)
    runs = [tuple(run) for run in booted(root, 77).placement("app", "heap")]
    assert runs == [(2, 0), (4, 1), (10, None)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        pytest.param(
            "proc/77/maps", "garbage\n", r"maps:1: 'garbage'; expected START-END PERMS", id="maps"
        ),
        pytest.param(
            "proc/77/numa_maps",
            NUMA_MAPS.replace("N1=4", "N1=x"),
            r"numa_maps:3: '01000000 prefer:1 heap .*'; expected START POLICY \[file=PATH",
            id="numa_maps",
        ),
        pytest.param(
            "proc/77/numa_maps",
            "".join(NUMA_MAPS.splitlines(keepends=True)[1:]),
            "numa_maps: has no line for 400000, which maps has",
            id="line gone",
        ),
        pytest.param(
            "proc/77/maps",
            "".join(MAPS.splitlines(keepends=True)[1:]),
            "maps: has no line for 400000, which numa_maps has",
            id="mapping gone",
        ),
        pytest.param("proc/77/status", "Uid:\tx y\n", "status: is malformed", id="status"),
        pytest.param(
            "sys/devices/system/node/node0/cpulist",
            "0-x\n",
            "cpulist:1: '0-x' is not a list of CPUs",
            id="cpulist",
        ),
        pytest.param(
            "sys/devices/system/node/node1/distance",
            "10\n",
            "distance:1: '10'; expected 2 distances, one for each node",
            id="distance",
        ),
        pytest.param(
            "sys/devices/system/node/node1/meminfo", "\n", "meminfo:1: .*MemTotal", id="meminfo"
        ),
        pytest.param(
            "proc/sys/kernel/numa_balancing",
            "on\n",
            "balancing:1: 'on'; expected a number",
            id="number",
        ),
    ],
)
def test_a_malformed_file_is_one_clear_line(root: Path, name: str, text: str, message: str) -> None:
    write(root, name, text)
    with pytest.raises(ScenarioError, match=message):
        capture(str(root), [77], False)


def test_what_is_not_there(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="there is no process 5"):
        capture(str(root), [5], False)
    with pytest.raises(ScenarioError, match="there are no NUMA nodes; expected node0"):
        capture(str(tmp_path / "empty"), [], False)


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes are POSIX's")
class TestOfAStrangeTree:
    """A tree that was copied may hold anything."""

    def test_a_link_out_of_the_tree_is_not_followed(self, root: Path, tmp_path: Path) -> None:
        secret = tmp_path.parent / "secret"
        secret.write_text("precious\n")
        cpulist = root / "sys/devices/system/node/node0/cpulist"
        cpulist.unlink()
        cpulist.symlink_to(secret)
        with pytest.raises(ScenarioError) as caught:
            capture(str(root), [], False)
        assert str(caught.value) == f"{cpulist}: is a link out of {root}, to {secret}"

    def test_a_link_within_the_tree_is_followed(self, root: Path) -> None:
        (root / "proc/self").symlink_to("77")
        tree = Tree(str(root))
        assert tree.read("proc/self/status") == STATUS
        assert tree.names("proc/self") == tree.names("proc/77")

    def test_nothing_is_found_behind_a_link_out_of_the_tree(self, root: Path) -> None:
        (root / "proc/1").symlink_to(root.parent)
        tree = Tree(str(root))
        assert (tree.has("proc/1"), tree.is_dir("proc/1"), tree.names("proc/1")) == (
            True,
            False,
            [],
        )

    def test_a_pipe_is_not_waited_for(self, root: Path) -> None:
        meminfo = root / "sys/devices/system/node/node0/meminfo"
        meminfo.unlink()
        os.mkfifo(meminfo)
        with pytest.raises(ScenarioError, match="meminfo: is a device or a pipe; expected a file"):
            capture(str(root), [], False)
