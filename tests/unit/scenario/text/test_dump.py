"""A scenario's data as text: what stands on a line, and how often a value is looked at."""

import pytest

from pymigrate.scenario.text import dump as module
from pymigrate.scenario.text.dump import Hex, Line, dump
from pymigrate.scenario.text.parse import parse

REGION = {"as": "x", "address": Hex(0x7F0000001000), "pages": [[3, 0], [1, 1]], "map": "no"}


def test_what_is_written_is_read_again() -> None:
    data = {"about": "a: b", "tasks": {"a": {"uid": 0, "memory": [Line(REGION), Line(REGION)]}}}
    text = dump(data)
    assert text == (
        "about: 'a: b'\n"
        "tasks:\n"
        "  a:\n"
        "    uid: 0\n"
        "    memory:\n"
        "    - {as: x, address: 0x7f0000001000, pages: [[3, 0], [1, 1]], map: 'no'}\n"
        "    - {as: x, address: 0x7f0000001000, pages: [[3, 0], [1, 1]], map: 'no'}\n"
    )
    region = {**REGION, "pages": ((3, 0), (1, 1))}
    expected = {"about": "a: b", "tasks": {"a": {"uid": 0, "memory": (region, region)}}}
    assert parse(text, "f.yaml").data == expected


def test_a_value_that_comes_again_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    resolve = module._resolve
    monkeypatch.setattr(module, "_resolve", lambda *args: (seen.append(args[1]), resolve(*args))[1])
    dump({"tasks": [Line({"as": f"r{i}", "pages": [[1, 0]]}) for i in range(100)]})
    assert len(seen) == 2 * (100 + len({"tasks", "as", "pages", 1, 0}))


def test_data_that_holds_itself_is_no_scenario() -> None:
    data: dict[str, object] = {}
    data["tasks"] = data
    with pytest.raises(ValueError, match="nested too deep, or holds itself"):
        dump(data)


@pytest.mark.parametrize("value", [object(), {1, 2}, type("Text", (str,), {})("x")])
def test_what_yaml_has_no_form_for_is_no_scenario(value: object) -> None:
    with pytest.raises(ValueError, match="no scenario: "):
        dump({"about": value})
