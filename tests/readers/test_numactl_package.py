"""The real numactl and numastat, which see the tree as their /proc and /sys."""

from collections.abc import Callable

import pytest

from tests.readers.conftest import program

Run = Callable[..., str]


@pytest.fixture
def numastat(inside: Run) -> Run:
    found = program("numastat", "numactl")
    return lambda *args: inside(found, *args)


def rows(text: str) -> dict[str, list[str]]:
    """The columns of a table's rows."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}


def test_hardware_is_the_scenarios(inside: Run) -> None:
    text = inside(program("numactl", "numactl"), "--hardware")
    if "No NUMA" in text:
        pytest.skip("numactl: no NUMA in this kernel, or it is forbidden here")
    lines = [line.split() for line in text.splitlines()]
    assert lines == [
        line.split()
        for line in (
            "available: 4 nodes (0-3)",
            "node 0 cpus: 0 1 2",
            "node 0 size: 256 MB",
            "node 0 free: 248 MB",
            "node 1 cpus: 3 4 5",
            "node 1 size: 192 MB",
            "node 1 free: 174 MB",
            "node 2 cpus: 6 7",
            "node 2 size: 0 MB",
            "node 2 free: 0 MB",
            "node 3 cpus:",
            "node 3 size: 128 MB",
            "node 3 free: 99 MB",
            "node distances:",
            "node 0 1 2 3",
            "0: 10 21 31 17",
            "1: 21 10 31 28",
            "2: 31 31 10 31",
            "3: 17 28 31 10",
        )
    ]


def test_events_of_the_allocator(numastat: Run) -> None:
    found = rows(numastat())
    assert found["numa_hit"] == ["0", "0", "0", "7171"]
    assert found["other_node"] == ["0", "0", "0", "7171"]
    assert found["local_node"] == ["0", "0", "0", "0"]


def test_memory_of_a_process_by_node(numastat: Run) -> None:
    found = rows(numastat("-p", "4321"))
    assert found["Heap"] == ["0.00", "8.00", "0.00", "24.00", "32.00"]
    assert found["Stack"] == ["0.00", "0.00", "0.00", "0.01", "0.01"]
    assert found["Private"] == ["0.00", "6.00", "0.00", "4.00", "10.00"]
    assert found["Total"] == ["0.00", "14.00", "0.00", "28.01", "42.01"]


def test_a_process_is_found_by_its_name(numastat: Run) -> None:
    assert "PID 4321 (mapper)" in numastat("-p", "mapper")


def test_memory_of_the_nodes(numastat: Run) -> None:
    found = rows(numastat("-m"))
    assert found["MemTotal"] == ["256.00", "192.00", "0.00", "128.00", "576.00"]
    assert found["MemUsed"] == ["8.00", "18.00", "0.00", "28.01", "54.01"]
    assert found["AnonPages"] == ["0.00", "8.00", "0.00", "24.01", "32.01"]
    assert found["HugePages_Total"] == ["8.00", "4.00", "0.00", "0.00", "12.00"]
