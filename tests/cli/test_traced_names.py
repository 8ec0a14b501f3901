"""What traces call pages, in three scenarios: each by the name of whose it is, in every line."""

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Shell

TRACES = Path(__file__).parent / "traces"
FOLIO = re.compile(r"migrate_step: (\S+) .*?, folio (\S+) on node \d+, attempt (\d+)")


def scenario(name: str) -> str:
    return (TRACES / f"{name}.yaml").read_text(encoding="utf-8")


def records(shell: Shell, name: str) -> list[str]:
    """The trace of each step of a scenario, a line for each event."""
    shell.write(f"{name}.yaml", scenario(name))
    told = shell.json(f"run --steps {name}.yaml")
    return ["".join(f"{line}\n" for line in record.get("trace", ())) for record in told]


def folios(text: str) -> list[tuple[str, str, int]]:
    """The documented steps in a trace: number, folio, attempt."""
    return [(step, folio, int(attempt)) for step, folio, attempt in FOLIO.findall(text)]


@pytest.mark.parametrize(("task", "region", "nr"), [("a", "alpha", 4), ("b", "beta", 2)])
def test_pages_at_one_address_are_called_by_their_own_process(
    shell: Shell, task: str, region: str, nr: int
) -> None:
    shell.boot(scenario("place"))
    names = {f"{region}+{page}" for page in range(nr)}
    told = shell.json(f"migratepages {task} 0 1 --steps --dry-run")["trace"]
    assert {event["folio"] for event in told if "step" in event} == names
    trace = shell.json(f"migratepages {task} 0 1 --trace")["trace"]
    assert {event["place"] for event in trace if "place" in event} == names


@pytest.mark.parametrize(
    ("option", "pages"),
    [("--trace", ["0", "1", "2", "3"]), ("--steps", ["0 to alpha+3"])],
    ids=["each", "folded"],
)
def test_a_run_names_them_likewise_and_says_whose_they_are(
    shell: Shell, option: str, pages: list[str]
) -> None:
    steps = 'steps:\n  - {op: migrate_pages, task: a, from: "0", to: "1"}\n'
    shell.write("place.yaml", scenario("place") + steps)
    lines = shell.out(f"run place.yaml {option}").splitlines()
    entries = re.findall(r"addr=alpha\+(.*?), .* pid=1000", "\n".join(lines))
    assert entries == pages * 2


def test_a_drivers_page_is_called_by_its_driver_which_isolates_it(shell: Shell) -> None:
    mine, _, zs, bal, _ = records(shell, "driver")
    for text, name, pages in (
        (mine, "mine", range(4)),
        (zs, "zs", range(8)),
        (bal, "bal", range(8)),
    ):
        assert {folio for _, folio, _ in folios(text)} == {f"{name}+{page}" for page in pages}
        isolated = [line for line in text.splitlines() if " 0a " in line]
        refused = name == "mine"  # once
        found = ["isolate_page() says false: skipped"] * refused
        found += ["isolated by the driver, PG_isolated set"] * (len(pages) - refused)
        assert [
            line.partition(f"folio {name}+{page} on node 0, ")[2]
            for page, line in zip(pages, isolated, strict=True)
        ] == [f"attempt 1{'' if 'says' in text else ' (async)'}: {text}" for text in found]


def test_a_new_attempt_begins_where_the_engine_has_backed_out(shell: Shell) -> None:
    mine = folios(records(shell, "driver")[0])
    told = [(step, attempt) for step, folio, attempt in mine if folio == "mine+1"]
    first = [(step, 1) for step in ("0a", "0b", "1", "2", "3", "4", "4b", "12")]
    third = [(step, 3) for step in ("0b", "1", "2", "3", "4", "4b", "12")]
    assert told == [*first, ("12", 2), *third]


def test_shared_memory_has_one_name_in_every_line(shell: Shell) -> None:
    moved, *_, locked, _, written = records(shell, "wait")
    assert {folio for _, folio, _ in folios(moved)} == {"buf+0", "buf+1"}
    waits = (
        "folio buf+0 on node 0, attempt 1 (async): process 1001 waits, asleep on the folio's lock"
    )
    assert f"4 fault on a migration entry [migration_entry_wait], {waits}" in moved
    for text in (locked, written):
        assert {folio for _, folio, _ in folios(text)} == {"buf+0"}


def test_the_attempts_of_both_phases_are_counted_as_one(shell: Shell) -> None:
    locked = folios(records(shell, "wait")[3])
    assert [step for step, _, attempt in locked if attempt < 3] == ["0a", "0b", "1", "0b", "1"]
    assert [step for step, _, attempt in locked if attempt == 3][:6] == "0b 1 2 3 4 4b".split()
    assert {attempt for _, _, attempt in locked} == {1, 2, 3}


def test_the_entries_of_each_process_are_told_apart(shell: Shell) -> None:
    moved = records(shell, "wait")[0]
    entries = re.findall(r"(set|remove)_migration_pte: addr=(\S+),.* pid=(\d+)$", moved, re.M)
    assert entries == [
        (kind, f"buf+{page}", pid)
        for kind in ("set", "remove")
        for page in range(2)
        for pid in ("1000", "1001")
    ]
