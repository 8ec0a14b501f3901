"""One booted machine in one SQLite file: a command is a transaction."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pymigrate.errors import StoreError
from pymigrate.mm.base.ledger import Entry
from pymigrate.mm.base.runs import RunMap
from pymigrate.mm.state.machine import Machine
from pymigrate.records import NamedTuple
from pymigrate.store.codec import (
    LEDGER,
    MISFITS,
    DamagedError,
    encode_runs,
    entries_of,
    ledger_rows,
    machine_of,
    maps_of,
    rows_of,
    stored_map,
    sum_of_blob,
    sum_of_rows,
)
from pymigrate.store.table import MapKey, Row, Rows
from pymigrate.store.tables import TABLES

T = TypeVar("T")
APPLICATION_ID = 0x4E4D4947  # "NMIG", in the header of the file
SCHEMA_VERSION = 20  # to be raised with every change of codec.TABLES or of a blob
# A view or a virtual table may never end, and a trigger act on its own.
_STRANGE = """
    SELECT 1 FROM sqlite_master
    WHERE type NOT IN ('table', 'index') OR sql LIKE 'CREATE VIRTUAL%' LIMIT 1
"""
_MAGIC = b"SQLite format 3\0"
_ANOTHER = "is not a state file of pymigrate; name another file, or remove it"
_BLANK = "holds no machine; `pymigrate boot` makes one"
# What SQLite's primary error codes mean to a user.
_REASONS = {
    sqlite3.SQLITE_BUSY: "is in use by another command, which has not ended in time; try again",
    sqlite3.SQLITE_LOCKED: "is in use by another command, which has not ended in time; try again",
    sqlite3.SQLITE_PERM: "cannot be opened: permission denied",
    sqlite3.SQLITE_AUTH: "cannot be opened: permission denied",
    sqlite3.SQLITE_READONLY: "cannot be written: the file or its directory is read-only",
    sqlite3.SQLITE_FULL: "cannot be written: the disk is full; nothing was changed",
    sqlite3.SQLITE_TOOBIG: "cannot be written: the machine has grown too large for it",
    sqlite3.SQLITE_NOMEM: "cannot be used: out of memory",
}


def is_state_file(path: str) -> bool:
    """Whether the file's header, as far as it can be read, is one of ours."""
    try:
        with open(path, "rb") as file:
            header = file.read(72)
    except OSError:
        return False
    return header[:16] == _MAGIC and header[68:] == APPLICATION_ID.to_bytes(4, "big")


class Boot(NamedTuple):
    """From what a machine was booted."""

    scenario: str  # absolute path
    fingerprint: str  # of the scenario file
    kernel: str
    version: str  # of pymigrate


class _Known(NamedTuple):
    """What the file holds, as far as this transaction has read or written it."""

    rows: Rows
    maps: dict[MapKey, RunMap[Any]]  # runs of the kind's type; unchanged ones need no writing
    nr_entries: int = 0  # of the machine's ledger, as far as it was read


class Lent(NamedTuple):
    """What was known of a file that others may write to."""

    known: _Known | None
    version: list[Row]  # SQLite's, which changes if another has written


class Store:
    """A state file; all of its methods raise StoreError.

    A rollback journal, not a write-ahead log: at rest there is one file, nothing is left behind
    by a reader, and a command that is killed is undone by the next one. Every commit is synced.
    A reader lets a writer wait before its commit, so it should commit when it has loaded; what
    it looks at later lies in its memory.
    """

    def __init__(self, path: str, wait: float = 60.0, *, anew: bool = False) -> None:
        """Open *path*, or make it; wait up to *wait* seconds for other commands.

        With *anew* the machine will be replaced, so that it may be damaged or of another version.
        """
        self.path, self.wait, self.anew = path, wait, anew
        self._known: _Known | None = None
        self._db = self._connect()
        if anew and self._is_damaged():
            self._db.close()
            self._remove()
            self._db = self._connect()

    def begin(self, write: bool) -> None:
        """Begin a transaction: writers one after the other, readers with what they find now."""
        if write:
            self._run("PRAGMA synchronous = FULL")
            if self._run("PRAGMA page_count") == [(0,)]:
                self._run("PRAGMA auto_vacuum = FULL")  # the file shrinks with its machine
        self._run("BEGIN IMMEDIATE" if write else "BEGIN")
        self._known = None
        self._check_format()

    def booted(self) -> Boot | None:
        """From what the machine was booted; None if there is none."""
        if self._is_blank():
            return None
        rows = self._rows_of_meta()
        self._check_sums({"meta": rows})
        try:
            return _boot_of(rows)
        except MISFITS:
            raise DamagedError(self.path) from None

    def integrity(self) -> list[str]:
        """What SQLite finds wrong with the file, line by line."""
        return [str(line) for (line,) in self._run("PRAGMA integrity_check") if line != "ok"]

    def check_maps(self) -> None:
        """Decode every run map of the machine that was loaded, which else waits for its use."""
        assert self._known is not None, "the transaction has not loaded it"
        for runs in self._known.maps.values():
            assert runs.runs is not None

    def load(self) -> Machine:
        """The machine; its run maps are decoded when they are first looked at."""
        if self._is_blank():
            raise StoreError(_BLANK, self.path)
        rows = {name: self._rows_of(name) for name in TABLES}
        kept = self._run("SELECT kind, owner, sum, data FROM run_map")
        maps: dict[MapKey, RunMap[Any]] = {  # runs of the kind's type
            (kind, owner): stored_map(kind, data, self.path, (owner, sum_))
            for kind, owner, sum_, data in kept
        }
        self._check_sums({"run_map": sorted((row[:2] for row in kept), key=repr), **rows})
        try:
            machine = machine_of(rows, maps)
        except MISFITS:
            raise DamagedError(self.path) from None
        self._known = _Known(rows, maps)
        return machine

    def read_ledger(self, machine: Machine) -> None:
        """Let the ledger of *machine*, which was just loaded, have all of its entries."""
        assert self._known is not None, "the transaction has loaded it"
        rows = self._run(f"SELECT {', '.join(LEDGER)} FROM ledger ORDER BY rowid")
        try:
            machine.ledger.entries = entries_of(rows)
        except MISFITS:
            raise DamagedError(self.path) from None
        if machine.ledger.sums() != machine.counted():
            raise DamagedError(self.path)
        self._known = self._known._replace(nr_entries=len(machine.ledger.entries))

    def save(self, machine: Machine) -> None:
        """Write what has changed in *machine* since this transaction loaded or replaced it."""
        assert self._known is not None, "the transaction has neither loaded nor replaced it"
        self._write(machine, self._known)

    def replace(self, machine: Machine, boot: Boot) -> None:
        """Store a freshly booted *machine* in place of whatever is there."""
        self._drop_tables()
        self._run(f"PRAGMA application_id = {APPLICATION_ID}")
        self._run(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._run(f"CREATE TABLE meta ({', '.join(Boot._fields)})")
        self._run("CREATE TABLE sums (name PRIMARY KEY, sum) WITHOUT ROWID")
        self._run("CREATE TABLE run_map (kind, owner, sum, data, PRIMARY KEY (kind, owner))")
        self._run(f"CREATE TABLE ledger ({', '.join(LEDGER)})")
        for name in TABLES:
            self._run(f"CREATE TABLE {name} ({_columns(name)})")
        self._run("INSERT INTO meta VALUES (?, ?, ?, ?)", _boot_row(boot))
        self._put_sum("meta", self._rows_of_meta())
        for name in (*TABLES, "run_map"):
            self._put_sum(name, [])
        self._write(machine, _Known({name: [] for name in TABLES}, {}))

    def commit(self) -> None:
        """Make all changes of the transaction last."""
        self._run("COMMIT")

    def lend(self) -> Lent:
        """Make all changes last, and let others use the file, until it is taken back."""
        lent = Lent(self._known, self._run("PRAGMA data_version"))
        self.commit()
        return lent

    def take_back(self, lent: Lent) -> bool:
        """Begin to write where lend() has ended; False if another has written meanwhile.

        Then the machine must be loaded anew.
        """
        self.begin(write=True)
        if self._run("PRAGMA data_version") != lent.version:
            return False
        self._known = lent.known
        return True

    def rollback(self) -> None:
        """Forget all changes of the transaction."""
        if self._db.in_transaction:
            self._run("ROLLBACK")

    def close(self) -> None:
        """Close the file; an open transaction is rolled back."""
        self._db.close()

    def _write(self, machine: Machine, known: _Known) -> None:
        rows, maps = rows_of(machine), maps_of(machine)
        for name, new in rows.items():
            if new != known.rows[name]:
                self._run(f"DELETE FROM {name}")
                marks = ", ".join("?" * len(TABLES[name].columns))
                self._run_many(f"INSERT INTO {name} VALUES ({marks})", new)
                self._put_sum(name, self._rows_of(name))
        self._run_many(
            "DELETE FROM run_map WHERE kind = ? AND owner = ?", known.maps.keys() - maps.keys()
        )
        for (kind, owner), runs in maps.items():
            if runs.changed or known.maps.get((kind, owner)) is not runs:
                blob = encode_runs(kind, runs.runs)
                row = (kind, owner, sum_of_blob(kind, owner, blob), blob)
                self._run("INSERT OR REPLACE INTO run_map VALUES (?, ?, ?, ?)", row)
                runs.changed = False
        if maps.keys() != known.maps.keys():
            self._put_sum("run_map", sorted(maps, key=repr))
        machine.ledger.close("other")
        self._append(machine.ledger.entries[known.nr_entries :])
        self._known = _Known(rows, maps, len(machine.ledger.entries))

    def _append(self, entries: list[Entry]) -> None:
        """Add to the ledger what commands have raised; what is there is not read."""
        if entries:
            last = self._run("SELECT number FROM ledger ORDER BY rowid DESC LIMIT 1")
            rows = ledger_rows(entries, last[0][0] if last else 0)
            self._run_many("INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def _rows_of(self, name: str) -> list[Row]:
        return self._run(f"SELECT {_columns(name)} FROM {name} ORDER BY rowid")

    def _rows_of_meta(self) -> list[Row]:
        return self._run(f"SELECT {', '.join(Boot._fields)} FROM meta")

    def _put_sum(self, name: str, rows: list[Row]) -> None:
        self._run("INSERT OR REPLACE INTO sums VALUES (?, ?)", (name, sum_of_rows(rows)))

    def _check_sums(self, read: Rows) -> None:
        """Refuse rows, by their tables, that are not those that were written last."""
        sums: dict[str, int] = dict(self._run("SELECT name, sum FROM sums"))
        if any(sums.get(name) != sum_of_rows(rows) for name, rows in read.items()):
            raise DamagedError(self.path)

    def _drop_tables(self) -> None:
        for (name,) in self._run("SELECT name FROM sqlite_master WHERE type = 'table'"):
            self._run(f"DROP TABLE [{name}]")

    def _check_format(self) -> None:
        """Refuse a file that is not ours, or of another version."""
        [(application,)] = self._run("PRAGMA application_id")
        if application != APPLICATION_ID and not self._is_blank():
            raise StoreError(_ANOTHER, self.path)
        if self._run(_STRANGE) and not self.anew:
            raise DamagedError(self.path)
        [(version,)] = self._run("PRAGMA user_version")
        if self.anew or application != APPLICATION_ID or version == SCHEMA_VERSION:
            return
        if version > SCHEMA_VERSION:
            hint = "a newer pymigrate; upgrade to it, or let `pymigrate boot` start afresh"
        else:
            hint = "an older pymigrate; `pymigrate boot` starts afresh"
        raise StoreError(f"was made by {hint}", self.path)

    def _is_blank(self) -> bool:
        return not self._run("SELECT 1 FROM sqlite_master LIMIT 1")

    def _connect(self) -> sqlite3.Connection:
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            raise StoreError("is not a file; expected a state file of pymigrate", self.path)
        try:
            # An absolute path, for SQLite has files of its own called "" and ":memory:".
            path = os.path.abspath(self.path)
        except OSError as error:  # the current directory is gone
            raise StoreError(f"cannot be opened: {error.strerror}", self.path) from None
        try:
            return sqlite3.connect(path, timeout=self.wait, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise self._explained(error) from None

    def _is_damaged(self) -> bool:
        """Whether the file is ours, and cannot be relied on."""
        if not is_state_file(self.path):
            return False
        try:
            return self._run("PRAGMA quick_check(1)") != [("ok",)] or not self._can_be_emptied()
        except DamagedError:
            return True

    def _can_be_emptied(self) -> bool:
        """Try what replacing will do, for SQLite's check does not look at the names of tables."""
        self._run("BEGIN IMMEDIATE")
        try:
            self._drop_tables()
            return self._is_blank()
        finally:
            self.rollback()

    def _remove(self) -> None:
        """Remove a damaged file. Nobody can use it, so that nobody misses it."""
        try:
            for path in (f"{self.path}-journal", self.path):
                if os.path.exists(path):
                    os.unlink(path)
        except OSError as error:
            raise StoreError(
                f"is damaged and cannot be removed: {error.strerror}", self.path
            ) from None

    def _run(self, sql: str, values: Row = ()) -> list[Row]:
        return self._guarded(lambda: self._db.execute(sql, values).fetchall())

    def _run_many(self, sql: str, rows: Iterable[Row]) -> None:
        self._guarded(lambda: self._db.executemany(sql, rows))

    def _guarded(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except sqlite3.ProgrammingError:
            raise  # a mistake of ours
        except sqlite3.DatabaseError as error:
            raise self._explained(error) from None
        except UnicodeDecodeError:  # SQLite's message quotes what it has found
            raise DamagedError(self.path) from None

    def _explained(self, error: sqlite3.Error) -> StoreError:
        code = _code(error)
        if code in _REASONS:
            return StoreError(_REASONS[code], self.path)
        if code == sqlite3.SQLITE_CANTOPEN:
            return StoreError(f"cannot be opened: {self._obstacle()}", self.path)
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL):
            return StoreError(f"cannot be read or written: {error}", self.path)
        return (
            DamagedError(self.path) if is_state_file(self.path) else StoreError(_ANOTHER, self.path)
        )

    def _obstacle(self) -> str:
        folder = os.path.dirname(os.path.abspath(self.path))
        if not os.path.isdir(folder):
            return f"there is no directory {folder}"
        return "permission denied, to it or its directory"


def _boot_row(boot: Boot) -> Row:
    # A path may be no text: bytes that are not UTF-8 are lone surrogates in it.
    return (boot.scenario.encode("utf-8", "surrogatepass"), *boot[1:])


def _boot_of(rows: list[Row]) -> Boot:
    [(scenario, fingerprint, kernel, version)] = rows
    return Boot(scenario.decode("utf-8", "surrogatepass"), fingerprint, kernel, version)


def _columns(table: str) -> str:
    # In double quotes, a column that is missing would be taken for a text.
    return ", ".join(f"[{name}]" for name in TABLES[table].columns)


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary error code; 0 for what the module finds, such as text that is not UTF-8."""
    return getattr(error, "sqlite_errorcode", 0) & 255
