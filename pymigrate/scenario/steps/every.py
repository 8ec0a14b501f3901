"""All steps, by their `op`."""

from functools import cache
from typing import get_args

from pymigrate.interface.table import CALLS
from pymigrate.scenario.spec.step_base import Step
from pymigrate.scenario.steps.calls import model_of
from pymigrate.scenario.steps.looks import LOOKS

_LOOKS: dict[str, type[Step]] = {
    get_args(model.model_fields["op"].annotation)[0]: model for model in LOOKS
}
OPS = (*CALLS, *_LOOKS)


@cache
def step_model(op: str) -> type[Step]:
    """The model of the steps called *op*, which is one of OPS."""
    return model_of(CALLS[op]) if op in CALLS else _LOOKS[op]
