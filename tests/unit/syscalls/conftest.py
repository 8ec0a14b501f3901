"""Small nodes, which are soon full."""

import pytest

from pymigrate.mm.state.machine import Machine
from tests.conftest import two_nodes


@pytest.fixture
def machine() -> Machine:
    return two_nodes("4MiB")
