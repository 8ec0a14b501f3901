"""The rows of a comparison side by side, with the best of each column that has one."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from io import StringIO

from pymigrate.comparison.outcome import Outcome
from pymigrate.views.columns import aligned

BEST = "*"  # stands behind the best value


def table(rows: Sequence[Outcome]) -> list[list[str]]:
    """A header, and the cells of each row that has a machine."""
    rows = [row for row in rows if row.wrong is None]
    nodes = sorted({nid for row in rows for nid in row.pages or ()}, key=int)
    done = [row for row in rows if not (row.refused or row.oom_kills)]
    local = _best(max, [row.local for row in done])
    far = _best(min, [row.distance for row in done])
    stayed = _best(min, [row.stayed for row in done])
    time = _best(min, [row.time_us for row in done])
    pause = _best(min, [row.pause_us for row in done])
    head = ["VARIANT", "REFUSED", "OOM", *(f"N{nid}" for nid in nodes)]
    table = [[*head, "LOCAL", "DISTANCE", "STAYED", "TIME/ms", "PAUSE/ms"]]
    for row in rows:
        refused = "-" if row.refused is None else str(row.refused)
        cells = [row.variant, refused, str(row.oom_kills)]
        cells += [str((row.pages or {}).get(nid, 0)) for nid in nodes]
        best = (local, far, stayed, time, pause) if row in done else (None,) * 5
        cells.append(_cell(row.local, best[0], "{:.1%}"))
        cells.append(_cell(row.distance, best[1], "{:.1f}"))
        cells.append(_cell(row.stayed, best[2], "{:.0f}"))
        cells.append(_cell(row.time_us, best[3], "{:.3f}", 1e3))
        cells.append(_cell(row.pause_us, best[4], "{:.3f}", 1e3))
        table.append(cells)
    return table


def format_rows(rows: Sequence[Outcome]) -> str:
    """The table for people, then what has no machine, and why."""
    wrong = "".join(f"{row.variant}: {row.wrong}\n" for row in rows if row.wrong is not None)
    if all(row.wrong is not None for row in rows):
        return wrong
    return "".join(f"{line.rstrip()}\n" for line in aligned(table(rows), {0})) + wrong


def format_csv(rows: Sequence[Outcome]) -> str:
    """Every value of the rows under a header of their names; empty where there is none.

    The pages of node 0 are `N0`; counters stand last, under their names.
    """
    nodes = sorted({nid for row in rows for nid in row.pages or ()}, key=int)
    counters = sorted({name for row in rows for name in row.counters or ()})
    single = [name for name in Outcome._fields if name not in ("pages", "counters")]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*single, *(f"N{nid}" for nid in nodes), *counters])
    for row in rows:
        cells = [getattr(row, name) for name in single]
        writer.writerow([*cells, *_each(row.pages, nodes), *_each(row.counters, counters)])
    return text.getvalue()


def _each(values: Mapping[str, int] | None, names: Sequence[str]) -> list[int | None]:
    """The values of *names*, 0 where one is not listed; nothing at all without a machine."""
    return [None if values is None else values.get(name, 0) for name in names]


def _best(choose: Callable[[list[float]], float], values: Sequence[float | None]) -> float | None:
    """The best of them; None if all are as good."""
    there = [value for value in values if value is not None]
    return choose(there) if len(set(there)) > 1 else None


def _cell(value: float | None, best: float | None, form: str, unit: float = 1) -> str:
    if value is None:
        return "-"
    return form.format(value / unit) + (BEST if value == best else " ")
