"""Commands that are made of the table: those that no other file tests."""

import pytest

from tests.cli.conftest import Outcome, Shell

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


@pytest.fixture
def machine(unbooted: Shell) -> Shell:
    unbooted.boot(SCENARIO)
    return unbooted


def test_locked_page_is_waited_for(machine: Shell) -> None:
    machine.out("task busy a heap+0:4KiB locked --passes 3")
    assert "locked" in machine.out("migratepages a 0 1 --steps")
    assert machine.out("placement a heap").split()[1:] == ["256", "1"]


def test_work_on_pages_ends(machine: Shell) -> None:
    assert machine("task busy a heap 8KiB writeback") == Outcome(0)
    assert machine("task busy a heap 8KiB none") == Outcome(0)
    assert machine("task busy a heap 8KiB ironed").exit == 2


def test_device_gets_pages_and_gives_them_back(machine: Shell) -> None:
    machine.out("task mmap a buf 64KiB")
    machine.out("task touch a buf")
    assert machine("task migrate_vma a buf gpu") == Outcome(0, "16 pages migrated\n")
    assert machine("task migrate_vma a buf ram") == Outcome(0, "16 pages migrated\n")
    assert machine("task migrate_vma a buf moon").exit == 1


def test_pages_get_into_the_swap_cache(machine: Shell) -> None:
    machine.out("task mmap a buf 16KiB")
    machine.out("task touch a buf")
    machine.out("task swap_cache a buf")
    assert "swapcache=4" in machine.out("numa_maps a")


def test_memory_of_memfd_secret_is_locked(machine: Shell) -> None:
    machine.out("task mmap a secret 16KiB --secretmem --shared")
    machine.out("task touch a secret")
    machine.out("migratepages a 0 1 -q")
    assert machine.out("placement a secret").split()[1:] == ["4", "0"]


def test_equal_pages_are_merged(machine: Shell) -> None:
    machine.out("task mmap a buf 64KiB")
    machine.out("task madvise a buf mergeable")
    machine.out("task touch a buf --stride 4096")
    text = machine.out("ksm")
    assert text == "pages_shared 1\npages_sharing 15\npages_unshared 0\n"


def test_kernel_takes_blocks_and_gives_them_back(machine: Shell) -> None:
    assert machine("alloc blocks --order 3 --count 4 --node 1") == Outcome(0, "4 blocks\n")
    assert machine("alloc blocks").exit == 1
    assert machine("free blocks") == Outcome(0, "4 blocks\n")
    assert machine("free blocks").exit == 1


def test_drivers_pages_move_and_the_driver_is_asked(machine: Shell) -> None:
    text = machine.out("migrate_driver zs 1 --pages 0-1")
    assert text.endswith("nodes 2 1; 1 0\n")
    assert machine("migrate_driver none 1").exit == 1


def test_another_process_waits_in_the_middle_of_a_move(machine: Shell) -> None:
    found = machine.json("migratepages a 0 1 --meanwhile b heap write")
    assert found["meanwhile"] == {"waited": True, "signal": None}
    assert machine("migratepages a 1 0 --meanwhile b heap maybe").exit == 2


def test_time_passes_while_a_range_is_touched(machine: Shell) -> None:
    machine.out("task mmap a buf 4MiB")
    machine.out("task touch a buf")
    machine.out("task sched_setaffinity a 1")
    machine.out("task touch a buf --seconds 10")
    assert machine.counted("numa_pte_updates", "numa_pages_migrated") == [1024, 1024]


def test_placement_is_told_run_by_run(machine: Shell) -> None:
    machine.out("move_pages b heap+0:8KiB --to 1 --move-all")
    rows = [line.split()[1:] for line in machine.out("placement a heap").splitlines()]
    assert rows == [["2", "1"], ["254", "0"]]
    assert machine.json("placement a heap")["nodes"] == [[2, 1], [254, 0]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("task busy a", "Missing argument 'ADDR|REGION[+OFFSET[:LENGTH]]'."),
        ("task pin a heap 4KiB 5KiB", "Got unexpected extra argument (5KiB)"),
        ("task touch a heap --stride 0", "is 0, expected at least a byte"),
        ("ksm now", "Got unexpected extra argument (now)"),
        ("alloc x --order 11", "11 is not in the range 0<=x<=10"),
    ],
)
def test_usage_errors(machine: Shell, line: str, message: str) -> None:
    found = machine(line)
    assert found.exit == 2
    assert message in found.stderr
