"""compare: what is kept and not repeated, parts of a sweep, and variants that are wrong."""

import csv
import json
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Shell, body
from tests.conftest import ACCESSED

POLICIES = "--policy db=bind:0 --policy db=bind:1"


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "db.yaml"
    path.write_text(ACCESSED)
    return path


def test_parts_of_a_sweep_have_each_variant_once(unbooted: Shell, scenario: Path) -> None:
    parts = [
        body(unbooted.out(f"compare {scenario} {POLICIES} --shard {i}/2 --json")) for i in (1, 2)
    ]
    assert [len(part) for part in parts] == [1, 1]
    assert parts[0] + parts[1] == body(unbooted.out(f"compare {scenario} {POLICIES} --json"))
    assert "there is no shard '3/2'" in unbooted(f"compare {scenario} --shard 3/2").stderr


def test_what_is_kept_is_not_done_again(unbooted: Shell, scenario: Path, tmp_path: Path) -> None:
    kept = tmp_path / "rows.jsonl"
    whole = unbooted.out(f"compare {scenario} {POLICIES}")
    assert unbooted.out(f"compare {scenario} {POLICIES} --resume {kept}") == whole
    lines = kept.read_text().splitlines(keepends=True)
    assert len(lines) == 2
    # The first row is believed, the second was being written when the power went.
    told = lines[0].replace('"oom_kills": 0', '"oom_kills": 7')
    kept.write_text(told + lines[1][:20])
    table = unbooted.out(f"compare {scenario} {POLICIES} --resume {kept}").splitlines()
    assert [line.split()[2] for line in table] == ["OOM", "7", "0"]
    assert kept.read_text() == told + lines[1]


def test_rows_of_another_scenario_are_not_believed(
    unbooted: Shell, scenario: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "rows.jsonl"
    unbooted.out(f"compare {scenario} {POLICIES} --resume {kept}")
    scenario.write_text(ACCESSED.replace("4MiB", "8MiB"))
    rows = body(unbooted.out(f"compare {scenario} {POLICIES} --resume {kept} --json"))
    assert [sum(row["pages"].values()) for row in rows] == [2048, 2048]


def test_file_that_holds_something_else_is_left_alone(
    unbooted: Shell, scenario: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "notes.txt"
    kept.write_text("remember the milk\n")
    exit_code, _, stderr = unbooted(f"compare {scenario} --resume {kept}")
    assert exit_code == 2
    assert "it holds no rows of this command" in stderr
    assert kept.read_text() == "remember the milk\n"


def test_variant_without_a_machine_says_why(unbooted: Shell, scenario: Path) -> None:
    exit_code, stdout, _ = unbooted(f"compare {scenario} --policy nix=bind:0 --policy db=bind:0")
    assert exit_code == 1
    assert stdout.endswith("there is no task 'nix'\n")
    exit_code, stdout, _ = unbooted(f"compare {scenario} --policy db=bind:7")
    assert exit_code == 1
    assert "VARIANT" not in stdout


def test_policy_that_places_nothing_is_told(unbooted: Shell, scenario: Path) -> None:
    assert unbooted(f"compare {scenario} {POLICIES}").stderr == ""
    scenario.write_text(ACCESSED.replace("size: 4MiB", "size: 4MiB, pages: [[1024, 0]]"))
    said = "of db memory that says `pages` or `policy` lies as it says"
    assert said in unbooted(f"compare {scenario} {POLICIES}").stderr


def test_lines_of_json_are_the_rows(unbooted: Shell, scenario: Path) -> None:
    rows = body(unbooted.out(f"compare {scenario} {POLICIES} --json"))
    lines = unbooted.out(f"compare {scenario} {POLICIES} --jsonl").splitlines()
    assert [json.loads(line) for line in lines] == [{"schema": 1, **row} for row in rows]


def test_csv_has_every_value_and_nothing_where_there_is_no_machine(
    unbooted: Shell, scenario: Path
) -> None:
    steps = 'steps: [{op: migrate_pages, task: db, from: "0", to: "1"}]'
    scenario.write_text(f"{ACCESSED}{steps}\n")
    words = f"compare {scenario} --policy db=interleave:0-1 --policy db=bind:7 --csv"
    exit_code, stdout, _ = unbooted(words)
    assert exit_code == 1
    there, wrong = csv.DictReader(stdout.splitlines())
    assert there["variant"] == "tasks.db.mempolicy=interleave:0-1"
    assert (there["N0"], there["N1"], there["local"], there["wrong"]) == ("0", "1024", "0.0", "")
    assert there["pgmigrate_success"] == "512"
    assert wrong["wrong"] != ""
    assert {wrong[name] for name in ("N0", "N1", "local", "pgmigrate_success")} == {""}


def test_scenarios_and_states_stand_side_by_side(
    unbooted: Shell, scenario: Path, tmp_path: Path
) -> None:
    before, after = tmp_path / "before.db", tmp_path / "after.db"
    for state in (before, after):
        unbooted.out(f"boot {scenario} --state {state}")
    unbooted.out(f"migratepages db 0 1 --scenario {scenario} --state {after}")
    table = unbooted.out(f"compare {before} {after}").splitlines()
    assert [line.split()[1:] for line in table[1:]] == [
        ["-", "0", "1024", "0", "100.0%*", "10.0*", "-", "-", "-"],
        ["-", "0", "0", "1024", "0.0%", "20.0", "-", "-", "-"],
    ]
    kept = tmp_path / "rows.jsonl"
    words = f"compare {after} {scenario} {POLICIES} --resume {kept} --json"
    rows = body(unbooted.out(words))
    assert [row["variant"] for row in rows] == [
        str(after),
        f"{scenario} tasks.db.mempolicy=bind:0",
        f"{scenario} tasks.db.mempolicy=bind:1",
    ]
    assert [row["pages"]["1"] for row in rows] == [1024, 0, 1024]
    assert len(kept.read_text().splitlines()) == 2
    assert body(unbooted.out(words)) == rows


def test_plans_are_compared(unbooted: Shell, scenario: Path, tmp_path: Path) -> None:
    state = tmp_path / "machine.db"
    unbooted.out(f"boot {scenario} --state {state}")
    plans = "--plan 'db --to 1' --plan 'db --to 1 --max-pause 500us' --plan 'db --mbind bind:0'"
    table = unbooted.out(f"compare {scenario} {state} {plans} -j 2").splitlines()
    assert table[0].split()[-5:] == ["LOCAL", "DISTANCE", "STAYED", "TIME/ms", "PAUSE/ms"]
    rows = body(unbooted.out(f"compare {scenario} {state} {plans} --json"))
    assert [(row["variant"], row["pages"]["1"], row["stayed"]) for row in rows] == [
        (f"{where} plan {plan}", there, 0)
        for where in (state, scenario)
        for plan, there in (
            ("db --to 1", 1024),
            ("db --to 1 --max-pause 500us", 1024),
            ("db --mbind bind:0", 0),
        )
    ]
    assert [row["pause_us"] <= 500 for row in rows] == [False, True, True] * 2
    assert rows[0]["time_us"] == rows[1]["time_us"] == rows[0]["pause_us"]


def test_plan_that_cannot_be_made(unbooted: Shell, scenario: Path) -> None:
    words = "--plan 'db --too 1' --plan 'db --to 7' --plan 'nobody --to 1' --plan db"
    exit_code, stdout, _ = unbooted(f"compare {scenario} {words}")
    assert exit_code == 1
    assert stdout.splitlines() == [
        "plan db --too 1: No such option '--too'. Did you mean '--to'?",
        "plan db --to 7: Invalid value for --to: node argument 7 is out of range",
        "plan nobody --to 1: No such process",
        "plan db: expected --to NODES, or else --mbind, --offline or --balance",
    ]


@pytest.mark.parametrize(
    ("plan", "exit_code", "said"),
    [
        ("db 'x", 2, "No closing quotation"),
        ("--help", 1, "plan --help: No such option '--help'."),
        ("--balance --to 1", 1, "expected --to NODES, or else --mbind, --offline or --balance"),
    ],
)
def test_words_that_are_no_plan(
    unbooted: Shell, scenario: Path, plan: str, exit_code: int, said: str
) -> None:
    outcome = unbooted(f"compare {scenario} --plan {shlex.quote(plan)}")
    assert outcome.exit == exit_code
    assert said in outcome.stdout + outcome.stderr


def test_state_cannot_be_varied(unbooted: Shell, scenario: Path, tmp_path: Path) -> None:
    state = tmp_path / "machine.db"
    unbooted.out(f"boot {scenario} --state {state}")
    exit_code, _, stderr = unbooted(f"compare {state} --kernel 6.1")
    assert exit_code == 2
    assert "a state file is as it is" in stderr
