from collections.abc import Iterator
from typing import Any

from pymigrate.scenario.read.schema import json_schema
from pymigrate.scenario.steps.every import OPS


def described(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each definition and property of *schema* with its description."""
    for name, definition in schema["$defs"].items():
        yield name, definition.get("description")
        for key, field in definition.get("properties", {}).items():
            yield f"{name}.{key}", field.get("description")


def test_schema_is_of_draft_2020_12() -> None:
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_model_and_key_is_described() -> None:
    assert [name for name, description in described(json_schema()) if not description] == []


def test_steps_are_one_of_the_ops() -> None:
    schema = json_schema()
    assert len(schema["properties"]["steps"]["items"]["oneOf"]) == len(OPS)


def test_types_are_those_that_the_user_writes() -> None:
    node = json_schema()["$defs"]["NodeSpec"]["properties"]
    assert node["cpus"]["default"] == ""
    assert [kind["type"] for kind in node["memory"]["anyOf"]] == ["integer", "string"]


def test_policy_is_text_or_a_mapping() -> None:
    policy = json_schema()["$defs"]["PolicySpec"]
    assert [kind["type"] for kind in policy["anyOf"]] == ["string", "object"]


def test_default_that_the_loader_works_out_is_not_shown() -> None:
    assert "default" not in json_schema()["$defs"]["TaskSpec"]["properties"]["pid"]
