"""README's Python and its step of a workflow work; the sessions are test_docs.py's.

Run as a program (`make docs`) it writes what the commands print, and the declarations say, into
README and the docs; read the difference before you commit it.
"""

import tempfile
from pathlib import Path

import pytest
import yaml

from tests.cli import traced
from tests.cli.conftest import Project, Shell
from tests.cli.readme import PAGES, README, blocks, commands, played
from tests.cli.tables import filled

TEXT = README.read_text(encoding="utf-8")


def test_its_tests_pass(project: Project) -> None:
    [test] = blocks(TEXT, "python")
    assert project.run(test).splitlines()[-1].startswith("2 passed")


@pytest.mark.skipif(bool(traced.WHY), reason=traced.WHY or "")
def test_its_step_of_a_workflow_passes(unbooted: Shell) -> None:
    [script] = [c for block in blocks(TEXT, "console") for c in commands(block) if "<<'END'" in c]
    unbooted.write("rebalance.sh", script.split("\n", 1)[1].removesuffix("END\n"))
    [steps] = [yaml.safe_load(block) for block in blocks(TEXT, "yaml")]
    for step in steps:
        program, _, line = step["run"].partition(" ")
        assert program == "pymigrate"
        assert unbooted.spawn(line, env=unbooted.environment(PYMIGRATE_SCENARIO="")).exit == 0


if __name__ == "__main__":
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            page.write_text(filled(played(before, Path(folder))), encoding="utf-8")
