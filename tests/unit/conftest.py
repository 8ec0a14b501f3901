"""The machine and the task of a unit test; a folder or a test file may have another machine."""

import pytest

from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from tests.conftest import new_task, two_nodes


@pytest.fixture
def machine() -> Machine:
    return two_nodes()


@pytest.fixture
def task(machine: Machine) -> Task:
    return new_task(machine)
