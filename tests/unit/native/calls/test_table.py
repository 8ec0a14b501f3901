import sys

import pytest

if sys.platform != "linux":
    pytest.skip("calls of Linux", allow_module_level=True)

from pymigrate.native import abi
from pymigrate.native.calls.table import HANDLERS


@pytest.mark.parametrize("name", abi.CALLS)
def test_each_call_has_a_handler(name: str) -> None:
    assert callable(HANDLERS[abi.CALLS[name]])
