"""What a step answers."""

from typing import Any

Record = dict[str, Any]  # as JSON has it


def done(ret: int = 0) -> Record:
    """The answer of a call that gives *ret*."""
    return {"ret": ret, "errno": None}


def runs(values: list[int | None]) -> list[list[int | None]]:
    """*values* as [how often, value]."""
    out: list[list[Any]] = []
    for value in values:
        if out and out[-1][1] == value:
            out[-1][0] += 1
        else:
            out.append([1, value])
    return out
