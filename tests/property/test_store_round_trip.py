"""A machine that is stored and loaded between any calls is the same, and works on."""

import os
import tempfile
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pymigrate.errors import UnsupportedError
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.spec.runner import Runner
from pymigrate.store.store import Boot, Store
from tests.property.programs import programs
from tests.unit.store.conftest import plain


def _again(store: Store) -> Any:
    """What is stored, loaded once more, so that the machine that works on stays as it is."""
    known = store._known
    machine = store.load()
    store._known = known
    return machine


@given(text=programs(12), often=st.integers(1, 4))
@settings(max_examples=40)
def test_what_is_loaded_is_what_was_stored(text: str, often: int) -> None:
    scenario = load_text(text)
    runner = Runner(build(scenario))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(os.path.join(folder, "state.db"))
        store.begin(write=True)
        store.replace(runner.machine, Boot("", "", "", ""))
        for number, step in enumerate(scenario.steps):
            if number % often == 0:
                store.save(runner.machine)
                expected = plain(runner.machine)
                store.commit()
                store.begin(write=True)
                runner.machine = store.load()
                assert plain(_again(store)) == expected
            try:
                runner.step(step)
            except UnsupportedError:
                break
        store.close()
