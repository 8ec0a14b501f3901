"""All steps, by their `op`."""

from functools import cache

from pymigrate.interface.table import CALLS
from pymigrate.scenario.spec.runner import Step
from pymigrate.scenario.steps.calls import model_of
from pymigrate.scenario.steps.looks import LOOKS
from pymigrate.scenario.text.fields import listed, nearest, shown

OPS = (*CALLS, *LOOKS)


def unknown_op(op: object) -> str:
    """The message about an *op* that is none."""
    near = nearest(op, OPS, "op") if isinstance(op, str) else ""
    return f"unknown op {shown(op)}; expected {listed(OPS)}{near}"


@cache
def step_model(op: str) -> type[Step]:
    """The model of the steps called *op*, which is one of OPS."""
    return model_of(CALLS[op]) if op in CALLS else LOOKS[op]
