"""Whatever is called, the ledger's sums are the counters, by reason, by task and by command."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymigrate.errors import UnsupportedError
from pymigrate.mm.state.events import MigrateReason
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.spec.runner import Runner
from pymigrate.store.codec import copy_machine
from pymigrate.views.told.ledger import GROUPINGS, shares
from tests.conftest import many
from tests.property.programs import programs

SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))
# Why counters rise: migrations, as the tracepoints call their reasons, and the rest.
REASONS = {reason.text for reason in MigrateReason}
REASONS |= {"fault", "reclaim", "numa_scan", "ksm", "call"}


def agree(text: str, middle: int) -> None:
    """Run a program; *middle* is the step before which the counters were looked at."""
    scenario = load_text(text)
    runner = Runner(build(scenario))
    assert runner.machine.counted().total() == 0, "a boot counts nothing"
    before: Counter[str] = Counter()
    for number, step in enumerate(scenario.steps):
        if number == middle:
            before = runner.machine.counted()
        try:
            runner.step(step)
        except UnsupportedError:
            return
    for machine in (runner.machine, copy_machine(runner.machine)):
        risen = machine.counted() - before
        for by in GROUPINGS:
            sums: Counter[str] = Counter()
            for share in shares(machine, by, before):
                assert share.nr > 0
                assert by != "reason" or share.key[0] in REASONS
                sums[share.counter] += share.nr
            assert sums == risen, f"by {by}: {text}"


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenarios_that_ship(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    scenario = load_text(text)
    if not scenario.steps:
        moves = [
            f"  - {{op: migrate_pages, task: {task}, from: 0, to: 1}}\n" for task in scenario.tasks
        ]
        text += f"\nsteps:\n{''.join(moves)}  - {{op: balance, seconds: 2}}\n"
    agree(text, 1)


@given(text=programs(12), middle=st.integers(0, 12))
@settings(max_examples=100)
def test_a_few_programs(text: str, middle: int) -> None:
    agree(text, middle)


@pytest.mark.slow
@given(text=programs(40), middle=st.integers(0, 40))
@many(1500)
def test_many_programs(text: str, middle: int) -> None:
    agree(text, middle)
