"""Frames by themselves: what nobody maps or owns is no sound machine."""

import pytest


@pytest.fixture(autouse=True)
def _is_sound_afterwards() -> None:
    """Nothing is asked."""
