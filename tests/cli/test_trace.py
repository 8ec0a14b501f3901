import json

import pytest

from tests.cli.conftest import SCENARIO, Outcome, Shell

HEAD = "      move_pages-0       [000] .....     0.{:06}: "
ONE = "move_pages a heap+0:4KiB --to 1"
ANSWER = "         ADDRESS STATUS\n        10000000 1\n1 page on node 1\n"
MODE = "mode=MIGRATE_SYNC reason=syscall_or_cpuset"
EVENTS = [
    f"mm_migrate_pages_start: {MODE}",
    "set_migration_pte: addr=10000000, pte=write,young,dirty order=0 pid=100",
    "remove_migration_pte: addr=10000000, order=0 pid=100",
    "mm_migrate_pages: nr_succeeded=1 nr_failed=0 nr_thp_succeeded=0 nr_thp_failed=0"
    f" nr_thp_split=0 nr_split=0 {MODE}",
]


@pytest.mark.parametrize("line", [f"{ONE} --trace", f"trace {ONE}"])
def test_tracepoints_as_ftrace_shows_them(shell: Shell, line: str) -> None:
    text = "".join(f"{HEAD.format(i)}{event}\n" for i, event in enumerate(EVENTS))
    assert shell(line) == Outcome(0, text + ANSWER)
    assert shell.counted("pgmigrate_success") == [1]


@pytest.mark.parametrize("line", [f"{ONE} --steps", f"trace --steps {ONE}"])
def test_steps_stand_among_the_tracepoints(shell: Shell, line: str) -> None:
    text = shell.out(line)
    shown = [row.partition(": ")[2] for row in text.splitlines() if "] ....." in row]
    assert [row for row in shown if not row.startswith("migrate_step: ")] == EVENTS
    numbers = [row.split()[1] for row in shown if row.startswith("migrate_step: ")]
    assert {str(n) for n in range(1, 19)} | {"0a", "0b", "4b"} == set(numbers)
    locks = "1 lock the old folio [folio_lock], folio heap+0 on node 0, attempt 1 (async): free"
    assert f"migrate_step: {locks}" in shown


def test_the_caller_is_named(shell: Shell) -> None:
    text = shell.out("mbind a heap bind:1 --move --trace")
    assert text.startswith(f"           alpha-100     [000] .....     0.000000: {EVENTS[0][:20]}")


def test_no_event_without_a_migration(shell: Shell) -> None:
    assert shell("trace task touch a heap") == Outcome(0)


def test_json(shell: Shell) -> None:
    answer = shell.json(f"{ONE} --trace")
    assert answer["pages"] == [{"address": "0x10000000", "status": 1}]
    assert answer["trace"][1] == {
        "event": "set_migration_pte",
        "address": "0x10000000",
        "place": "heap+0",
        "pid": 100,
        "text": "pte=write,young,dirty order=0",
    }
    steps = [row for row in shell.json(f"{ONE[:-1]}0 --steps")["trace"] if "step" in row]
    assert steps[-1]["folio"] == "heap+0"
    assert steps[-1]["attempt"] == 1


def test_trace_of_a_dry_run(shell: Shell) -> None:
    with shell.unchanged():
        assert shell.out(f"trace {ONE} --dry-run").startswith(HEAD.format(0) + EVENTS[0])


@pytest.mark.parametrize(
    "line", ["trace --steps --chrome out.json " + ONE, ONE + " --chrome out.json --steps"]
)
def test_chrome_trace(shell: Shell, line: str) -> None:
    assert shell(line) == Outcome(0, ANSWER)
    trace = json.loads((shell.folder / "out.json").read_text(encoding="utf-8"))
    assert "1 lock the old folio" in [event["name"] for event in trace["traceEvents"]]


def test_chrome_file_that_cannot_be_written(shell: Shell) -> None:
    with shell.unchanged():
        stderr = shell.err(f"{ONE} --chrome none/out.json")
    assert "Invalid value for --chrome: 'none/out.json' cannot be written: No such file" in stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("numa_maps a", "changes nothing, so that there is nothing to trace"),
        ("vmstat", "changes nothing, so that there is nothing to trace"),
        ("trace migratepages a 0 1", "changes nothing, so that there is nothing to trace"),
        ("memhog 1m", "memhog is a program"),
        ("migratepage a 0 1", "No such command 'migratepage'. Did you mean 'migratepages'?"),
    ],
)
def test_what_cannot_be_traced(shell: Shell, line: str, message: str) -> None:
    assert message in shell.err(f"trace {line}")


STEPS = (
    SCENARIO
    + """\
steps:
  - {op: touch, task: a, at: heap}
  - {op: mbind, task: a, at: heap, length: 4096, mode: bind, nodes: "1", flags: [move]}
"""
)
RUN = (
    "   1 touch\n"
    "   2 mbind ret=0\n"
    "       mm_migrate_pages_start: mode=MIGRATE_SYNC reason=mempolicy_mbind\n"
)


@pytest.fixture
def steps(shell: Shell) -> Shell:
    shell.write("steps.yaml", STEPS)
    return shell


@pytest.mark.parametrize(
    "line", ["run steps.yaml --trace", "run steps.yaml --steps", "trace run steps.yaml"]
)
def test_run(steps: Shell, line: str) -> None:
    text = steps.out(line)
    assert text.startswith(RUN)
    assert ("       migrate_step: 1 lock the old folio" in text) == ("--steps" in line)


def test_run_json(steps: Shell) -> None:
    first, second = steps.json("run steps.yaml --trace")
    assert first == {"op": "touch"}
    assert [text.partition(":")[0] for text in second["trace"]] == [
        "mm_migrate_pages_start",
        "set_migration_pte",
        "remove_migration_pte",
        "mm_migrate_pages",
    ]


def test_run_chrome(steps: Shell) -> None:
    assert steps.out("run steps.yaml --chrome out.json") == "   1 touch\n   2 mbind ret=0\n"
    events = json.loads((steps.folder / "out.json").read_text(encoding="utf-8"))["traceEvents"]
    assert {event["pid"] for event in events} == {2}
    assert events[0]["args"] == {"name": "2 mbind"}


def told(text: str) -> list[tuple[str, str]]:
    """The step and the folios of each line of a trace that is about a step."""
    found = (row.partition("migrate_step: ")[2] for row in text.splitlines())
    return [(row.split()[0], row.partition(", ")[2].split(" on ")[0]) for row in found if row]


ALL = "move_pages a heap+0:24KiB --to 1"


def test_folios_that_go_the_same_way_are_one_line(shell: Shell) -> None:
    steps = told(shell.out(f"{ALL} --steps"))
    assert set(steps) - {("4b", "folio heap+0")} == {
        (number, "6 folios heap+0 to heap+5") for number in ["0a", "0b", *map(str, range(1, 19))]
    }


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        pytest.param("--folio heap+2 --step 4,17", ["4 heap+2", "17 heap+2"], id="a folio"),
        pytest.param("--first 1 --step 0a,18", ["0a heap+0", "18 heap+0"], id="the first one"),
        pytest.param("--step 4b", ["4b heap+0"], id="a step"),
        pytest.param("--failed", [], id="what failed"),
    ],
)
def test_a_part_of_a_trace(shell: Shell, option: str, expected: list[str]) -> None:
    steps = told(shell.out(f"trace {option} {ALL}"))
    assert [f"{number} {folio.removeprefix('folio ')}" for number, folio in steps] == expected


def test_the_ten_attempts_of_a_page_that_is_held(shell: Shell) -> None:
    shell.out("task pin a heap+0:4KiB --kind short")
    rows = shell(f"trace --failed {ONE} -q").stdout.splitlines()
    assert [row.partition("attempt ")[2] for row in rows if "migrate_step" in row] == [
        f"{n} ({'async' if n < 4 else 'sync'}): refcount 2, expected 1: backs out with EAGAIN"
        for n in range(1, 11)
    ]


def test_the_stack_from_the_system_call_to_the_engine(shell: Shell) -> None:
    functions = [
        ("migrate_pages (mode=MIGRATE_SYNC, reason=MR_SYSCALL)", "mm/migrate.c"),
        ("migrate_to_node ()", "mm/mempolicy.c"),
        ("do_migrate_pages ()", "mm/mempolicy.c"),
        ("kernel_migrate_pages ()", "mm/mempolicy.c"),
        ("__x64_sys_migrate_pages ()", "mm/mempolicy.c"),
        ("do_syscall_64 ()", "arch/x86/entry/common.c"),
        ("entry_SYSCALL_64 ()", "arch/x86/entry/entry_64.S"),
    ]
    text = [f"{called} at {file}" for called, file in functions]
    with shell.unchanged():
        lines = shell.out("trace --stack migratepages a 0 1 --dry-run").splitlines()
    assert lines[:7] == [f"#{i}  {line}" for i, line in enumerate(text)]
    answer = shell.json("trace --stack migratepages a 0 1")
    assert answer["stacks"] == [{"calls": 1, "functions": text}]
    assert "trace" not in answer


def test_a_run_tells_stacks_and_parts_too(steps: Shell) -> None:
    assert "#1  do_mbind () at mm/mempolicy.c" in steps.out("trace --stack run steps.yaml")
    text = steps.out("trace --step 17 --stack run steps.yaml")
    assert text.count("migrate_step: 17 unlock both") == 1
    assert "#0  migrate_pages" in text


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--step 19", "'19' is no step; expected some of 0a, 0b, 1, 2, 3, 4, 4b, 5, 6"),
        ("--first 0", "0 is not in the range x>=1"),
    ],
)
def test_parts_that_there_are_not(shell: Shell, option: str, message: str) -> None:
    assert message in " ".join(shell.err(f"trace {option} {ONE}").split())


def test_a_folio_that_there_is_not(shell: Shell) -> None:
    done = shell(f"trace --folio stack+1 {ONE}")
    assert (done.exit, done.stderr) == (0, "pymigrate: the trace has no folio 'stack+1'\n")
