"""What others use of a node's memory is its `kernel` and its `cache`."""

from pathlib import Path

import pytest

from pymigrate.capture.capture import capture
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.views.proc.meminfo import node_meminfo
from tests.unit.capture.conftest import write

# Of process 77, node 0 has 2 mapped pages of a file, a copy, 2 of the heap and one of shared
# memory; node 1 has a page of the file, 4 of the heap, 1 of shared memory, 2 of the stack, and
# the 2 huge pages of the pool.
PRIVATE_0, FILE_0 = 3, 2
USED_1 = 1 + 4 + 1 + 2 + 2 * 512


def meminfo(root: Path, nid: int, **kb: int) -> None:
    lines = {"MemTotal": 65536, **kb}
    text = "".join(f"Node {nid} {name + ':':16}{size:8} kB\n" for name, size in lines.items())
    write(root, f"sys/devices/system/node/node{nid}/meminfo", text)


def booted(text: str, nid: int) -> dict[str, int]:
    """The node's meminfo once the machine is booted."""
    return node_meminfo(build(load_text(text)), nid)


def test_what_can_give_way_is_cache_and_the_rest_the_kernel(root: Path) -> None:
    meminfo(root, 0, MemFree=20480, Dirty=400, Writeback=100, FilePages=10240, Shmem=1004)
    text, _ = capture(str(root), [77], False)
    # FilePages less Shmem, Dirty, Writeback, and the two pages that process 77 maps.
    cache = 10240 - 1004 - 500 - FILE_0 * 4
    kernel = 65536 - 20480 - cache - (PRIVATE_0 + 1 + FILE_0) * 4
    assert f"0: {{cpus: 0-1, memory: 64MiB, kernel: {kernel}KiB, cache: {cache}KiB}}" in text
    assert booted(text, 0)["MemFree"] == 20480


def test_a_node_that_has_only_what_was_captured_says_nothing_of_others(root: Path) -> None:
    meminfo(root, 1, MemFree=65536 - USED_1 * 4, FilePages=4, Shmem=4)
    text, _ = capture(str(root), [77], False)
    assert "1: {cpus: 2-3, memory: 64MiB}\n" in text


@pytest.mark.parametrize(
    ("files", "cache"),
    [
        pytest.param({}, 0, id="no page cache"),
        pytest.param({"FilePages": 65536}, 65536 - USED_1 * 4 - 8192, id="more than is used"),
        pytest.param({"FilePages": 4102}, 4096, id="no whole page"),
        pytest.param({"FilePages": 64, "Dirty": 128}, 0, id="all dirty"),
    ],
)
def test_sizes_stay_within_what_is_used(root: Path, files: dict[str, int], cache: int) -> None:
    meminfo(root, 1, MemFree=8192, **files)
    shown = booted(capture(str(root), [77], False)[0], 1)
    assert shown["MemFree"] == 8192
    assert shown["Inactive(file)"] == cache + 4  # and the page that process 77 maps
