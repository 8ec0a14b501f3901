"""README's Python is true too: its sessions are doctests, and its test files pass."""

import doctest
import re
import shutil
from pathlib import Path

import pytest

from pymigrate import Machine
from tests.cli.conftest import ROOT, Project
from tests.cli.readme import CODE, SECTIONS, blocks

SECTION = SECTIONS["Python"]
SESSIONS = [block for block in blocks(SECTION, "python") if block.startswith(">>>")]
FILES = [block for block in blocks(SECTION, "python") if re.match(r"# test_\w+\.py\n", block)]


def test_sessions_print_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "scenarios", tmp_path / "scenarios")
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest("".join(SESSIONS), {}, "README", "README.md", 0)
    found: list[str] = []
    results = doctest.DocTestRunner().run(test, out=found.append)
    assert results.failed == 0, "".join(found)
    assert results.attempted > 15


def test_example_tests_pass(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    assert [Project(tmp_path).run(block).splitlines()[-1][:8] for block in FILES] == ["2 passed"]


def test_all_python_is_run() -> None:
    assert len(SESSIONS) + len(FILES) == len(blocks(SECTION, "python")) == 3


def test_each_method_is_named() -> None:
    public = {name for name in vars(Machine) if not name.startswith("_")}
    assert public <= set(CODE.findall(SECTION))
