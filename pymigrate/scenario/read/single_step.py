"""One step that a program gives, checked against what is on the machine at that moment."""

from collections.abc import Mapping

from pydantic import ValidationError

from pymigrate.errors import ScenarioError
from pymigrate.mm.state.machine import Machine
from pymigrate.scenario.spec.names import RegionNames, Scope
from pymigrate.scenario.spec.runner import Step
from pymigrate.scenario.steps.calls import CallStep
from pymigrate.scenario.steps.every import OPS, step_model, unknown_op
from pymigrate.scenario.text import messages
from pymigrate.scenario.text.positions import Mistake


def read_step(machine: Machine, names: RegionNames, value: Mapping[str, object]) -> Step:
    """The step that *value* describes, with the keys of a scenario's steps; lists will do.

    Raises ScenarioError, which says all that is wrong with it.
    """
    data: dict[str | int, object] = {key: _plain(part) for key, part in value.items()}
    op = data.get("op")
    if not isinstance(op, str) or op not in OPS:
        raise ScenarioError(unknown_op(op), "step")
    scope = Scope(
        {
            "tasks": {task.name: {"comm": task.comm} for task in machine.tasks.values()},
            "files": {space.name: {} for space in machine.spaces.values() if space.name},
            "drivers": {name: {} for name in machine.drivers},
        }
    )
    scope.regions, scope.cpusets = names, [name for name in machine.cpusets if name]
    found: list[Mistake] = []
    step = None
    try:
        step = step_model(op).model_validate(data)
    except ValidationError as error:
        found += messages.mistakes(error, step_model(op), ())
    found += scope.check(data, ())
    if isinstance(step, CallStep):
        found += step.mistakes(())
    if found or step is None:
        where = [f"{'.'.join(map(str, m.path))}: " if m.path else "" for m in found]
        text = "; ".join(f"{place}{m.message}" for place, m in zip(where, found, strict=True))
        raise ScenarioError(text, f"step {op}")
    return step


def _plain(value: object) -> object:
    """*value* as the loader reads it: lists are tuples."""
    if isinstance(value, list | tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
