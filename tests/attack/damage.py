"""State files as faults of disks, programs and people leave them."""

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from random import Random

PAGE = 4096  # of SQLite
ODD = (None, "", "x", "1", "0 0", -1, 0, 1, 7, 2.5, 1 << 40, (1 << 63) - 1, b"", b"\0", "-1", "ff")


def damage(path: Path, random: Random) -> str:
    """Damage the state file *path* somehow; says how."""
    how = random.choice(_WAYS)
    before = path.read_bytes()
    for _ in range(100):
        with suppress(sqlite3.Error, IndexError):
            how(path, random)
        if path.read_bytes() != before:
            break
    return how.__name__


def _rewritten(change: Callable[[bytearray, Random], None]) -> Callable[[Path, Random], None]:
    def way(path: Path, random: Random) -> None:
        content = bytearray(path.read_bytes())
        change(content, random)
        path.write_bytes(content)

    way.__name__ = change.__name__
    return way


@_rewritten
def flip_bits(content: bytearray, random: Random) -> None:
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)


@_rewritten
def zero(content: bytearray, random: Random) -> None:
    start, nr = random.randrange(len(content)), random.choice((1, 4, 64, 512, PAGE))
    content[start : start + nr] = bytes(len(content[start : start + nr]))


@_rewritten
def overwrite(content: bytearray, random: Random) -> None:
    start, nr = random.randrange(len(content)), random.choice((1, 4, 64, 512))
    content[start : start + nr] = random.randbytes(len(content[start : start + nr]))


@_rewritten
def swap_pages(content: bytearray, random: Random) -> None:
    a, b = (random.randrange(len(content) // PAGE) * PAGE for _ in range(2))
    content[a : a + PAGE], content[b : b + PAGE] = content[b : b + PAGE], content[a : a + PAGE]


@_rewritten
def swap_bytes(content: bytearray, random: Random) -> None:
    a = random.randrange(len(content) - 1)
    content[a : a + 2] = content[a : a + 2][::-1]


@_rewritten
def truncate(content: bytearray, random: Random) -> None:
    del content[random.choice((0, random.randrange(len(content)), len(content) - PAGE)) :]


def _statement(
    write: Callable[[sqlite3.Connection, Random], None],
) -> Callable[[Path, Random], None]:
    def way(path: Path, random: Random) -> None:
        with closing(sqlite3.connect(path)) as database, database:
            write(database, random)

    way.__name__ = write.__name__
    return way


def _filled(database: sqlite3.Connection, random: Random) -> str:
    """A table that has rows."""
    names = [
        row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE sql NOT NULL")
    ]
    return random.choice(
        [name for name in names if database.execute(f"SELECT 1 FROM [{name}]").fetchone()]
    )


def _column(database: sqlite3.Connection, table: str, random: Random) -> str:
    return random.choice([row[1] for row in database.execute(f"PRAGMA table_info([{table}])")])


@_statement
def set_value(database: sqlite3.Connection, random: Random) -> None:
    table = _filled(database, random)
    column, one = _column(database, table, random), random.random() < 0.5
    where = f"WHERE rowid = (SELECT min(rowid) FROM [{table}])" if one and table != "sums" else ""
    database.execute(f"UPDATE [{table}] SET [{column}] = ? {where}", (random.choice(ODD),))


@_statement
def add_to_number(database: sqlite3.Connection, random: Random) -> None:
    table = _filled(database, random)
    column = _column(database, table, random)
    database.execute(
        f"UPDATE [{table}] SET [{column}] = [{column}] + {random.choice((-1, 1, 512))}"
    )


@_statement
def swap_values(database: sqlite3.Connection, random: Random) -> None:
    table = _filled(database, random)
    column = _column(database, table, random)
    rows = database.execute(f"SELECT rowid, [{column}] FROM [{table}]").fetchall()
    (a, one), (b, other) = random.sample(rows, 2) if len(rows) > 1 else (rows[0], rows[0])
    for row, value in ((a, other), (b, one)):
        database.execute(f"UPDATE [{table}] SET [{column}] = ? WHERE rowid = ?", (value, row))


@_statement
def delete_row(database: sqlite3.Connection, random: Random) -> None:
    table = _filled(database, random)
    key = "name" if table == "sums" else "rowid"
    database.execute(f"DELETE FROM [{table}] WHERE {key} = (SELECT max({key}) FROM [{table}])")


@_statement
def repeat_row(database: sqlite3.Connection, random: Random) -> None:
    table = _filled(database, random)
    database.execute(f"INSERT INTO [{table}] SELECT * FROM [{table}] LIMIT 1")


@_statement
def spoil_blob(database: sqlite3.Connection, random: Random) -> None:
    rows = database.execute("SELECT rowid, data FROM run_map").fetchall()
    row, data = random.choice(rows)
    spoilt = bytearray(data)
    spoilt[random.randrange(len(spoilt))] ^= 1 << random.randrange(8)
    database.execute("UPDATE run_map SET data = ? WHERE rowid = ?", (bytes(spoilt), row))


@_statement
def swap_blobs(database: sqlite3.Connection, random: Random) -> None:
    rows = database.execute("SELECT rowid, sum, data FROM run_map").fetchall()
    (a, *one), (b, *other) = random.sample(rows, 2)
    for row, values in ((a, other), (b, one)):
        database.execute("UPDATE run_map SET sum = ?, data = ? WHERE rowid = ?", (*values, row))


@_statement
def change_schema(database: sqlite3.Connection, random: Random) -> None:
    table = _filled(database, random)
    column = _column(database, table, random)
    database.execute(
        random.choice(
            (
                f"DROP TABLE [{table}]",
                f"ALTER TABLE [{table}] RENAME COLUMN [{column}] TO other",
                f"ALTER TABLE [{table}] RENAME TO other",
                f"ALTER TABLE [{table}] DROP COLUMN [{column}]",
                f"CREATE VIEW other AS SELECT * FROM [{table}]",
                f"CREATE TRIGGER other AFTER DELETE ON [{table}] BEGIN DELETE FROM meta; END",
                f"PRAGMA user_version = {random.choice((0, -1, 2, 99))}",
                f"PRAGMA application_id = {random.choice((0, 1))}",
            )
        )
    )


_WAYS = (
    flip_bits,
    zero,
    overwrite,
    swap_pages,
    swap_bytes,
    truncate,
    set_value,
    set_value,
    add_to_number,
    swap_values,
    delete_row,
    repeat_row,
    spoil_blob,
    swap_blobs,
    change_schema,
)
