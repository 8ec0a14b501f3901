"""Nodes with NUMA balancing."""

import pytest

from pymigrate.mm.state.machine import Machine
from tests.conftest import balancing_nodes


@pytest.fixture
def machine() -> Machine:
    return balancing_nodes()
