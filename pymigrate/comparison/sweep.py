"""All variants, on whatever executes them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from types import MappingProxyType

from pymigrate.comparison.outcome import Outcome, Planned, outcome
from pymigrate.comparison.variants import Variant


def outcomes(
    texts: Mapping[str, str],
    variants: Sequence[Variant],
    executor: Executor | None = None,
    done: Collection[str] = (),
    plans: Mapping[str, Planned] = MappingProxyType({}),
) -> Iterator[Outcome]:
    """The row of each variant but for those whose names are *done*, as they come to be.

    *texts* and *plans* are those of the scenarios and the plans that variants name. With an
    *executor* of `concurrent.futures`' interface they come in any order, and all work is handed out
    at once.
    """
    works = [
        (texts[variant.scenario], variant, plans.get(variant.plan))
        for variant in variants
        if variant.name not in done
    ]
    if executor is None:
        return (outcome(*work) for work in works)
    futures = [executor.submit(outcome, *work) for work in works]
    return (future.result() for future in as_completed(futures))
