"""A scenario that was changed at random is refused at a place of its text, or does what it says."""

from random import Random

import pytest

from pymigrate.errors import PymigrateError, ScenarioError, ScenarioErrors
from pymigrate.mm.check import problems
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_bytes
from pymigrate.scenario.spec.runner import Runner
from tests.attack.conftest import TooLongError, limited
from tests.attack.mutants import mutant

MAX_STEPS = 40
PYDANTIC = ("Input should", "validation error", "pydantic", "Field required")


def check(seed: int) -> bool:
    """Read a mutant, build it, run it; whether it was refused."""
    content = mutant(Random(seed))
    try:
        with limited():
            return _is_refused(content)
    except PymigrateError:
        raise
    except (Exception, TooLongError) as error:
        raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error


def _is_refused(content: bytes) -> bool:
    error = _error_of(content)
    for each in error.errors if isinstance(error, ScenarioErrors) else [error]:
        if isinstance(each, ScenarioError) and each.path:
            _check_message(each, content)
    return error is not None


def _error_of(content: bytes) -> PymigrateError | None:
    try:
        scenario = load_bytes(content, "m.yaml")
        machine = build(scenario)
        runner = Runner(machine)
        for step in scenario.steps[:MAX_STEPS]:
            runner.step(step)
    except PymigrateError as error:
        return error
    assert [*problems(machine)] == []
    return None


def _check_message(error: ScenarioError, content: bytes) -> None:
    text = content.decode(errors="replace")
    assert error.message
    assert "\n" not in error.message, error.message
    assert len(error.message) < 2000, error.message
    assert not any(word in error.message for word in PYDANTIC), error.message
    lines = 1 + sum(map(text.count, "\n\r\x85\u2028\u2029"))  # as YAML has them
    assert 1 <= error.line <= lines + 1, error
    assert error.column >= 1, error


def test_a_few_mutated_scenarios() -> None:
    refused = sum(check(seed) for seed in range(150))
    assert 30 < refused < 140


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 20_000, 1000))
def test_many_mutated_scenarios(first: int) -> None:
    for seed in range(first, first + 1000):
        check(seed)
