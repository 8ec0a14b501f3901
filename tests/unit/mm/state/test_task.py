"""How declared accesses spread over the pages of a region."""

import pytest

from pymigrate.mm.state.task import AccessPattern, accessed


@pytest.mark.parametrize(
    ("hot", "hot_rate", "hot_at", "parts"),
    [
        (0, 0.9, 0, [(100, 110, 1000)]),
        (1, 0.9, 0, [(100, 110, 1000)]),
        (0.01, 0.9, 0, [(100, 101, 900), (101, 110, 100)]),
        (0.2, 0.5, 8191, [(100, 101, 62.5), (101, 103, 500), (103, 110, 437.5)]),
        (0.2, 0.5, 1 << 30, [(100, 108, 500), (108, 110, 500)]),
    ],
    ids=["even", "all hot", "a page at least", "in the middle", "at the end"],
)
def test_accesses_go_to_the_hot_pages_of_a_region_and_to_the_others(
    hot: float, hot_rate: float, hot_at: int, parts: list[tuple[int, int, float]]
) -> None:
    pattern = AccessPattern("heap", 1000, 0, hot, hot_rate, hot_at)
    found = accessed(pattern, 100, 10)
    assert [(a, b) for a, b, _ in found] == [(a, b) for a, b, _ in parts]
    assert [rate for *_, rate in found] == pytest.approx([rate for *_, rate in parts])
