"""README.md says what is true: its sessions are real output, and what it names exists.

Each section (`## ...`) with ```console blocks is one bash session, begun in a new directory that
holds nothing but `scenarios` and the section's ```yaml examples, by a user without a booted machine
yet. A block's lines are `$ ` and a command, `> ` and a further line of it, or what a terminal would
show next: stdout and stderr together.

Run as a program (`PYTHONPATH=. python tests/cli/test_readme.py`) it writes what the commands print
into README.md, and into the example of a project; read the difference before you commit it.
"""

import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from pymigrate.cli import main
from pymigrate.scenario.read.loader import load
from pymigrate.scenario.spec import models
from tests.cli.conftest import ROOT
from tests.cli.readme import (
    CAPTURE,
    CODE,
    README,
    SECTIONS,
    TESTING,
    TEXT,
    blocks,
    command_rows,
    play,
    sections,
    step_rows,
)

PATHS = re.compile(
    r"\]\(([^)#]+)\)|(?:`|^)((?:scenarios|tests|pymigrate)/[\w./-]*)(?:`| )", re.MULTILINE
)  # links, code, and lines of a listing


def rewritten(text: str) -> str:
    """README with what the commands print, and the declarations say, now."""
    text = step_rows(command_rows(text))
    for section in sections(text).values():
        text = played(section, text)
    return text


def played(section: str, text: str) -> str:
    """*text* with what the commands of one of its sections print now."""
    with tempfile.TemporaryDirectory() as folder:
        for old, new in zip(blocks(section, "console"), play(section, Path(folder)), strict=True):
            text = text.replace(f"```console\n{old}```", f"```console\n{new}```")
    return text


PLAYED = [heading for heading, text in SECTIONS.items() if blocks(text, "console")]


@pytest.mark.skipif(
    sys.platform == "win32" or not shutil.which("bash"), reason="the sessions are bash's"
)
@pytest.mark.parametrize("heading", PLAYED)
def test_sessions_are_real_output(heading: str, tmp_path: Path) -> None:
    section = SECTIONS[heading]
    assert "\n".join(play(section, tmp_path)) == "\n".join(blocks(section, "console"))


def test_there_are_sessions() -> None:
    assert len(PLAYED) >= 3


@pytest.mark.parametrize("name", main.commands())
def test_each_command_has_a_line_and_an_example(name: str) -> None:
    assert re.search(rf"^\| `{name}` \| .+ \| `pymigrate {name}\b.*` \|$", TEXT, re.MULTILINE)


def test_examples_of_commands_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "scenarios", tmp_path / "scenarios")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYMIGRATE_STATE", str(tmp_path / "machine.db"))
    monkeypatch.delenv("PYMIGRATE_SCENARIO", raising=False)
    examples = [
        code for code in CODE.findall(SECTIONS["Commands"]) if code.startswith("pymigrate ")
    ]
    assert len(examples) >= len(main.commands())
    for example in examples:
        result = CliRunner().invoke(main.cli, shlex.split(example)[1:])
        assert result.exit_code == 0, (example, result.output)


def test_example_scenarios_are_valid(tmp_path: Path) -> None:
    examples = blocks(TEXT, "yaml")
    assert examples
    for example in examples:
        path = tmp_path / "example.yaml"
        path.write_text(example, encoding="utf-8")
        assert load(path).machine.nodes


@pytest.mark.parametrize(
    "model",
    [
        models.Scenario,
        models.MachineSpec,
        models.NodeSpec,
        models.PatternSpec,
        models.FileSpec,
        models.TaskSpec,
        models.RegionSpec,
    ],
)
def test_each_key_of_the_format_is_explained(model: type[models.Model]) -> None:
    named = set(CODE.findall(SECTIONS["Scenario files"]))
    keys = {field.alias or name for name, field in model.model_fields.items()}
    assert keys <= named


def test_links_within_the_text_lead_to_headings() -> None:
    named = re.sub(r"[^\w\s-]", "", "\n".join(re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)).lower())
    anchors = {heading.replace(" ", "-") for heading in named.splitlines()}
    links = re.findall(r"\]\(#([^)]+)\)", TEXT)
    assert links
    assert set(links) <= anchors


def test_tables_of_commands_and_steps_are_as_declared() -> None:
    assert command_rows(TEXT) == TEXT
    assert step_rows(TEXT) == TEXT


def test_each_scenario_is_named() -> None:
    for path in (ROOT / "scenarios").iterdir():
        assert f"`scenarios/{path.name}`" in TEXT


def test_each_make_target_is_one() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([\w-]+)`", TEXT)) <= targets


def test_named_paths_exist() -> None:
    named = {link or path for link, path in PATHS.findall(TEXT)}
    assert len(named) > len(list((ROOT / "scenarios").iterdir()))
    for path in named:
        assert path.startswith("https://") or (ROOT / path).exists(), path


def test_environment_variables_are_those_of_the_code() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "pymigrate").rglob("*.py"))
    name = re.compile(r"\bPYMIGRATE_[A-Z]+\b")
    assert set(name.findall(TEXT)) == set(name.findall(code))


if __name__ == "__main__":
    README.write_text(rewritten(TEXT), encoding="utf-8")
    for page in (TESTING, CAPTURE):
        example = page.read_text(encoding="utf-8")
        page.write_text(played(example, example), encoding="utf-8")
