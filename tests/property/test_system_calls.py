"""Any system calls in any order: what is true of every machine is true after each of them."""

import pytest
from hypothesis import settings

from tests.conftest import many
from tests.property.system_calls import SystemCalls

TestSystemCalls = SystemCalls.TestCase
TestSystemCalls.settings = settings(max_examples=120, stateful_step_count=25)


@pytest.mark.slow
class TestManySystemCalls(SystemCalls.TestCase):  # type: ignore[misc, name-defined]
    settings = settings(many(1500), stateful_step_count=50)
