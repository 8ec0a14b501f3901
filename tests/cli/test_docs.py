"""README and the docs say what is true: sessions are real output, and what they name exists.

Each section (`## ...`) with ```console blocks is one bash session, begun in a new directory that
holds nothing but `scenarios` and the files that the page's other blocks name in their first line,
by a user without a booted machine. A block's lines are `$ ` and a command, `> ` and a further line
of it, or what a terminal would show next: stdout and stderr together.

`make docs` writes what the commands print and the declarations say into the pages.
"""

import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from pymigrate.scenario.read.loader import load
from pymigrate.scenario.spec import models
from tests.cli import traced
from tests.cli.conftest import ROOT
from tests.cli.readme import CODE, DOCS, PAGES, README, blocks, commands, play, sections, sessions
from tests.cli.tables import filled

PATHS = re.compile(
    r"(?:`|^)((?:scenarios|tests|pymigrate)/[\w./-]*)(?:`| )", re.MULTILINE
)  # code, and lines of a listing
LINK = re.compile(r"\]\(([^)\s]+)\)")
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
ALL = "\n".join(TEXTS.values())
on_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pytest.mark.skipif(
    sys.platform == "win32" or not shutil.which("bash"), reason="the sessions are bash's"
)
@pytest.mark.parametrize(
    ("page", "heading"), list(sessions()), ids=lambda value: getattr(value, "stem", value)
)
def test_sessions_are_real_output(page: Path, heading: str, tmp_path: Path) -> None:
    section = sections(TEXTS[page])[heading]
    shown = blocks(section, "console")
    if missing := _missing(command for block in shown for command in commands(block)):
        pytest.skip(missing)
    assert "\n".join(play(section, tmp_path, TEXTS[page])) == "\n".join(shown)


def _missing(lines: Iterable[str]) -> str:
    """Why commands cannot be run here, or nothing."""
    words = " ".join(lines)
    if "make " in words and not (shutil.which("gcc") and Path("/usr/include/numa.h").exists()):
        return "not installed: gcc, make or libnuma-dev"
    return traced.WHY or "" if re.search(r"\bpymigrate (?:-\S+ )*exec (?!--shims)", words) else ""


@on_each_page
def test_tables_are_as_declared(page: Path) -> None:
    assert filled(TEXTS[page]) == TEXTS[page]


@on_each_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(TEXTS[page]):
        if not link.startswith("https://"):
            name, _, heading = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            assert target.exists(), link
            assert not heading or heading in _anchors(target.read_text(encoding="utf-8")), link


def _anchors(text: str) -> list[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return [re.sub(r"[^\w\s-]", "", line.lower()).replace(" ", "-") for line in headings]


@on_each_page
def test_named_paths_exist(page: Path) -> None:
    for path in PATHS.findall(TEXTS[page]):
        assert (ROOT / path).exists(), path


@on_each_page
def test_each_page_has_a_title(page: Path) -> None:
    assert re.match(r"# .+\n\n", TEXTS[page])


def test_example_scenarios_are_valid(tmp_path: Path) -> None:
    examples = [block for block in blocks(ALL, "yaml") if re.search(r"^machine:", block, re.M)]
    assert len(examples) >= 3
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
    named = set(CODE.findall(TEXTS[DOCS / "scenarios.md"]))
    keys = {field.alias or name for name, field in model.model_fields.items()}
    assert keys <= named


def test_each_make_target_is_one() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([\w-]+)`", ALL)) <= targets


def test_environment_variables_are_those_of_the_code() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "pymigrate").rglob("*.py"))
    name = re.compile(r"\bPYMIGRATE_[A-Z]+\b")
    assert set(name.findall(ALL)) == set(name.findall(code))


def test_readme_is_short() -> None:
    assert TEXTS[README].count("\n") <= 250


def test_accuracy_names_each_group_of_recorded_cases() -> None:
    part = sections(TEXTS[DOCS / "accuracy.md"])["Feature by feature"]
    cases = (ROOT / "tests" / "conformance" / "cases").glob("*.yaml")
    groups = {path.stem.partition("-")[0] for path in cases}
    named = set(CODE.findall(part))
    assert groups <= named


def test_glossary_is_in_order_and_short() -> None:
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", TEXTS[DOCS / "glossary.md"], re.MULTILINE)[2:]
    terms = [term.strip("`").lower().replace("-", " ") for term, _ in rows]
    assert terms == sorted(terms)
    assert len(set(terms)) == len(terms) > 80
    assert not [term for term, meaning in rows if meaning.count(". ") > 1]
