"""pymigrate/docs/records.md names every key of a record."""

import re
from pathlib import Path

import pytest

from tests.conftest import run_scenario

ROOT = Path(__file__).parents[3]
NAMED = set(
    re.findall(r"[A-Za-z_]+", (ROOT / "pymigrate/docs/records.md").read_text(encoding="utf-8"))
)
ELSEWHERE = {"balance"}  # whose keys json.md has
SCENARIOS = sorted((ROOT / "scenarios").glob("*.yaml"))


def keys_of(value: object) -> set[str]:
    """The keys at all depths, but for numbers of nodes and blocks."""
    if isinstance(value, list):
        return {key for item in value for key in keys_of(item)}
    if not isinstance(value, dict):
        return set()
    inner = {key for item in value.values() for key in keys_of(item)}
    return inner | {key for key in value if not key.isdigit()}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.stem)
def test_keys_of_records_are_documented(scenario: Path) -> None:
    records = [record for record in run_scenario(scenario) if record["op"] not in ELSEWHERE]
    assert keys_of(records) - NAMED == set()
