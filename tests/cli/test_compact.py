"""``pymigrate compact`` and ``pymigrate show --zone``."""

import pytest

from tests.cli.conftest import Outcome, Shell, refused

FRAGMENTED = """\
machine:
  thp: always
  nodes:
    0:
      cpus: "0"
      memory: 16MiB
      fragmentation: [{stride: 2}, {pages: unmovable, stride: 512, offset: 14340KiB, size: 4KiB}]
    1: {cpus: "1", memory: 16MiB}
tasks:
  a: {}
"""
LEGEND = """\

A cell is a pageblock (2 MiB): '.' free, 1 to 9 tenths in use by pages that can be moved, '#' full,
'h' huge pages, 'k' kernel pages that stay; upper case 'K': the block is of their type.
"""


@pytest.fixture
def scattered(shell: Shell) -> Shell:
    shell.boot(FRAGMENTED)
    return shell


def test_whole_zones_are_compacted(scattered: Shell) -> None:
    assert scattered.out("compact 0") == (
        "node 0, zone DMA: complete, 768 pages moved, 2MiB blocks free: 0 -> 3\n"
    )
    assert scattered.counted("pgmigrate_success", "compact_stall", "compact_daemon_wake") == [
        *(768, 0, 0)
    ]


def test_all_nodes_are_compacted_without_one(scattered: Shell) -> None:
    text = scattered.out("compact")
    assert "node 1, zone DMA32: complete, 0 pages moved, 2MiB blocks free: 8 -> 8\n" in text


def test_an_order_lets_kcompactd_work_until_a_block_is_free(scattered: Shell) -> None:
    assert scattered.out("compact 0 --order 9") == (
        "node 0, zone DMA: success, 256 pages moved, 2MiB blocks free: 0 -> 1\n"
    )
    wakes, scanned = scattered.counted("compact_daemon_wake", "compact_daemon_migrate_scanned")
    assert (wakes, scanned) == (1, 512)


def test_verbose_draws_before_and_after(scattered: Shell) -> None:
    picture = scattered("compact 0 -v").stdout
    assert picture.startswith(
        "before:\nNode 0, zone DMA: 2047 of 4096 pages free, 0 of 8 pageblocks\n  5555555K\n"
        "\nafter:\nNode 0, zone DMA: 2047 of 4096 pages free, 3 of 8 pageblocks\n  ...5"
    )
    assert LEGEND in picture


def test_a_dry_run_keeps_nothing(scattered: Shell) -> None:
    before = scattered.state.read_bytes()
    assert "pgmigrate_success +768\n" in scattered.out("compact 0 --dry-run")
    assert scattered.state.read_bytes() == before


def test_the_trace_has_the_scanners(scattered: Shell) -> None:
    text = scattered.out("compact 0 --order 9 --trace")
    assert (
        "mm_compaction_begin: zone_start=0x0 migrate_pfn=0x0 free_pfn=0xe00 zone_end=0x1000,"
        " mode=sync\n"
    ) in text
    assert (
        "mm_compaction_isolate_migratepages: range=(0x0 ~ 0x3f) nr_scanned=63 nr_taken=32" in text
    )
    assert "mm_migrate_pages_start: mode=MIGRATE_SYNC_LIGHT reason=compaction\n" in text
    assert "mm_compaction_finished: node=0 zone=DMA      order=9 ret=success\n" in text


def test_the_trace_of_a_run_has_the_migration_events_alone(scattered: Shell) -> None:
    scattered.boot(f"{FRAGMENTED}steps: [{{op: compact, node: 0, order: 9}}]\n")
    [record] = scattered.json("run machine.yaml --trace")
    assert record["zones"] == [[0, "DMA", "success", 256]]
    names = {line.partition(":")[0] for line in record["trace"]}
    assert names == {"mm_migrate_pages_start", "mm_migrate_pages"}


def test_who_may_compact_and_what(scattered: Shell) -> None:
    assert scattered("compact 0 --as 5") == Outcome(1, "", "compact: Permission denied\n")
    why = "there is no node 7; expected one of 0, 1"
    expected = refused("compact", "No such file or directory", why)
    assert scattered("compact 7") == Outcome(1, "", expected)
    assert scattered("compact 7 -v") == Outcome(1, "", expected)
    assert scattered("compact 0 --order 11").exit == 2


def test_a_huge_fault_makes_room_where_defrag_says_so(scattered: Shell) -> None:
    scattered.out("task mmap a plain 2MiB")
    scattered.out("task touch a plain")
    scattered.out("sysctl thp_defrag=always")
    scattered.out("task mmap a huge 2MiB")
    scattered.out("task touch a huge")
    names = "thp_fault_fallback", "thp_fault_alloc", "compact_stall", "compact_success"
    assert scattered.counted(*names) == [1, 1, 1, 1]


def test_a_zone_is_drawn_block_by_block(scattered: Shell) -> None:
    head = "Node 0, zone DMA: 2047 of 4096 pages free, 0 of 8 pageblocks\n"
    assert scattered.out("show --zone 0:dma") == f"{head}  5555555K\n{LEGEND}"
    [zone] = scattered.json("show --zone 0")
    assert zone["cells"][7] == {
        "start": 3584,
        "blocks": 1,
        "free": 255,
        "movable": 256,
        "huge": 0,
        "kernel": 1,
        "type": "unmovable",
    }


@pytest.mark.parametrize(
    ("zone", "why"),
    [
        ("x", "'x' names no node; expected NODE or NODE:ZONE, NODE one of 0, 1"),
        ("2", "'2' names no node; expected NODE or NODE:ZONE, NODE one of 0, 1"),
        ("0:Normal", "node 0 has no zone 'Normal'; expected one of DMA"),
    ],
)
def test_a_zone_that_is_not_there_is_refused(scattered: Shell, zone: str, why: str) -> None:
    outcome = scattered(f"show --zone {zone}")
    assert (outcome.exit, outcome.stdout) == (2, "")
    assert why in outcome.stderr


def test_help(shell: Shell) -> None:
    assert "kcompactd" in shell.out("compact --help")
    assert "--zone NODE[:ZONE]" in shell.out("show --help")
