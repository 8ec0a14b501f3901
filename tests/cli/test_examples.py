"""The examples of commands: each command has some, and each can be run."""

import shlex
import shutil

import pytest

from pymigrate.cli.examples import EXAMPLES
from pymigrate.cli.main import commands
from tests.cli.conftest import GROUPS, ROOT, Shell


def test_each_command_has_examples() -> None:
    inner = {f"{group} {name}" for group, names in GROUPS.items() for name in names}
    assert set(EXAMPLES) == set(commands()) | inner


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_accepted(unbooted: Shell, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "scenarios", unbooted.folder / "scenarios")
    monkeypatch.delenv("PYMIGRATE_SCENARIO")
    monkeypatch.delenv("PYMIGRATE_STATE")
    for example in EXAMPLES[name]:
        program, *args = shlex.split(example)
        assert program == "pymigrate"
        assert unbooted(args).exit == 0, example
    assert any(f" {name}" in example for example in EXAMPLES[name])
