"""The JSON Schema of the scenario file, for editors."""

from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import Discriminator, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from pymigrate.nodemask import Bitmap
from pymigrate.scenario.spec.models import Scenario
from pymigrate.scenario.steps.every import OPS, step_model

# Any: pydantic's own name for a JSON Schema is dict[str, Any].


class _AsWritten(GenerateJsonSchema):
    """Shows defaults as the user writes them."""

    def encode_default(self, dft: object) -> Any:
        return str(dft) if isinstance(dft, Bitmap) else super().encode_default(dft)


def json_schema() -> dict[str, Any]:
    """A JSON Schema, draft 2020-12, of what the loader accepts but for rules between parts."""
    schema = _schema_of(Scenario)
    steps = _schema_of(Annotated[reduce(or_, map(step_model, OPS)), Discriminator("op")])
    definitions = schema["$defs"] | steps.pop("$defs")
    for definition in definitions.values():
        if "op" in definition.get("properties", {}):
            definition["properties"]["op"]["description"] = definition["description"]
    definitions.pop("Step", None)
    schema["properties"]["steps"]["items"] = steps
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **schema,
        "$defs": dict(sorted(definitions.items())),
    }


def _schema_of(kind: Any) -> dict[str, Any]:
    return TypeAdapter(kind).json_schema(schema_generator=_AsWritten)
