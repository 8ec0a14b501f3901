"""Commands that are made of the table: those that no other file tests."""

from tests.cli.conftest import Outcome, Shell, body

SCENARIO = """\
machine:
  nodes: {0: {cpus: "0", memory: 64MiB}, 1: {cpus: "1", memory: 64MiB}}
  devices: {gpu: {memory: 64MiB}}
  numa_balancing: 1
drivers: {zs: {kind: zsmalloc, node: 0, pages: 3}}
tasks:
  a: {cpus: "0", memory: [{as: heap, kind: heap, size: 1MiB, pages: [[256, 0]]}]}
  b: {cpus: "1", memory: [{as: heap, shared: a.heap}]}
"""


def test_locked_page_is_waited_for(shell: Shell) -> None:
    shell.out("task busy a heap+0:4KiB locked --passes 3")
    assert "locked" in shell.out("migratepages a 0 1 --steps")
    assert shell.out("placement a heap").split()[1:] == ["256", "1"]


def test_work_on_pages_ends(shell: Shell) -> None:
    assert shell("task busy a heap 8KiB writeback") == Outcome(0)
    assert shell("task busy a heap 8KiB none") == Outcome(0)


def test_device_gets_pages_and_gives_them_back(shell: Shell) -> None:
    shell.out("task mmap a buf 64KiB")
    shell.out("task touch a buf")
    assert shell("task migrate_vma a buf gpu") == Outcome(0, "16 pages migrated\n")
    assert shell("task migrate_vma a buf ram") == Outcome(0, "16 pages migrated\n")


def test_pages_get_into_the_swap_cache(shell: Shell) -> None:
    shell.out("task mmap a buf 16KiB")
    shell.out("task touch a buf")
    shell.out("task swap_cache a buf")
    assert "swapcache=4" in shell.out("numa_maps a")


def test_memory_of_memfd_secret_is_locked(shell: Shell) -> None:
    shell.out("task mmap a secret 16KiB --secretmem --shared")
    shell.out("task touch a secret")
    shell.out("migratepages a 0 1 -q")
    assert shell.out("placement a secret").split()[1:] == ["4", "0"]


def test_equal_pages_are_merged(shell: Shell) -> None:
    shell.out("task mmap a buf 64KiB")
    shell.out("task madvise a buf mergeable")
    shell.out("task touch a buf --stride 4096")
    text = shell.out("ksm")
    assert text == "pages_shared 1\npages_sharing 15\npages_unshared 0\n"


def test_kernel_takes_blocks_and_gives_them_back(shell: Shell) -> None:
    assert shell("alloc blocks --order 3 --count 4 --node 1") == Outcome(0, "4 blocks\n")
    assert shell("alloc blocks").exit == 1
    assert shell("free blocks") == Outcome(0, "4 blocks\n")


def test_drivers_pages_move_and_the_driver_is_asked(shell: Shell) -> None:
    text = shell.out("migrate_driver zs --to 1 --pages 0-1")
    assert text == (
        "isolate_page 0 true; isolate_page 1 true; migrate_page 0 0; migrate_page 1 0\n"
        "nodes 2 1; 1 0\n"
    )


def test_a_driver_that_cannot_move_is_refused(shell: Shell) -> None:
    refused = "migrate_driver: No such device: node 7 has no memory\n"
    assert shell("migrate_driver zs --to 7") == Outcome(1, "nodes 3 0\n", refused)
    assert body(shell("migrate_driver zs --to 7 --json").stdout) == {
        "ret": -1,
        "errno": "ENODEV",
        "why": "node 7 has no memory",
        "calls": [],
        "nodes": [[3, 0]],
    }


def test_another_process_waits_in_the_middle_of_a_move(shell: Shell) -> None:
    found = shell.json("migratepages a 0 1 --meanwhile b heap write")
    assert found["meanwhile"] == {"waited": True, "signal": None}


def test_time_passes_while_a_range_is_touched(shell: Shell) -> None:
    shell.out("task mmap a buf 4MiB")
    shell.out("task touch a buf")
    shell.out("task sched_setaffinity a 1")
    shell.out("task touch a buf --seconds 10")
    assert shell.counted("numa_pte_updates", "numa_pages_migrated") == [1024, 1024]


def test_placement_is_told_run_by_run(shell: Shell) -> None:
    shell.out("move_pages b heap+0:8KiB --to 1 --move-all")
    rows = [line.split()[1:] for line in shell.out("placement a heap").splitlines()]
    assert rows == [["2", "1"], ["254", "0"]]
    assert shell.json("placement a heap")["nodes"] == [[2, 1], [254, 0]]


def test_a_drivers_page_is_told_by_its_number(shell: Shell) -> None:
    assert shell.out("page zs 1").splitlines()[0] == "page            zs+1"
    assert shell.json("page zs 1")["is_movable"] is True
    assert "'3' is not the number of a page of zs, 0 to 2" in shell.err("page zs 3")
    assert "'x' is not the number of a page of zs, 0 to 2" in shell.err("page zs x")


def test_pages_that_another_cpu_has_isolated_are_skipped(shell: Shell) -> None:
    assert shell.out("migrate_driver zs --to 1 --isolated 1") == (
        "isolate_page 1 true; isolate_page 0 true; isolate_page 2 true; migrate_page 0 0;"
        " migrate_page 2 0; putback_page 1\nnodes 1 1; 1 0; 1 1\n"
    )
    answer = shell("migrate_driver zs --to 1 --isolated 3")
    assert (answer.exit, "zs has 3 pages" in answer.stderr) == (1, True)
