"""How tasks use their memory, as far as it was declared: so many accesses a second to a region."""

from __future__ import annotations

from typing import NamedTuple

from pymigrate.units import PAGE_SHIFT


class AccessPattern(NamedTuple):
    """Accesses of a task to a region of its memory, evenly over its pages but for the hot ones."""

    region: str  # what the task calls it
    rate: float  # accesses a second
    writes: float = 0.0  # the share of them that are stores
    hot: float = 0.0  # the share of the region's pages that is hot
    hot_rate: float = 0.0  # the share of the accesses that goes to the hot pages
    hot_at: int = 0  # bytes: where in the region they begin


class Accessed(NamedTuple):
    """Pages [start, end), which get *rate* accesses a second in all."""

    start: int
    end: int
    rate: float


def accessed(pattern: AccessPattern, start: int, nr: int) -> list[Accessed]:
    """The parts of a region of *nr* pages from *start*, as *pattern* accesses them."""
    nr_hot = min(max(round(pattern.hot * nr), 1), nr) if pattern.hot else 0
    if not nr_hot or nr_hot == nr:
        return [Accessed(start, start + nr, pattern.rate)]
    first = start + min(pattern.hot_at >> PAGE_SHIFT, nr - nr_hot)
    cold = pattern.rate * (1 - pattern.hot_rate) / (nr - nr_hot)
    parts = [
        Accessed(start, first, cold * (first - start)),
        Accessed(first, first + nr_hot, pattern.rate * pattern.hot_rate),
        Accessed(first + nr_hot, start + nr, cold * (start + nr - first - nr_hot)),
    ]
    return [part for part in parts if part.end > part.start]
