"""--dry-run names what would change and keeps nothing; what only looks changes nothing."""

import pytest

from tests.cli.conftest import Shell

HEAP = "100 heap: N0 6 -> 0, N1 2 -> 8 pages"
EVERYTHING = f"""\
{HEAP}
100 buf: N0 4 -> 0, N1 0 -> 4 pages
100 lib: N0 16 -> 0, N1 0 -> 16 pages
200 buf: N0 4 -> 0, N1 0 -> 4 pages
"""
MOVED = """\
numa_hit +{0}
numa_other +{0}
pgalloc_dma32 +{0}
pgfree +{0}
pgmigrate_success +{0}
"""
STATUSES = """\
          ADDRESS STATUS
10000000-10002000 1
2 pages on node 1
"""
ATTACHED = """\
100 cpuset: / -> right
100 CPUs: 0-1 -> 2-3
100 nodes: 0-1 -> 1
"""


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("migratepages 100 0 1", EVERYTHING + MOVED.format(26)),
        ("migratepages 100 0 0", "no change\n"),
        (
            "move_pages a heap+0:8KiB --to 1",
            f"{STATUSES}100 heap: N0 6 -> 4, N1 2 -> 4 pages\n{MOVED.format(2)}",
        ),
        (
            "mbind a heap 32KiB bind:1 --move",
            f"{HEAP}\n100 heap: 32KiB rw no policy -> 32KiB rw bind:1\n{MOVED.format(6)}",
        ),
        (
            "mbind a heap+16KiB bind:1",
            "100 heap: 32KiB rw no policy -> 16KiB rw no policy\n"
            "100 heap+16KiB: none -> 16KiB rw bind:1\n",
        ),
        ("set_mempolicy a bind:1", "100 policy: default -> bind:1\n"),
        (
            "cpuset create left --cpus 0-1 --mems 0",
            "cpuset left: none -> CPUs 0-1, nodes 0, memory_migrate\n",
        ),
        ("cpuset attach right a", EVERYTHING + ATTACHED + MOVED.format(26)),
        ("sysctl drop_caches=1", "drop_pagecache +1\n"),
        ("sysctl weighted_interleave/node1=4", "weighted_interleave/node1: 1 -> 4\n"),
        (
            "task munmap a heap",
            "100 heap: N0 6 -> 0, N1 2 -> 0 pages\n"
            "100 heap: 32KiB rw no policy -> none\npgfree +8\n",
        ),
        ("task mmap a new 8KiB", "0x200004600000\n100 new: none -> 8KiB rw no policy\n"),
        ("task mprotect a heap r", "100 heap: 32KiB rw no policy -> 32KiB r no policy\n"),
        ("task madvise a lib random", "100 lib: 64KiB rx no policy -> 64KiB rx random no policy\n"),
        ("task sched_setaffinity a 1", "100 CPUs: 0-1 -> 1\n"),
        ("task pin a heap+4KiB:8KiB", "100 heap+4KiB pinned: none -> 8KiB\n"),
    ],
)
def test_a_dry_run(shell: Shell, line: str, text: str) -> None:
    shell.out("cpuset create right --cpus 2-3 --mems 1")
    with shell.unchanged():
        assert shell.out(f"{line} --dry-run").startswith(text)


def test_a_dry_run_says_what_would_stay(shell: Shell) -> None:
    assert shell.out("migratepages 100 0 1 --as 26 --dry-run").splitlines()[0] == (
        "4 pages of process 100 would stay: mapped more than once (only a caller with"
        " CAP_SYS_NICE moves such pages): 4 of buf on node 0"
    )


@pytest.mark.parametrize(
    "line",
    ["numa_maps 100", "vmstat", "explain a --to 1", "run steps.yaml", "task fork a c --dry-run"],
)
def test_what_only_looks_changes_nothing(shell: Shell, line: str) -> None:
    steps = 'steps: [{op: migrate_pages, task: a, from: "0", to: "1"}]\n'
    shell.write("steps.yaml", shell.scenario.read_text() + steps)
    with shell.unchanged():
        shell.out(line)


FULL = """\
machine:
  nodes:
    0: {cpus: "0", memory: 64MiB}
    1: {cpus: "1", memory: 64MiB, cache: 40MiB}
tasks:
  a:
    pid: 100
    memory: [{as: heap, kind: heap, size: 30MiB, pages: [[7680, 0]]}]
"""


def test_a_dry_run_says_what_would_give_way(shell: Shell) -> None:
    shell.write("full.yaml", FULL)
    call = "--ephemeral --scenario full.yaml migratepages 100 0 1 --dry-run"
    text = "1792 pages (7 MiB) of clean page cache on node 1 would give way"
    assert shell.out(call).splitlines()[0] == text
    assert shell.json(call)["dropped"] == {"1": 1792}
    explained = shell.out("--ephemeral --scenario full.yaml explain 100 --to 1")
    assert (
        "(N0=1717; 6.71 MiB) would move; clean page cache on node 1 gives way to them" in explained
    )


DRAWN = """\
100 a          BEFORE            AFTER
  heap  32KiB  00000011          11111111
               >>>>>>
  buf   16KiB  0000              0000
               s===
  lib   64KiB  0000000000000000  1111111111111111
               >>>>>>>>>>>>>>>>
> moves; s= stays: mapped more than once
"""


def test_a_dry_run_draws_before_and_after(shell: Shell) -> None:
    with shell.unchanged():
        text = shell.out("migratepages 100 0 1 --as 26 --dry-run --show")
    assert text.endswith(DRAWN)


def test_a_dry_run_draws_for_machines_too(shell: Shell) -> None:
    [task] = shell.json("task exit b --dry-run --show")["drawn"]
    assert (task["pid"], task["task"]) == (200, "b")
    assert [strip["marks"] for strip in task["strips"]] == ["----", "---" + 30 * " "]


def test_single_pages_that_stay_are_drawn(shell: Shell) -> None:
    text = shell.out("move_pages a buf+4KiB:8KiB --to 1 --as 26 --dry-run --show")
    assert (
        "\n  buf  16KiB  0000  0000\n               s=\ns= stays: mapped more than once\n" in text
    )


def test_only_a_dry_run_draws(shell: Shell) -> None:
    assert "--show goes with --dry-run" in shell.err("migratepages 100 0 1 --show")
