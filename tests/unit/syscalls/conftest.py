"""Small nodes, which are soon full."""

from collections.abc import Callable
from typing import Any

import pytest

from pymigrate.errors import KernelError
from pymigrate.mm.state.machine import Machine
from tests.conftest import two_nodes


@pytest.fixture
def machine() -> Machine:
    return two_nodes("4MiB")


def outcome(call: Callable[..., object], *args: Any) -> object:
    """What *call* answers, or the errno that it fails with."""
    try:
        return call(*args)
    except KernelError as error:
        return error.name
