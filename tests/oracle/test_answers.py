"""From the agent's lines to records, and what several runs agree on."""

import pytest

from tests.oracle.answers import maps_line, merge, records_of, same, service_seen
from tests.oracle.guest import Line

MACHINE = {"nodes": {0: {"cpus": "0", "memory": "64MiB"}, 1: {"memory": "64MiB"}}}


def case_of(*steps: dict[str, object], **more: object) -> dict[str, object]:
    return {"machine": MACHINE, "tasks": {"a": None}, "steps": list(steps), **more}


def test_counters_are_told_by_how_much_they_changed_since_the_last_time() -> None:
    lines: list[Line] = [
        {"start": True, "counters": {"pgmigrate_success": 5, "pgfault": 1}},
        {"op": "vmstat", "counters": {"pgmigrate_success": 7, "pgfault": 9}},
        {"op": "vmstat", "counters": {"pgmigrate_success": 7, "pgfault": 11}},
    ]
    case = case_of({"op": "vmstat"}, {"op": "vmstat"})
    assert records_of(lines, case) == [
        {"op": "vmstat", "delta": {"pgmigrate_success": 2}},
        {"op": "vmstat", "delta": {}},
    ]


@pytest.mark.parametrize(
    ("flags", "line", "record"),
    [
        pytest.param(
            [],
            {"mode": 2 | 0x8000, "mask": "0-1"},
            {"mode": "bind", "mode_flags": ["static"], "nodes": "0-1"},
            id="a policy",
        ),
        pytest.param(["mems_allowed"], {"mode": -1, "mask": "0"}, {"nodes": "0"}, id="the nodes"),
        pytest.param(["node", "addr"], {"mode": 1, "mask": ""}, {"node": 1}, id="a page's node"),
        pytest.param(
            ["node", "addr"], {"mode": 2, "mask": ""}, {"unstable": ["node"]}, id="the zero page"
        ),
    ],
)
def test_what_get_mempolicy_says(
    flags: list[str], line: dict[str, object], record: dict[str, object]
) -> None:
    case = case_of({"op": "get_mempolicy", "task": "a", "flags": flags})
    lines = [{"op": "get_mempolicy", "ret": 0, "errno": None, **line}]
    head = {"op": "get_mempolicy", "ret": 0, "errno": None}
    assert records_of(lines, case) == [head | record]


@pytest.mark.parametrize(
    ("ret", "status"),
    [pytest.param(0, [[1, 0], [2, None]], id="done"), pytest.param(-1, [[1, 0]], id="failed")],
)
def test_a_status_that_was_not_written(ret: int, status: list[list[int | None]]) -> None:
    line = {"op": "move_pages", "ret": ret, "errno": None, "status": [[1, 0], [2, -9999]]}
    case = case_of({"op": "move_pages", "task": "a"})
    assert records_of([line], case)[0]["status"] == status


def test_a_file_in_numa_maps_has_the_scenarios_name() -> None:
    text = "200004000000 interleave:0-1 file=/ext4/d huge dirty=1 active=3 N0=1"
    assert maps_line(text, 0x200004000000, {"/ext4/d": "d"}) == {
        "policy": "interleave:0-1",
        "start": 0,
        "file": "d",
        "huge": True,
        "dirty": 1,
        "nodes": {"0": 1},
    }


@pytest.mark.parametrize("policy", ["prefer (many):0", "weighted interleave:0-1"])
def test_a_policy_whose_name_has_a_blank(policy: str) -> None:
    assert maps_line(f"200004000000 {policy}", 0x200004000000, {})["policy"] == policy


def test_what_runs_do_not_agree_on_is_unstable() -> None:
    runs = [
        [{"op": "x", "ret": nr, "delta": {"a": 1, "b": nr}, "lines": [{"start": 0, "dirty": nr}]}]
        for nr in (1, 2)
    ]
    assert merge(runs) == [
        {
            "op": "x",
            "delta": {"a": 1},
            "lines": [{"start": 0}],
            "unstable": ["ret", "delta.b", "lines.0.dirty"],
        }
    ]


def test_lines_that_begin_elsewhere_are_unstable_as_a_whole() -> None:
    runs = [[{"op": "x", "lines": [{"start": start}]}] for start in (0, 1)]
    assert merge(runs) == [{"op": "x", "unstable": ["lines"]}]


def test_a_field_that_a_run_lacks_is_unstable() -> None:
    assert merge([[{"op": "x", "lines": [], "delta": {}}], [{"op": "x"}]]) == [
        {"op": "x", "unstable": ["lines", "delta"]}
    ]


def test_recordings_are_the_same_in_what_both_found_stable() -> None:
    a = [{"op": "x", "delta": {}, "unstable": ["delta.b"]}]
    b = [{"op": "x", "delta": {"b": 2}}]
    assert same(a, b)
    assert not same(a, [{"op": "x", "delta": {"c": 2}}])


def test_no_signal_and_a_signal_that_is_not_told_are_the_same() -> None:
    assert same([{"op": "touch", "signal": None}], [{"op": "touch"}])


@pytest.mark.parametrize(
    "record",
    [
        {"op": "placement", "nodes": [[1, 0], [1, 2]]},
        {"op": "numa_maps", "lines": [{"nodes": {"2": 1}}]},
    ],
)
def test_pages_on_the_service_node_are_seen(record: dict[str, object]) -> None:
    assert service_seen([record], 2)
    assert not service_seen([record], 3)
