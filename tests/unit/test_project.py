"""pyproject.toml, the lock and the changelog agree with each other and with the package."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import pymigrate

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REQUIREMENTS = [
    *SETTINGS["build-system"]["requires"],
    *SETTINGS["project"]["dependencies"],
    *(
        need
        for name, extra in SETTINGS["project"]["optional-dependencies"].items()
        for need in extra
        if name != "dask"  # which `make test-newest` alone installs
    ),
]
LOCK = (ROOT / "tests" / "constraints.txt").read_text(encoding="utf-8").splitlines()
PINNED = {
    canonicalize_name(name): version
    for name, _, version in (line.partition("==") for line in LOCK if not line.startswith("#"))
}


@pytest.mark.parametrize("text", REQUIREMENTS)
def test_a_requirement_is_a_lowest_version_and_the_lock_has_one_of_those(text: str) -> None:
    assert re.fullmatch(r"[\w-]+>=[\d.]+", text)  # so that `make test-oldest` can take it
    requirement = Requirement(text)
    assert requirement.specifier.contains(PINNED[canonicalize_name(requirement.name)])


def test_the_lock_holds_names_and_versions_alone() -> None:
    assert [line for line in LOCK if not re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line)] == []


def test_the_changelog_has_a_section_for_the_version() -> None:
    headings = re.findall("^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(re.escape(pymigrate.__version__) + r" - \d{4}-\d\d-\d\d", headings[1])


def test_nothing_else_lies_at_the_top() -> None:
    if not (shutil.which("git") and (ROOT / ".git").exists()):
        pytest.skip("this is no clone of the repository")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    there = {path.partition("/")[0] for path in listed.stdout.splitlines()}
    agreed = "CHANGELOG.md LICENSE Makefile README.md pymigrate pyproject.toml scenarios tests"
    assert {name for name in there if not name.startswith(".")} == set(agreed.split())
