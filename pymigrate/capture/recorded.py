"""What is taken of recorded accesses, whoever recorded them."""

from __future__ import annotations

from pymigrate.errors import ScenarioError
from pymigrate.records import NamedTuple


class Seen(NamedTuple):
    """Accesses to the addresses [start, end), evenly; of a process, or (0) of the only one."""

    pid: int
    start: int
    end: int
    nr: float
    is_store: bool = False


class Heat(NamedTuple):
    """What was recorded in so many *seconds*."""

    seen: list[Seen]
    seconds: float
    notes: list[str]


def asked(seconds: float | None, path: str) -> float:
    """For how long the file at *path*, which does not say it, was recorded.

    Raises ScenarioError if nobody has said it.
    """
    if seconds is None:
        raise ScenarioError("does not tell how long it was recorded; add --heat-time SECONDS", path)
    return seconds
