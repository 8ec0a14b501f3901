import json

from tests.cli.conftest import Shell


def test_output(unbooted: Shell) -> None:
    text = unbooted.out("schema")
    schema = json.loads(text)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["machine"]
    assert set(schema["properties"]) == {
        *("about", "kernel", "machine", "files", "tasks", "cpusets", "drivers", "steps")
    }
    named = {part.split('"')[0] for part in text.split('"#/$defs/')[1:]}
    assert named
    assert named <= set(schema["$defs"])
    assert not unbooted.state.exists()
