"""``pymigrate compact`` and ``pymigrate show --zone``."""

from tests.cli.conftest import Shell

SCENARIO = """\
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


def test_whole_zones_are_compacted(shell: Shell) -> None:
    assert shell.out("compact 0") == (
        "node 0, zone DMA: complete, 768 pages (3 MiB) moved, 2MiB blocks free: 0 -> 3\n"
    )
    assert shell.counted("pgmigrate_success", "compact_stall", "compact_daemon_wake") == [
        *(768, 0, 0)
    ]


def test_all_nodes_are_compacted_without_one(shell: Shell) -> None:
    text = shell.out("compact")
    assert "node 1, zone DMA32: complete, 0 pages moved, 2MiB blocks free: 8 -> 8\n" in text


def test_an_order_lets_kcompactd_work_until_a_block_is_free(shell: Shell) -> None:
    assert shell.out("compact 0 --order 9") == (
        "node 0, zone DMA: success, 256 pages (1 MiB) moved, 2MiB blocks free: 0 -> 1\n"
    )
    wakes, scanned = shell.counted("compact_daemon_wake", "compact_daemon_migrate_scanned")
    assert (wakes, scanned) == (1, 512)


def test_the_trace_has_the_scanners(shell: Shell) -> None:
    text = shell.out("compact 0 --order 9 --trace")
    assert (
        "mm_compaction_begin: zone_start=0x0 migrate_pfn=0x0 free_pfn=0xe00 zone_end=0x1000,"
        " mode=sync\n"
    ) in text
    assert (
        "mm_compaction_isolate_migratepages: range=(0x0 ~ 0x3f) nr_scanned=63 nr_taken=32" in text
    )
    assert "mm_migrate_pages_start: mode=MIGRATE_SYNC_LIGHT reason=compaction\n" in text
    assert "mm_compaction_finished: node=0 zone=DMA      order=9 ret=success\n" in text


def test_the_trace_of_a_run_has_the_migration_events_alone(shell: Shell) -> None:
    shell.boot(f"{SCENARIO}steps: [{{op: compact, node: 0, order: 9}}]\n")
    [record] = shell.json("run machine.yaml --trace")
    assert record["zones"] == [[0, "DMA", "success", 256]]
    names = {line.partition(":")[0] for line in record["trace"]}
    assert names == {"mm_migrate_pages_start", "mm_migrate_pages"}


def test_a_zone_is_drawn_block_by_block(shell: Shell) -> None:
    head = "Node 0, zone DMA: 2047 of 4096 pages free, 0 of 8 pageblocks\n"
    assert shell.out("show --zone 0:dma") == f"{head}  5555555K\n{LEGEND}"
    [zone] = shell.json("show --zone 0")
    assert zone["cells"][7] == {
        "start": 3584,
        "blocks": 1,
        "free": 255,
        "movable": 256,
        "huge": 0,
        "kernel": 1,
        "type": "unmovable",
    }
