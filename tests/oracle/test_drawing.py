"""Drawn programs are cases that can be recorded, and small cases are made of large ones."""

import re
from typing import Any

import pytest

from tests.oracle import ours
from tests.oracle.answers import Record
from tests.oracle.cases import text_of
from tests.oracle.difference import difference
from tests.oracle.draw import KINDS, drawn
from tests.oracle.program import Case, program_of
from tests.oracle.shrink import drive, shrinking


@pytest.mark.parametrize("kind", KINDS)
def test_each_program_is_a_scenario_and_can_be_recorded(kind: str) -> None:
    for number in range(25):
        case = drawn(kind, 1, number)
        assert ours.invalid(case) == ""
        assert program_of(case, "x").endswith("end\n")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_program(kind: str) -> None:
    assert drawn(kind, 7, 3) == drawn(kind, 7, 3)
    assert drawn(kind, 7, 3) != drawn(kind, 8, 3)


def case_of(*steps: dict[str, Any]) -> Case:
    machine = {"nodes": {0: {"cpus": "0", "memory": "64MiB"}, 1: {"cpus": "1", "memory": "64MiB"}}}
    tasks = {"a": {"cpus": "0", "uid": 1000}, "b": {"cpus": "1"}}
    return {"machine": machine, "files": {"f": {"size": 1}}, "tasks": tasks, "steps": list(steps)}


PROGRAM = case_of(
    {"op": "mmap", "task": "b", "as": "other", "length": "1MiB"},
    {"op": "mmap", "task": "a", "as": "r", "length": "1MiB", "populate": True},
    {"op": "touch", "task": "b", "at": "other"},
    {"op": "touch", "task": "a", "at": "r", "offset": "8KiB", "write": True},
    {"op": "vmstat"},
    {"op": "placement", "task": "a", "at": "r"},
)


def test_a_small_case_has_only_what_the_difference_needs() -> None:
    def differs(case: Case) -> bool:
        steps = case["steps"]
        return {"mmap", "touch"} <= {s["op"] for s in steps if s.get("task") == "a"} and (
            steps[-1]["op"] == "placement"
        )

    (small,) = drive([shrinking(PROGRAM)], lambda asked: [differs(case) for _, case in asked])
    assert small["steps"] == [
        {"op": "mmap", "task": "a", "as": "r", "length": "4KiB"},
        {"op": "touch", "task": "a", "at": "r"},
        {"op": "placement", "task": "a", "at": "r"},
    ]
    assert small["tasks"] == {"a": {"cpus": "0", "uid": 0}}
    assert "files" not in small


def test_several_are_made_small_side_by_side() -> None:
    rounds: list[set[int]] = []

    def differ(asked: list[tuple[int, Case]]) -> list[bool]:
        rounds.append({at for at, _ in asked})
        return [False] * len(asked)

    assert drive([shrinking(PROGRAM), shrinking(PROGRAM)], differ) == [PROGRAM, PROGRAM]
    assert rounds[0] == {0, 1}


def test_a_case_is_read_as_it_was_written() -> None:
    import yaml

    case = {"about": "a: b", **drawn("fork", 1, 1)}
    assert yaml.safe_load(text_of(case)) == case


def test_the_first_difference_is_told() -> None:
    steps = [{"op": "vmstat"}, {"op": "placement"}]
    kernel: list[Record] = [{"op": "vmstat", "delta": {}}, {"op": "placement", "nodes": [[1, 0]]}]
    our: list[Record] = [{"op": "vmstat", "delta": {}}, {"op": "placement", "nodes": [[1, 1]]}]
    found = difference(case_of(*steps), kernel, our)
    assert found is not None
    assert (found.step, found.kind) == (2, ("placement", ("nodes",)))
    assert re.match(r"step 2 of 2 \(placement\)\n  nodes\n    kernel \[\[1, 0\]\]", found.text)


@pytest.mark.parametrize(
    ("first", "delta"),
    [
        pytest.param({"op": "sysctl", "name": "compact_memory"}, "pgmigrate_success", id="moved"),
        pytest.param({"op": "placement"}, "compact_stall", id="compaction's own"),
    ],
)
def test_counters_that_the_kernels_own_pages_move_are_not_compared(
    first: dict[str, Any], delta: str
) -> None:
    case = case_of(first, {"op": "vmstat"})
    records = [{"op": first["op"]}, {"op": "vmstat", "delta": {}}]
    ours_ = [{"op": first["op"]}, {"op": "vmstat", "delta": {delta: 3}}]
    assert difference(case, records, ours_) is None


def test_a_crash_of_ours_is_a_difference() -> None:
    case = case_of({"op": "vmstat"})
    found = difference(case, [{"op": "vmstat", "delta": {}}], [{"op": "vmstat", "crash": "E: x"}])
    assert found is not None
    assert found.kind == ("vmstat", ("crash",))


def test_what_depends_on_the_kernels_own_memory_is_not_compared() -> None:
    machine = {"nodes": {0: {"cpus": "0", "memory": "64MiB"}, 1: {"cpus": "1", "memory": "32MiB"}}}
    steps = [
        {"op": "mmap", "task": "a", "as": "r", "length": "40MiB"},
        {"op": "touch", "task": "a", "at": "r"},
        {"op": "migrate_pages", "task": "a", "from": "0", "to": "1"},
        {"op": "placement", "task": "a", "at": "r"},
    ]
    case = {"machine": machine, "tasks": {"a": {"cpus": "0"}}, "steps": steps}
    records = ours.steady_records(case, "6.12")
    assert records[3] == {"op": "placement", "unstable": ["nodes"]}
