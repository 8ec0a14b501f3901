"""All variants, on whatever executes them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed

from pymigrate.compare.outcome import Outcome, outcome
from pymigrate.compare.variants import Variant


def outcomes(
    texts: Mapping[str, str],
    variants: Sequence[Variant],
    executor: Executor | None = None,
    done: Collection[str] = (),
) -> Iterator[Outcome]:
    """The row of each variant but for those whose names are *done*, as they come to be.

    *texts* are those of the scenarios that variants name. With an *executor* of
    `concurrent.futures`' interface they come in any order.
    """
    left = [variant for variant in variants if variant.name not in done]
    if executor is None:
        for variant in left:
            yield outcome(texts[variant.scenario], variant)
        return
    futures = [executor.submit(outcome, texts[each.scenario], each) for each in left]
    for future in as_completed(futures):
        yield future.result()
