"""Whatever is typed: an answer or a line that says what is wrong, and a state that is sound."""

import json
import shutil
from pathlib import Path
from random import Random

import pytest

from tests.attack.command_lines import command_line
from tests.attack.conftest import Run, TooLongError

MACHINES = ("two-node", "fork-server", "fragmented-zone", "taking-memory-away", "cxl-tiers")
EXIT_CODES = {0, 1, 2, 3, 4}


def check(run: Run, folder: Path, first: int, last: int) -> None:
    """Run command lines of those seeds on one machine."""
    state = folder / "state.db"
    for each in folder.iterdir():  # what lines of others have written may bear a scenario's name
        shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
    (folder / "machine.yaml").write_text("machine: {nodes: {0: {cpus: '0', memory: 16MiB}}}\n")
    assert run(["boot", MACHINES[first % len(MACHINES)]]).exit == 0
    for seed in range(first, last):
        line = command_line(Random(seed))
        where = f"seed {seed}: {line}"
        before = state.read_bytes()
        try:
            answer = run(line)
        except (Exception, TooLongError) as error:
            raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error
        assert answer.exit in EXIT_CODES, f"{where}: {answer}"
        if answer.exit in (2, 3):
            assert answer.stderr, where
            if "--json" in line:
                assert answer.stdout == "" or json.loads(answer.stdout), where
            else:
                assert answer.stdout == "", f"{where}: {answer}"
            assert state.read_bytes() == before, where
    answer = run("doctor")
    assert answer.exit == 0, f"seeds {first} to {last}: {answer}"


def test_a_few_command_lines(run: Run, tmp_path: Path) -> None:
    for first in range(0, 150, 50):
        check(run, tmp_path, first, first + 50)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 20_000, 1000))
def test_many_command_lines(run: Run, tmp_path: Path, first: int) -> None:
    for start in range(first, first + 1000, 50):
        check(run, tmp_path, start, start + 50)
