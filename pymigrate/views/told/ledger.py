"""What has raised each counter: reasons, tasks, or commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, get_args

from pymigrate.mm.base.ledger import Raiser
from pymigrate.mm.base.vmstat import CMA_NAMES, EVENTS, NUMA_EVENTS
from pymigrate.mm.state.machine import Machine
from pymigrate.records import NamedTuple
from pymigrate.views.columns import aligned

By = Literal["reason", "task", "command"]
GROUPINGS: tuple[By, ...] = get_args(By)
NO_OTHER = "call"  # the reason of what a call or command does for no other one


class Share(NamedTuple):
    """How much of a counter's rise is due to one reason, task or command."""

    counter: str
    nr: int
    key: tuple[str | int, ...]  # reason; pid, if it is a process, and task; number and command


class _Part(NamedTuple):
    """What one command has raised of a counter, by one raiser."""

    number: int
    command: str
    raiser: Raiser
    counter: str
    nr: int


def shares(machine: Machine, by: By, since: Mapping[str, int] | None = None) -> list[Share]:
    """The shares of each counter that has risen since it was as *since* says, or since boot.

    They add up to the rise. Counters come in the kernel's order, shares as they began. Raises
    ValueError if *since* is no earlier state of this machine.
    """
    passed = {name: nr for name, nr in (since or {}).items() if nr}
    found: dict[str, dict[tuple[str | int, ...], int]] = {}
    for part in _parts(machine):
        skipped = min(passed.get(part.counter, 0), part.nr)
        if skipped:
            passed[part.counter] -= skipped
        if part.nr > skipped:
            raised = found.setdefault(part.counter, {})
            key = _key(part, by)
            raised[key] = raised.get(key, 0) + part.nr - skipped
    _check(passed, since or {})
    order = {name: place for place, name in enumerate(CMA_NAMES)}
    names = sorted(found, key=lambda name: (order.get(name, len(order)), name))
    return [Share(name, nr, key) for name in names for key, nr in found[name].items()]


def format_rows(rows: list[Share]) -> str:
    """Text for people: a line for each share; a counter is named once."""
    before = ""
    table = []
    for row in rows:
        name = "" if row.counter == before else row.counter
        before = row.counter
        table.append([name, f"+{row.nr}", " ".join(map(str, row.key))])
    return "".join(f"{line.rstrip()}\n" for line in aligned(table, {0, 2}, "  ")) if rows else ""


def as_json(row: Share, by: By) -> dict[str, object]:
    """A share for machines."""
    names = {"reason": ["reason"], "task": ["pid", "task"], "command": ["number", "command"]}[by]
    key = row.key if len(row.key) == len(names) else (None, *row.key)
    return {"counter": row.counter, **dict(zip(names, key, strict=True)), "nr": row.nr}


def _parts(machine: Machine) -> Iterator[_Part]:
    """All that the ledger says, in its order."""
    number = 0
    for entry in machine.ledger.all_entries():
        number += not entry.continues
        for raiser, raised in entry.accounts.items():
            for name, nr in raised.items():
                yield _Part(number, entry.command, raiser, name, nr)


def _key(part: _Part, by: By) -> tuple[str | int, ...]:
    if by == "reason":
        return (part.raiser.reason or NO_OTHER,)
    if by == "task":
        return (part.raiser.pid, part.raiser.task) if part.raiser.pid else (part.raiser.task,)
    return part.number, part.command


def _check(left: Mapping[str, int], since: Mapping[str, int]) -> None:
    """*left*: by how much the counters are less than *since* says; those of gauges may be."""
    for name in (*EVENTS, *NUMA_EVENTS):
        if left.get(name):
            was = since[name]
            raise ValueError(f"{name} was {was} and is {was - left[name]}: no earlier state of it")
