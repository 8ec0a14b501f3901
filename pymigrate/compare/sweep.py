"""All variants, on whatever executes them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor, as_completed

from pymigrate.compare.outcome import Outcome, outcome
from pymigrate.compare.variants import Variant


def outcomes(
    text: str,
    variants: Sequence[Variant],
    executor: Executor | None = None,
    done: Collection[str] = (),
) -> Iterator[Outcome]:
    """The row of each variant but for those whose names are *done*, as they come to be.

    With an *executor* of `concurrent.futures`' interface they come in any order.
    """
    left = [variant for variant in variants if variant.name not in done]
    if executor is None:
        for variant in left:
            yield outcome(text, variant)
        return
    for future in as_completed([executor.submit(outcome, text, variant) for variant in left]):
        yield future.result()
