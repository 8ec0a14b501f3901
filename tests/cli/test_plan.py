"""pymigrate plan: what it prints, and what it refuses."""

import pytest

from tests.cli.conftest import Shell


def test_plan_of_a_process(shell: Shell) -> None:
    with shell.unchanged():
        lines = shell.out("plan a --to 1").splitlines()
    assert lines[0] == "plan: process 100 (a) from node 0 to node 1"
    assert lines[1:5] == [
        "moves: 26 pages (104 KiB)",
        "  100 heap: N0 24 KiB -> 0, N1 8 KiB -> 32 KiB",
        "  100 buf: N0 16 KiB -> 0, N1 0 -> 16 KiB",
        "  100 lib: N0 64 KiB -> 0, N1 0 -> 64 KiB",
    ]
    assert lines[5] == "stays: nothing that was to move"
    assert [line.split()[0] for line in lines[6:9]] == ["NODE", "0", "1"]
    assert lines[9].startswith("counters: numa_hit +26, numa_other +26,")
    assert [line.partition(":")[0] for line in lines[10:]] == [
        "time, estimated",
        "pause, estimated",
        "  a page",
        "  a thread that meets all of a call's pages",
        "  mmap_lock",
        "bandwidth, estimated",
    ]


def test_plan_counts_what_the_command_then_counts(shell: Shell) -> None:
    planned = shell.json("plan a --to 1")
    done = shell.json("migratepages a 0 1 --dry-run")
    assert planned["counters"] == done["counters"]
    assert [(row["mapping"], row["before"], row["after"]) for row in planned["moves"]] == [
        (row["mapping"], row["before"], row["after"])
        for row in done["changes"]
        if row["pid"] == 100
    ]


def test_what_stays_has_its_reason_and_its_cure(shell: Shell) -> None:
    lines = shell.out("plan a --to 1 --as 26").splitlines()
    at = lines.index("stays: 4 pages (16 KiB)")
    assert lines[at + 1].startswith("  100 buf: 4 pages (16 KiB) on node 0: mapped more than once")
    assert lines[at + 2] == "    cure: call as root; for move_pages and mbind with --move-all"


def test_policy_and_offlined_node(shell: Shell) -> None:
    assert shell.json("plan a --mbind bind:1")["moved"] == 26
    offline = shell.json("plan --offline 0")
    why = "memory0: Invalid argument: it lies in several zones"
    assert (offline["moved"], offline["blocks"]) == (0, [why])
    shell.out("cpuset create right --cpus 2-3 --mems 1")
    assert shell.json("plan --cpuset right --to 0")["moved"] == 0


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("plan --to 1", "expected one of PID, --cpuset NAME and --offline NODE"),
        ("plan a", "expected --to NODES, or else --mbind or --offline"),
        ("plan a --to 1 --mbind bind:1", "expected --to NODES, or else --mbind or --offline"),
        ("plan a --mbind bind:1 --from 0", "--from goes with PID and --to"),
        ("plan a --to 7", "<7> is invalid"),
        ("plan a --mbind bound:1", "is not a mode"),
    ],
)
def test_wrong_usage(shell: Shell, line: str, error: str) -> None:
    assert error in shell.err(line)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("plan c --to 1", "there is no process called c"),
        ("plan --cpuset nosuch --to 1", "there is no cpuset nosuch"),
        ("plan --offline 3", "node 3 has no memory"),
    ],
)
def test_what_is_not_there(shell: Shell, line: str, error: str) -> None:
    assert error in shell.err(line, 1)


def test_refused_plan_says_so_and_exits_with_1(shell: Shell) -> None:
    code, out, _ = shell("plan a --to 1 --as 27")
    assert code == 1
    assert out.splitlines()[1].startswith("refused: Operation not permitted")
