"""The machine of these tests, and processes on it that run the programs."""

import shlex
from collections.abc import Callable

import pytest

from pymigrate.mm.state.machine import Machine
from pymigrate.tools import programs
from pymigrate.tools.program import Exit
from pymigrate.tools.system import System
from tests.conftest import nodes_with

DISTANCES = ((10, 21, 31, 17), (21, 10, 31, 28), (31, 31, 10, 31), (17, 28, 31, 10))
Run = Callable[..., Exit]


@pytest.fixture
def machine() -> Machine:
    """Nodes 0 to 3, of which 2 has no memory and 3 no CPUs; nothing runs there."""
    return nodes_with(
        *("64MiB", "64MiB", "0", "64MiB"), cpus=("0-2", "3-5", "6-7", ""), distances=DISTANCES
    )


@pytest.fixture
def run(machine: Machine) -> Run:
    """Runs one program as a new process of root's: ``run("numactl -s", NAME="value")``."""

    def run(line: str, **environ: str) -> Exit:
        argv = shlex.split(line)
        system = System(machine, machine.shell_of(0), environ)
        outcome = programs.run(argv, system)
        system.finish()
        return outcome

    return run
