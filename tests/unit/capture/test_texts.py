"""A bare numa_maps, as bug reports have it, becomes a scenario that prints it again."""

import re
import subprocess
from pathlib import Path

import pytest

import pymigrate
from pymigrate.capture.capture import capture
from pymigrate.capture.gather import SCRIPT
from pymigrate.capture.texts import text_tree
from pymigrate.errors import ScenarioError

NUMA_MAPS = """\
5581e6a7f000 default file=/usr/bin/app mapped=700 active=0 N0=700 kernelpagesize_kB=4
5581e6d7f000 default file=/usr/bin/app anon=1 dirty=1 active=0 N0=1 kernelpagesize_kB=4
5581e7a7f000 default heap anon=20 dirty=20 active=0 N0=10 N1=10 kernelpagesize_kB=4
7f0000000000 bind:1 anon=5000 dirty=5000 active=0 N1=5000 kernelpagesize_kB=4
7f1000000000 default file=/SYSV00000001\\040(deleted) dirty=5 active=0 N0=5 kernelpagesize_kB=4
7f2000000000 bind:1 file=/dev/hugepages/x huge dirty=5 N1=5 kernelpagesize_kB=2048
7ffe00000000 default stack anon=3 dirty=3 active=0 N0=3 kernelpagesize_kB=4
"""
HARDWARE = """\
available: 2 nodes (0-1)
node 0 cpus: 0 1 2 3
node 0 size: 2000 MB
node 0 free: 1000 MB
node 1 cpus:
node 1 size: 1000 MB
node 1 free: 900 MB
node distances:
node   0   1
  0:  10  21
  1:  21  10
"""


@pytest.fixture
def numa_maps(tmp_path: Path) -> Path:
    path = tmp_path / "numa_maps"
    path.write_text(NUMA_MAPS)
    return path


def captured(numa_maps: Path, hardware: str | None, memory: int | None = None) -> tuple[str, str]:
    """The scenario, and its notes."""
    path = None
    if hardware is not None:
        path = str(numa_maps.parent / "hardware")
        Path(path).write_text(hardware)
    tree, notes = text_tree(str(numa_maps), path, memory, 77)
    text, notes = capture(tree, [77], False, memory, notes)
    return text, "\n".join(notes)


def test_it_comes_back(numa_maps: Path) -> None:
    text, notes = captured(numa_maps, HARDWARE)
    machine = pymigrate.boot(text)
    assert machine.numa_maps_text(77) == NUMA_MAPS
    assert machine.nodes[0].distances == {0: 10, 1: 21}
    assert (machine.nodes[0].cpus, machine.nodes[1].cpus) == ((0, 1, 2, 3), ())
    assert machine.nodes[1].free == 900 << 20
    assert notes.startswith("sizes of mappings are guessed by their pages")
    assert "nothing says which kernel it is: taken for 6.12" in notes


def test_without_hardware_the_nodes_are_those_that_are_named(numa_maps: Path) -> None:
    text, notes = captured(numa_maps, None, 1 << 30)
    assert [node.memory for node in pymigrate.boot(text).nodes.values()] == [1 << 30, 1 << 30]
    assert "the nodes are those that it names, with a CPU and 1024 MiB each" in notes


@pytest.mark.parametrize(
    ("text", "hardware", "message"),
    [
        (NUMA_MAPS, None, "needs --hardware FILE"),
        (NUMA_MAPS, "hello\n", "hardware:1: 'hello'; expected what `numactl --hardware` prints"),
        (NUMA_MAPS, "available: 1 nodes (0)\n", "hardware: has no nodes"),
        (NUMA_MAPS, "node 0 cpus: 0\n", "has no size of node 0"),
        (NUMA_MAPS, "node 0 cpus: 0\nnode 0 size: 9 MB\n", "has pages on node 1, which"),
        ("", HARDWARE, "numa_maps: is empty"),
        ("\n".join([NUMA_MAPS, "x"]), HARDWARE, "numa_maps:8: ''; expected START POLICY"),
    ],
)
def test_mistakes_are_named(numa_maps: Path, text: str, hardware: str, message: str) -> None:
    numa_maps.write_text(text)
    with pytest.raises(ScenarioError, match=re.escape(message)):
        captured(numa_maps, hardware)


def test_what_the_script_gathers_is_captured_alike(root: Path, tmp_path: Path) -> None:
    (root / "proc/77/environ").write_text("SECRET=1")
    (root / "proc/77/mem").write_text("secret")
    script = tmp_path / "gather.sh"
    script.write_text(SCRIPT)
    environment = {"GATHER_ROOT": str(root), "PATH": "/usr/bin:/bin"}
    command = ["sh", str(script), "copy", "77"]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment, capture_output=True)
    copy = tmp_path / "copy"
    assert capture(str(copy), [], False) == capture(str(root), [77], False)
    names = {path.name for path in (copy / "proc/77").iterdir()}
    assert names == {"status", "maps", "numa_maps", "cpuset"}
    assert (tmp_path / "copy.tar.gz").stat().st_size > 0
