import json

from tests.cli.conftest import Shell


def test_output(unbooted: Shell) -> None:
    schema = json.loads(unbooted.out("schema"))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["machine"]
    assert set(schema["properties"]) == {
        *("about", "kernel", "machine", "files", "tasks", "cpusets", "drivers", "steps")
    }


def test_every_reference_has_a_definition(unbooted: Shell) -> None:
    text = unbooted.out("schema")
    schema = json.loads(text)
    named = {part.split('"')[0] for part in text.split('"#/$defs/')[1:]}
    assert named
    assert named <= set(schema["$defs"])


def test_boots_no_machine(unbooted: Shell) -> None:
    unbooted.out("schema")
    assert not unbooted.state.exists()
