"""Reasons why frames stayed."""

import pytest

from pymigrate.mm.base.why import Stay, Why, merged

HELD, FULL = Why.HELD, Why.FULL


@pytest.mark.parametrize(
    ("stays", "expected"),
    [
        ([(8, 2, HELD), (4, 4, HELD)], [(4, 6, HELD)]),
        ([(4, 4, HELD), (9, 2, HELD)], [(4, 4, HELD), (9, 2, HELD)]),
        ([(4, 4, HELD), (8, 2, FULL)], [(4, 4, HELD), (8, 2, FULL)]),
        ([(4, 4, HELD), (6, 4, FULL)], [(4, 4, HELD), (8, 2, FULL)]),
        ([(4, 8, HELD), (6, 2, FULL)], [(4, 8, HELD)]),
        ([(4, 4, HELD), (4, 4, HELD)], [(4, 4, HELD)]),
        ([(0, 1, HELD)], [(0, 1, HELD)]),
    ],
    ids=["neighbours", "a gap", "other reason", "overlap", "inside", "twice", "frame 0"],
)
def test_each_frame_is_there_once_in_as_few_runs_as_may_be(
    stays: list[tuple[int, int, Why]], expected: list[tuple[int, int, Why]]
) -> None:
    assert merged(Stay(*stay) for stay in stays) == expected
