"""The example of a project, docs/testing.md, is true: it builds, and and its tests pass."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import ROOT, Project
from tests.cli.readme import DOCS, blocks, play
from tests.cli.traced import WHY

TEXT = (DOCS / "testing.md").read_text(encoding="utf-8")
NEEDS = ["gcc", "make", "bash"]
MISSING = [name for name in NEEDS if not shutil.which(name)]
if not Path("/usr/include/numa.h").exists():
    MISSING.append("libnuma-dev")
REASON = WHY or f"not installed: {', '.join(MISSING)}"
can_run = pytest.mark.skipif(bool(WHY or MISSING), reason=REASON)


@can_run
def test_workflow_passes(tmp_path: Path, project: Project) -> None:
    play("".join(f"```{kind}\n{body}```\n" for kind, body in files()), tmp_path)
    [workflow] = [yaml.safe_load(text) for text in blocks(TEXT, "yaml")]
    runs = [step["run"] for step in workflow["jobs"]["test"]["steps"] if "run" in step]
    assert [run.split()[0] for run in runs] == ["sudo", "pip", "make", "python"]
    subprocess.run(["sh", "-c", runs[2]], cwd=tmp_path, check=True)
    assert runs[3] == "python -m pytest"
    path = tmp_path / "test_buffers.py"
    test = path.read_text()
    path.unlink()
    assert project.run(test).splitlines()[-1].startswith("3 passed")


def files() -> list[tuple[str, str]]:
    return [(kind, body) for kind in ("c", "make", "python") for body in blocks(TEXT, kind)]


def test_it_is_what_the_package_brings() -> None:
    assert "pip install pymigrate-numa pytest" in TEXT
    assert "pymigrate.pytest_plugin" in (ROOT / "pyproject.toml").read_text()
