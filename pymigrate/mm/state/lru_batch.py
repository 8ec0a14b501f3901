"""A CPU's batch of frames on their way to the LRU lists."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class LruBatch:
    """Frames that one CPU has faulted in and not yet put on a list, oldest first.

    They hold a reference, and under the multi-generational LRU they count as active. Mlocked
    ones wait apart; those count as unevictable only once they are on their list.
    """

    waiting: list[int] = field(default_factory=list)
    mlocked: list[int] = field(default_factory=list)
