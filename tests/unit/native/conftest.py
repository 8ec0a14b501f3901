"""A world with one process: this one, which nobody traces."""

import os
import sys
from pathlib import Path

import pytest

from pymigrate.mm.state.machine import Machine
from tests.conftest import two_nodes

if sys.platform == "linux":
    from pymigrate.native.tracee import Thread
    from pymigrate.native.world import World

    @pytest.fixture
    def machine() -> Machine:
        machine = two_nodes("8GiB")  # a test run may have grown
        machine.next_pid = os.getpid() + 1  # it gives numbers above those of real processes
        return machine

    @pytest.fixture
    def said() -> list[str]:
        return []

    @pytest.fixture
    def world(machine: Machine, tmp_path: Path, said: list[str]) -> World:
        return World(machine, str(tmp_path / "root"), said.append)

    @pytest.fixture
    def thread(world: World) -> Thread:
        return world.begin(os.getpid(), "python")
