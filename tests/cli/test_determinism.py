"""The same scenario and the same commands give the same bytes, whatever the hashes of strings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT

SCENARIOS = sorted((ROOT / "scenarios").glob("*.yaml"))
CASES = sorted((ROOT / "tests/conformance/cases").rglob("*.yaml"))[::20]

# Prints what each command line of stdin prints; FILE is a scenario's path.
PROGRAM = """
import sys
from click.testing import CliRunner
from pymigrate.cli.main import cli
for line in sys.stdin:
    result = CliRunner().invoke(cli, line.split())
    print("$", line.strip())
    print(result.exit_code, result.output)
"""


def printed(lines: list[str], seed: str, state: Path) -> str:
    """What command lines print, one after the other, in a process whose hashes follow *seed*."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input="\n".join(lines),
        env={**os.environ, "PYTHONHASHSEED": seed, "PYMIGRATE_STATE": str(state)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


COMMANDS = f"""\
boot {ROOT / "scenarios/two-node.yaml"}
migratepages 4321 0 1 -v
numa_maps 4321
mbind 4321 heap bind:0 --move --json
explain 4321
show
ps --json
vmstat
"""
BALANCING = f"""\
boot {ROOT / "scenarios/numa-balancing.yaml"}
balance --seconds 3 --json
balance --seconds 40 -v
accesses
show
"""


@pytest.mark.parametrize(
    "lines",
    [
        [f"run {path} --json --trace" for path in SCENARIOS],
        [f"run {path} --json --steps" for path in CASES],
        COMMANDS.splitlines(),
        BALANCING.splitlines(),
    ],
    ids=["scenarios' steps", "recorded cases", "commands", "balancing"],
)
def test_same_bytes_twice_and_under_other_hash_seeds(lines: list[str], tmp_path: Path) -> None:
    outputs = [printed(lines, seed, tmp_path / f"{i}.db") for i, seed in enumerate("018")]
    assert outputs[0].count("\n$ ") == len(lines) - 1
    assert outputs == outputs[:1] * len(outputs)
