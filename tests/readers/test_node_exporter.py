"""Prometheus' node exporter, pointed at the exported proc and sys."""

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import pytest

from tests.conftest import MIB
from tests.readers.conftest import program

COLLECTORS = ("meminfo", "meminfo_numa", "vmstat", "zoneinfo", "buddyinfo")
FIELDS = "^(numa_.*|pgmigrate.*|thp_migration.*)$"


@pytest.fixture(scope="module")
def metrics(exported: Path) -> Iterator[dict[str, float]]:
    """What it answers, by name and labels."""
    exporter = program("prometheus-node-exporter", "prometheus-node-exporter")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    args = [
        exporter,
        f"--path.procfs={exported / 'proc'}",
        f"--path.sysfs={exported / 'sys'}",
        f"--web.listen-address={address}",
        "--web.disable-exporter-metrics",
        "--collector.disable-defaults",
        *[f"--collector.{name}" for name in COLLECTORS],
        f"--collector.vmstat.fields={FIELDS}",
    ]
    with subprocess.Popen(args, stderr=subprocess.DEVNULL) as process:
        try:
            yield parse(fetch(process, f"http://{address}/metrics"))
        finally:
            process.terminate()


def fetch(process: "subprocess.Popen[bytes]", url: str) -> str:
    """The page, as soon as the exporter listens."""
    end, direct = time.monotonic() + 30, build_opener(ProxyHandler({}))
    while time.monotonic() < end:
        assert process.poll() is None, "the node exporter has ended"
        try:
            with direct.open(url, timeout=30) as answer:
                text = answer.read().decode()
        except URLError:
            time.sleep(0.05)
        else:
            assert isinstance(text, str)
            return text
    raise AssertionError("the node exporter does not answer")


def parse(text: str) -> dict[str, float]:
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def by_node(metrics: dict[str, float], name: str) -> dict[str, float]:
    """A metric's values by node."""
    found = ((re.fullmatch(name + r'\{node="(\d+)"\}', key), v) for key, v in metrics.items())
    return {match[1]: value for match, value in found if match}


@pytest.mark.parametrize("collector", COLLECTORS)
def test_each_collector_succeeds(metrics: dict[str, float], collector: str) -> None:
    assert metrics[f'node_scrape_collector_success{{collector="{collector}"}}'] == 1


def test_free_memory_by_node(metrics: dict[str, float]) -> None:
    assert by_node(metrics, "node_memory_numa_MemFree") == {
        "0": 248 * MIB,  # but for four huge pages all is free
        "1": 174 * MIB,  # two huge pages, and 2048, 1024 and 512 of the process
        "2": 0,
        "3": 100 * MIB - 3 * 4096,
    }


def test_kinds_of_memory_by_node(metrics: dict[str, float]) -> None:
    assert by_node(metrics, "node_memory_numa_AnonPages") == {
        "0": 0,
        "1": 8 * MIB,
        "2": 0,
        "3": 24 * MIB + 3 * 4096,
    }
    assert by_node(metrics, "node_memory_numa_Shmem") == {
        "0": 0,
        "1": 4 * MIB,
        "2": 0,
        "3": 4 * MIB,
    }
    assert by_node(metrics, "node_memory_numa_HugePages_Total") == {"0": 4, "1": 2, "2": 0, "3": 0}


def test_what_migration_has_allocated_by_node(metrics: dict[str, float]) -> None:
    moved = 6144 + 1024 + 3
    assert by_node(metrics, "node_memory_numa_numa_hit_total")["3"] == moved
    assert by_node(metrics, "node_memory_numa_other_node_total")["3"] == moved
    assert by_node(metrics, "node_memory_numa_local_node_total")["3"] == 0


def test_vmstat_counts_what_has_moved(metrics: dict[str, float]) -> None:
    assert metrics["node_vmstat_pgmigrate_success"] == 6144 + 1024 + 3
    assert metrics["node_vmstat_pgmigrate_fail"] == 0
    assert metrics["node_vmstat_thp_migration_success"] == 0


def test_the_machines_memory(metrics: dict[str, float]) -> None:
    assert metrics["node_memory_MemTotal_bytes"] == 576 * MIB
    assert metrics["node_memory_HugePages_Total"] == 6
    assert metrics["node_memory_Cached_bytes"] == 10 * MIB


def test_zones_and_their_free_blocks(metrics: dict[str, float]) -> None:
    zone = '{node="3",zone="DMA32"}'
    assert metrics[f"node_zoneinfo_managed_pages{zone}"] == 32768
    assert metrics[f"node_zoneinfo_nr_free_pages{zone}"] == 25600 - 3
    blocks = [
        metrics[f'node_buddyinfo_blocks{{node="3",size="{order}",zone="DMA32"}}'] * (1 << order)
        for order in range(11)
    ]
    assert sum(blocks) == 25600 - 3
