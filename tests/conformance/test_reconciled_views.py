"""After every step of every recorded case the views and the allocator tell of the same pages."""

import pytest

from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load
from pymigrate.scenario.spec.runner import Runner
from tests.conformance.recordings import CASES, Recording, recordings
from tests.property import agreement


@pytest.mark.parametrize("recording", recordings(), ids="-".join)
def test_views_agree_after_every_step(recording: Recording) -> None:
    scenario = load(CASES / f"{recording.case}.yaml")
    machine = build(scenario, recording.kernel)
    agreement.check(machine)
    for record in Runner(machine).run(scenario.steps):
        assert record["op"]
        agreement.check(machine)
