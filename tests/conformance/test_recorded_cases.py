"""Each recorded case on each kernel that answered it: our records must be the kernel's."""

import json

import pytest

from tests.conformance.compare import first_difference
from tests.conformance.recordings import CASES, HERE, expected_failures, marks, recordings
from tests.conftest import run_scenario

PARAMETERS = [
    pytest.param(*recording, id="-".join(recording), marks=marks(recording))
    for recording in recordings()
]


@pytest.mark.parametrize(("case", "kernel"), PARAMETERS)
def test_case(case: str, kernel: str) -> None:
    answer = json.loads((CASES / f"{case}.{kernel}.json").read_text(encoding="utf-8"))
    ours = run_scenario(CASES / f"{case}.yaml", kernel)
    difference = first_difference(answer["records"], ours)
    if difference:
        pytest.fail(f"{case} on {kernel}, {difference}", pytrace=False)


def test_expected_failures_are_recorded_cases() -> None:
    assert sorted(set(expected_failures()) - set(recordings())) == []


def test_expected_failures_are_named_once() -> None:
    text = (HERE / "expected_failures.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and line[0] != "#"]
    assert len(lines) == len(expected_failures())


def test_every_recording_has_its_scenario_and_every_scenario_a_recording() -> None:
    scenarios = {path.stem for path in CASES.glob("*.yaml")}
    assert {recording.case for recording in recordings()} == scenarios
