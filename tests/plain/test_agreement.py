"""pymigrate and the plain model answer random programs alike, record by record."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings

from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.spec.runner import Runner
from tests.conformance.compare import first_difference
from tests.conftest import many
from tests.plain import model
from tests.plain.generator import programs
from tests.property import invariants


def agree(text: str) -> None:
    """Run a program on both; each record is the same, and the machine is sound in the end."""
    scenario = load_text(text)
    machine = build(scenario)
    ours = complete(Runner(machine).run(scenario.steps))
    difference = first_difference(complete(model.run(scenario)), ours)
    if difference:
        step = text.splitlines()[text.splitlines().index("steps:") + int(difference.split()[1])]
        difference = difference.replace("kernel ", "model  ")
        pytest.fail(f"{text}\n{difference}\n{step.strip()}", pytrace=False)
    invariants.check(machine)


def complete(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """*records*, where an access without a signal says so."""
    return [{"signal": None} | r if r["op"] == "touch" else r for r in records]


@given(text=programs(length=14))
@settings(max_examples=60)
def test_a_few_programs(text: str) -> None:
    """As many as a quick test has the time for."""
    agree(text)


@pytest.mark.slow
@given(text=programs())
@many(2000)
def test_many_programs(text: str) -> None:
    agree(text)
