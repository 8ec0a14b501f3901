"""The Python of the docs is true: sessions are doctests, and the test files of python.md pass."""

import doctest
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Project
from tests.cli.readme import DOCS, blocks

SECTION = (DOCS / "python.md").read_text(encoding="utf-8")
SESSIONS = {
    path.name: sessions
    for path in sorted(DOCS.glob("*.md"))
    if (
        sessions := [
            block
            for block in blocks(path.read_text(encoding="utf-8"), "python")
            if block.startswith(">>>")
        ]
    )
}
FILES = [block for block in blocks(SECTION, "python") if re.match(r"# test_\w+\.py\n", block)]


@pytest.mark.parametrize("page", SESSIONS)
def test_sessions_print_what_they_say(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "scenarios", tmp_path / "scenarios")
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest("".join(SESSIONS[page]), {}, page, page, 0)
    found: list[str] = []
    results = doctest.DocTestRunner().run(test, out=found.append)
    assert results.failed == 0, "".join(found)
    assert results.attempted > (15 if page == "python.md" else 0)


def test_example_tests_pass(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    assert [Project(tmp_path).run(block).splitlines()[-1][:8] for block in FILES] == ["2 passed"]


def test_all_python_is_run() -> None:
    assert len(SESSIONS["python.md"]) + len(FILES) == len(blocks(SECTION, "python")) == 3
