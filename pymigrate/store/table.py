"""How a type with a few fields is kept as rows of a table, and small values as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pymigrate.mm.base.vmstat import Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pymigrate.mm.base.runs import RunMap
    from pymigrate.mm.state.machine import Machine

    Row = tuple[Any, ...]  # ints, texts, bytes and None, by the table's columns
    Rows = dict[str, list[Row]]  # of each table, in the order of the machine
    MapKey = tuple[str, int]  # kind of the run map, and what its owner is called
    Maps = Mapping[MapKey, RunMap[Any]]  # runs of the kind's type


class Table(NamedTuple):
    """How one type is kept: the order of its rows is that of the machine."""

    columns: str
    rows: Callable[[Machine], list[Row]]
    read: Callable[[Machine, Iterable[Row], Maps], None]


def text_of(numbers: Iterable[int]) -> str:
    """The *numbers* as one text."""
    return " ".join(map(str, numbers))


def ints_of(text: str) -> list[int]:
    """The numbers of a text."""
    return [int(word) for word in text.split()]


def pairs_of(text: str) -> dict[int, int]:
    """The numbers of a text, keys and values by turns."""
    numbers = iter(ints_of(text))
    return dict(zip(numbers, numbers, strict=True))


def counters_text(counters: Counters) -> str:
    """The *counters* as one text."""
    return " ".join([f"{name} {nr}" for name, nr in counters.items()])


def counters_of(text: str) -> Counters:
    """The counters of a text."""
    words = iter(text.split())
    return Counters(zip(words, map(int, words), strict=True))
