"""/proc/zoneinfo: every zone of every node."""

from pymigrate.mm.state.machine import Machine
from pymigrate.views.proc.zoneinfo import format_rows, rows
from tests.conftest import new_task, nodes_with, touched

ZONES = ["DMA", "DMA32", "Normal", "Movable", "Device"]


def text(machine: Machine) -> list[str]:
    return format_rows(machine, rows(machine)).splitlines()


def block(machine: Machine, nid: int, zone: str) -> list[str]:
    """The lines of one zone, but for the first."""
    lines = text(machine)
    at = lines.index(f"Node {nid}, zone {zone:>8}") + 1
    ends = [i for i in range(at, len(lines)) if lines[i].startswith("Node ")]
    return lines[at : ends[0] if ends else len(lines)]


def test_each_node_has_all_five_zones() -> None:
    machine = nodes_with("64MiB", "0")
    assert [(row.nid, row.name) for row in rows(machine)] == [
        (nid, zone) for nid in (0, 1) for zone in ZONES
    ]


def test_a_zone_without_memory_ends_early() -> None:
    assert block(nodes_with("64MiB", "0"), 1, "DMA") == [
        "  pages free     0",
        "        boost    0",
        "        min      0",
        "        low      0",
        "        high     0",
        "        promo    0",
        "        spanned  0",
        "        present  0",
        "        managed  0",
        "        cma      0",
        "        protection: (0, 0, 0, 0, 0)",
    ]


def test_the_first_zone_with_memory_shows_the_nodes_counters() -> None:
    machine = nodes_with("64MiB", "64MiB")
    assert block(machine, 0, "DMA")[0] == "  per-node stats"
    assert block(machine, 0, "DMA32")[0].startswith("  pages free")
    assert block(machine, 1, "DMA32")[0] == "  per-node stats"


def test_watermarks_and_what_is_kept_from_higher_allocations() -> None:
    lines = block(nodes_with("64MiB", "64MiB"), 0, "DMA")
    at = lines.index("  pages free     4096")
    assert lines[at : at + 11] == [
        "  pages free     4096",
        "        boost    0",
        "        min      45",
        "        low      56",
        "        high     67",
        "        promo    78",
        "        spanned  4096",
        "        present  4096",
        "        managed  4096",
        "        cma      0",
        "        protection: (0, 48, 48, 48, 48)",
    ]


def test_a_zone_with_memory_shows_its_counters_and_each_cpu() -> None:
    machine = nodes_with("64MiB", cpus=("0-1",))
    touched(machine, new_task(machine), "16KiB")
    lines = block(machine, 0, "DMA32")
    assert "      nr_free_pages 12284" in lines
    assert "      nr_zone_active_anon 4" in lines
    assert "      numa_hit     4" in lines
    assert lines[lines.index("  pagesets") :] == [
        "  pagesets",
        "    cpu: 0",
        "              count: 0",
        "              high:  0",
        "              batch: 1",
        "  vm stats threshold: 0",
        "    cpu: 1",
        "              count: 0",
        "              high:  0",
        "              batch: 1",
        "  vm stats threshold: 0",
        "  node_unreclaimable:  0",
        "  start_pfn:           4096",
    ]


def test_nodes_lie_one_behind_the_other() -> None:
    machine = nodes_with("64MiB", "64MiB")
    assert block(machine, 1, "DMA32")[-1] == "  start_pfn:           16384"
