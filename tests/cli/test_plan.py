"""pymigrate plan: what it prints, and what it refuses."""

import sys

import pytest

from tests.cli.conftest import SCENARIO, Shell
from tests.cli.traced import WHY


def test_plan_of_a_process(shell: Shell) -> None:
    with shell.unchanged():
        lines = shell.out("plan a --to 1 --no-show").splitlines()
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
        ("plan a", "expected --to NODES, or else --mbind, --offline or --balance"),
        (
            "plan a --to 1 --mbind bind:1",
            "expected --to NODES, or else --mbind, --offline or --balance",
        ),
        ("plan a --mbind bind:1 --from 0", "--from goes with PID and --to"),
        ("plan a --to 7", "Invalid value for --to: node argument 7 is out of range"),
        ("plan a --mbind bound:1", "is not a mode"),
        ("plan a --to 1 --max-pause 20", "'20' is not a time; expected one such as 20ms"),
        ("plan a --to 1 --limit 2GB/s", "is not a size"),
    ],
)
def test_wrong_usage(shell: Shell, line: str, error: str) -> None:
    assert error in shell.err(line)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("plan c --balance", "there is no process called c"),
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


def test_chunks_keep_the_pause_and_come_to_the_same(shell: Shell) -> None:
    whole, cut = (shell.json(f"plan a --to 1 {more}") for more in ("", "--max-pause 20us"))
    assert cut["counters"] == whole["counters"]
    assert cut["calls"] > whole["calls"] == 1
    assert 2 * cut["pause"]["thread_us"] <= 20


def test_chunks_that_cannot_be_so_short(shell: Shell) -> None:
    error = shell.err("plan a --to 1 --max-pause 1us")
    assert error.startswith("pymigrate: a folio of 4 KiB waits up to")
    assert error.endswith("longer than the pause may be\n")


def test_pages_go_to_where_they_are_used(shell: Shell) -> None:
    assert shell.err("plan --balance") == (
        "pymigrate: no task declares its accesses (access: of the scenario)\n"
    )
    task = '    cpus: "0-1"\n'
    access = "    access: [{region: heap, rate: 100}]\n"
    shell.boot(SCENARIO.replace(task, task + access))
    assert shell.out("plan a --balance").splitlines()[:3] == [
        "plan: pages of process 100 to the nodes that access them",
        "moves: 2 pages (8 KiB)",
        "  100 heap: N0 24 KiB -> 32 KiB, N1 8 KiB -> 0",
    ]


def test_emitted_commands(shell: Shell) -> None:
    assert shell.out("plan a --to 1 --emit sh").splitlines()[-1] == "migratepages 100 0 1"
    assert shell.err("plan a --mbind bind:1 --emit python").startswith("pymigrate: mbind() sets")
    assert shell.err("plan a --to 1 --as 27 --emit sh", 1).startswith("pymigrate: Operation not")


@pytest.mark.skipif(bool(WHY), reason=WHY or "")
def test_emitted_program_does_what_the_plan_says(shell: Shell) -> None:
    plan = shell.json("plan a --to 1 --max-pause 20us")
    program = shell.out("plan a --to 1 --max-pause 20us --emit python")
    path = shell.write("move.py", program)
    run = f"exec -- {sys.executable} -I -S {path}"
    outcome = shell.spawn(f"{run} --start 100=12345")
    assert (outcome.exit, outcome.stdout) == (1, "")
    assert "process 100 is another one: it has started at" in outcome.stderr
    assert shell.spawn(f"{run} --check").stdout.startswith("process 100 has started at ")
    assert shell.counted("pgmigrate_success") == [0]
    assert shell.spawn(run).stdout == "26 folios are where they should be, 0 are not\n"
    moved = plan["counters"]["pgmigrate_success"]
    assert shell.counted("pgmigrate_success", "pgmigrate_fail") == [moved, 0]
    shell.out("task exit a")
    assert "process 100: No such file or directory" in shell.spawn(run).stderr


@pytest.mark.skipif(bool(WHY), reason=WHY or "")
def test_emitted_program_of_a_cpuset_does_what_the_plan_says(shell: Shell) -> None:
    shell.out("cpuset create g --cpus 0-1 --mems 0 --memory-migrate")
    shell.out("cpuset attach g a")
    asked = "plan --cpuset g --to 1 --max-pause 30us"
    plan = shell.json(asked)
    assert plan["calls"] > 3
    path = shell.write("move.py", shell.out(f"{asked} --emit python"))
    before = shell.counted("pgmigrate_success")[0]
    outcome = shell.spawn(f"exec -- {sys.executable} -I -S {path}")
    assert outcome.stdout.endswith("folios are where they should be, 0 are not\n")
    moved = plan["counters"]["pgmigrate_success"]
    assert shell.counted("pgmigrate_success", "pgmigrate_fail") == [before + moved, 0]
    assert shell.out("cat /sys/fs/cgroup/g/cpuset.mems") == "1\n"


def test_a_plan_is_drawn(shell: Shell) -> None:
    text = shell.out("plan a --to 1")
    assert text == shell.out("plan a --to 1 --show")
    assert text.startswith(shell.out("plan a --to 1 --no-show"))
    assert "drawn" not in shell.json("plan a --to 1")
    assert "  heap  32KiB  00000011          11111111\n               >>>>>>\n" in text
    assert text.endswith("\n> moves\n")


def test_a_plan_of_many_mappings_is_drawn_on_request(shell: Shell) -> None:
    nodes = "nodes: {0: {cpus: '0', memory: 64MiB}, 1: {memory: 64MiB}}"
    regions = ", ".join(f"{{as: r{i}, kind: anon, size: 8KiB}}" for i in range(7))
    path = shell.write(
        "many.yaml", f"machine: {{{nodes}}}\ntasks: {{t: {{memory: [{regions}]}}}}\n"
    )
    asked = f"--ephemeral --scenario {path} plan t --to 1"
    hint = "(7 mappings before and after: --show draws them)\n"
    assert shell.out(asked) == shell.out(f"{asked} --no-show") + hint
    assert "BEFORE" in shell.out(f"{asked} --show")


def test_what_a_chunk_leaves_out_is_drawn_as_staying(shell: Shell) -> None:
    shell.out("task pin a heap+4KiB:8KiB")
    [task] = shell.json("plan a --to 1 --max-pause 1s --show")["drawn"]
    marks = {strip["name"]: strip["marks"] for strip in task["strips"]}
    assert marks == {"heap": ">pp>>>  ", "buf": ">>>>", "lib": ">" * 16}
