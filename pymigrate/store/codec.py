"""The machine as rows and blobs, and back.

A type with a few fields is a table of a row for each value, see table.py and tables.py. A run map
is a blob, see KINDS. The ledger grows, and is only read where somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from zlib import crc32

from pymigrate.errors import StoreError
from pymigrate.mm.base.ledger import Entry, Raiser
from pymigrate.mm.base.runs import RunMap
from pymigrate.mm.state.machine import Machine
from pymigrate.store.blobs import KINDS
from pymigrate.store.table import COUNTERS, MapKey, Maps, Row, Rows
from pymigrate.store.tables import TABLES

# Of the table of the ledger, which has a row for each who has raised counters in each command.
LEDGER = "number command task pid reason counters sum".split()
# What reading raises where something else stands than was once written.
MISFITS = (ValueError, TypeError, LookupError, AttributeError)


class DamagedError(StoreError):
    """A file does not hold what was once written."""

    def __init__(self, path: str) -> None:
        super().__init__("is damaged; `pymigrate boot` starts afresh", path)


def stored_map(
    kind: str, blob: bytes, path: str = "", known: tuple[int, int] | None = None
) -> RunMap[Any]:  # runs of the kind's type
    """The run map of a blob, which is decoded when it is first looked at.

    *known* is whose it is, and the sum that sum_of_blob() gave.
    """
    return RunMap(load=lambda: decode_runs(kind, blob, path, known))


def sum_of_blob(kind: str, owner: int, blob: bytes) -> int:
    """A checksum of a blob, and of what it is."""
    return crc32(blob, crc32(f"{kind} {owner}".encode()))


def sum_of_rows(rows: list[Row]) -> int:
    """A checksum of rows as they are read, and of their order."""
    return crc32(repr(rows).encode("utf-8", "surrogatepass"))


def rows_of(machine: Machine) -> Rows:
    """All of *machine* but its run maps."""
    return {name: table.rows(machine) for name, table in TABLES.items()}


def maps_of(machine: Machine) -> dict[MapKey, RunMap[Any]]:
    """The run maps of *machine*."""
    maps = {key: runs for table in TABLES.values() for key, runs in table.maps_of(machine)}
    return maps | {("stable_tree", 0): machine.stable_tree.pages}


def machine_of(rows: Rows, maps: Maps) -> Machine:
    """The machine with those *rows* and *maps*.

    Raises one of MISFITS if they make no machine.
    """
    [_] = rows["machine"]  # one, or else it is damaged
    machine = Machine()
    machine.stable_tree.pages = maps["stable_tree", 0]
    for name, table in TABLES.items():
        for value, *keys in table.read(rows[name], maps):
            table.put(machine, value, *keys)
    machine.open_ledger()
    return machine


def copy_machine(machine: Machine) -> Machine:
    """Another machine in the same state; what is not kept on disk it does not have either."""
    maps: Maps = {
        key: stored_map(key[0], encode_runs(key[0], runs.runs))
        for key, runs in maps_of(machine).items()
    }
    copy = machine_of(rows_of(machine), maps)
    copy.open_ledger(machine.ledger.all_entries())
    return copy


def encode_runs(kind: str, runs: list[Any]) -> bytes:  # runs of the kind's type
    """The blob of a run map."""
    blob: bytes = KINDS[kind].write(runs)
    return blob


def decode_runs(
    kind: str, blob: bytes, path: str = "", known: tuple[int, int] | None = None
) -> list[Any]:  # runs of the kind's type
    """The runs of a blob. Raises DamagedError, which names *path*; see stored_map()."""
    try:
        if known and sum_of_blob(kind, known[0], blob) != known[1]:
            raise DamagedError(path)
        runs: list[Any] = KINDS[kind].read(blob)
        return runs
    except MISFITS:
        raise DamagedError(path) from None


def ledger_rows(entries: Iterable[Entry], last: int) -> Iterator[Row]:
    """The rows of *entries*, which follow that of number *last*."""
    number = last
    for entry in entries:
        number += not entry.continues
        for raiser, raised in entry.accounts.items():
            name = _encodable(raiser.task)
            who = name, raiser.pid, raiser.reason
            row = (number, _encodable(entry.command), *who, COUNTERS.write(raised))
            yield (*row, sum_of_rows([row]))


def entries_of(rows: Iterable[Row]) -> list[Entry]:
    """The entries that *rows* stand for, in their order. Raises one of MISFITS."""
    found: list[Entry] = []
    before = 0
    for *row, known in rows:
        number, command, task, pid, reason, counters = row
        if sum_of_rows([tuple(row)]) != known:
            raise ValueError("a row is not what was once written")
        if number != before or Raiser(task, pid, reason) in found[-1].accounts:
            found.append(Entry(command, {}, continues=number == before))
        found[-1].accounts[Raiser(task, pid, reason)] = COUNTERS.read(counters)
        before = number
    return found


def _encodable(text: str) -> str:
    """*text*, which need not be UTF-8, as one that is."""
    return text.encode("utf-8", "backslashreplace").decode()
