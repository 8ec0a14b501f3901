"""The comparison itself, on records made up for it."""

import pytest

from tests.conformance.compare import differing_fields, first_difference


@pytest.mark.parametrize(
    ("kernel", "ours"),
    [
        pytest.param({"op": "mmap", "ret": 0}, {"op": "mmap", "ret": 0, "x": 1}, id="more fields"),
        pytest.param({"ret": 1, "unstable": ["ret"]}, {"ret": 2}, id="unstable field"),
        pytest.param({"signal": None}, {}, id="no signal"),
        pytest.param({"delta": {}}, {"delta": {"pgmigrate_fail": 0}}, id="counter of zero"),
        pytest.param({"delta": {}}, {"delta": {"pgalloc_dma": 7}}, id="counter out of the list"),
        pytest.param(
            {"delta": {"compact_stall": 1}, "unstable": ["delta.compact_stall"]},
            {"delta": {}},
            id="unstable counter",
        ),
        pytest.param({"status": [[2, 0]]}, {"status": [[1, 0], [1, 0], [0, 5]]}, id="cut of runs"),
        pytest.param({"nodes": [[2, -1]]}, {"nodes": [[1, -1], [1, -1]]}, id="placement"),
        pytest.param({"mode_flags": ["a", "b"]}, {"mode_flags": ["b", "a"]}, id="order of flags"),
        pytest.param(
            {"lines": [{"start": 0, "anon": 1}]},
            {"lines": [{"start": 0, "anon": 1, "dirty": 0, "huge": False, "active": 3}]},
            id="what a line does not show",
        ),
        pytest.param(
            {"lines": [{"start": 0, "dirty": 1}], "unstable": ["lines.0.dirty"]},
            {"lines": [{"start": 0}]},
            id="unstable key of a line",
        ),
    ],
)
def test_records_that_are_equal(kernel: dict[str, object], ours: dict[str, object]) -> None:
    assert differing_fields(kernel, ours) == []


@pytest.mark.parametrize(
    ("kernel", "ours"),
    [
        pytest.param({"errno": None}, {}, id="absent field"),
        pytest.param({"signal": "SIGBUS"}, {}, id="absent signal"),
        pytest.param({"ret": 0}, {"ret": -1}, id="value"),
        pytest.param({"delta": {}}, {"delta": {"pgmigrate_fail": 1}}, id="counter too many"),
        pytest.param({"status": [[2, 0]]}, {"status": [[1, 0]]}, id="length of runs"),
        pytest.param({"status": [[2, 0]]}, {"status": None}, id="shape"),
        pytest.param({"nodes": "0-1"}, {"nodes": "0"}, id="nodes of a policy"),
        pytest.param({"lines": [{"start": 0}]}, {"lines": [{"start": 1}]}, id="start of a line"),
    ],
)
def test_records_that_differ(kernel: dict[str, object], ours: dict[str, object]) -> None:
    assert differing_fields(kernel, ours) == list(kernel)


def test_difference_names_step_op_field_and_values() -> None:
    kernel = [{"op": "touch"}, {"op": "mmap", "ret": 0, "errno": None}]
    ours = [{"op": "touch"}, {"op": "mmap", "ret": -1}]
    assert first_difference(kernel, ours) == (
        "step 2 of 2 (mmap)\n"
        "  ret\n    kernel 0\n    ours   -1\n"
        "  errno\n    kernel null\n    ours   (no such field)"
    )


@pytest.mark.parametrize(
    ("nr", "text"),
    [
        pytest.param(0, "step 1 of 1 (touch): no record", id="too few"),
        pytest.param(1, "", id="as many"),
        pytest.param(2, "2 records, the kernel gave 1", id="too many"),
    ],
)
def test_number_of_records(nr: int, text: str) -> None:
    assert first_difference([{"op": "touch"}], [{"op": "touch"}] * nr) == text
