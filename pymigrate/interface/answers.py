"""The shapes that answers have in common."""

from collections.abc import Sequence


def runs(values: Sequence[int | None]) -> list[list[int | None]]:
    """*values* as runs [how often, value]."""
    out: list[list[int | None]] = []
    last, nr = None, 0
    for value in values:
        if nr and value == last:
            nr += 1
            out[-1][0] = nr
        else:
            last, nr = value, 1
            out.append([1, value])
    return out
