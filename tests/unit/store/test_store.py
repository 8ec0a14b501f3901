"""One file, one transaction for a command, and one clear line for whatever is wrong with it."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pymigrate.errors import StoreError
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.runs import RunMap
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.store.store import APPLICATION_ID, Store
from pymigrate.syscalls.mempolicy import mbind
from pymigrate.syscalls.process import exit_task, fork, touch
from pymigrate.uapi import MPOL
from pymigrate.units import parse_size
from tests.conftest import mapped, new_task, nodes_with, touched, two_nodes
from tests.unit.store.conftest import BOOT, booted, error_of, full_machine, loaded, plain

ROOT = Path(__file__).parents[3]
ANOTHER = "is not a state file of pymigrate; name another file, or remove it"
DAMAGED = "is damaged; `pymigrate boot` starts afresh"


@pytest.fixture
def open_store(path: str) -> Iterator[Callable[..., Store]]:
    """Opens stores on *path*, with little patience, which are closed afterwards."""
    stores = []

    def opened(wait: float = 0.05, anew: bool = False) -> Store:
        stores.append(Store(path, wait, anew=anew))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def writer(path: str, open_store: Callable[..., Store]) -> Store:
    """A store on a file with a machine, in a transaction that may write."""
    booted(path)
    store = open_store()
    store.begin(write=True)
    return store


def first_task(machine: Machine) -> Task:
    return next(iter(machine.tasks.values()))


def scatter(table: RunMap[PteRun]) -> None:
    """Let *table* hold what does not compress."""
    frames = [i * i * i % 999983 for i in range(1, 20000)]
    table.edit([(2 * i, 2 * i + 1, (PteRun(2 * i, 1, (p,)),)) for i, p in enumerate(frames)])


def statements(store: Store) -> list[str]:
    """What *store* is going to write from now on."""
    found: list[str] = []
    store._db.set_trace_callback(
        lambda sql: found.append(sql) if not sql.startswith(("SELECT", "--")) else None
    )
    return found


def assert_replaceable(path: str) -> None:
    """Another machine may take the place of whatever *path* holds."""
    store, machine = Store(path, anew=True), full_machine()
    store.begin(write=True)
    store.replace(machine, BOOT)
    store.commit()
    store.close()
    assert plain(loaded(path)) == plain(machine)


# What is kept


def test_machine_is_loaded_as_it_was_stored(path: str) -> None:
    machine = booted(path, full_machine())
    assert plain(loaded(path)) == plain(machine)


@pytest.mark.parametrize("scenario", ["/a/ü.yaml", "/a/\udcff.yaml"], ids=["text", "no UTF-8"])
def test_boot_is_remembered(open_store: Callable[..., Store], scenario: str) -> None:
    store = open_store()
    store.begin(write=True)
    assert store.booted() is None
    store.replace(two_nodes(), BOOT._replace(scenario=scenario))
    assert store.booted() == BOOT._replace(scenario=scenario)


def test_new_machine_replaces_the_old_one(path: str) -> None:
    booted(path)
    machine = booted(path, full_machine())
    assert plain(loaded(path)) == plain(machine)


def test_change_is_saved(path: str, writer: Store) -> None:
    machine = writer.load()
    child = fork(machine, first_task(machine), "child")
    touched(machine, child, "64KiB", 1)
    writer.save(machine)
    writer.commit()
    assert plain(loaded(path)) == plain(machine)
    writer.begin(write=True)
    machine = writer.load()
    exit_task(machine, first_task(machine))
    writer.save(machine)
    exit_task(machine, first_task(machine))
    writer.save(machine)
    writer.commit()
    assert plain(loaded(path)) == plain(machine)
    assert not machine.tasks


def test_rolled_back_change_is_forgotten(path: str, writer: Store) -> None:
    before = loaded(path)
    machine = writer.load()
    touched(machine, first_task(machine), "64KiB", 1)
    writer.save(machine)
    writer.rollback()
    assert plain(loaded(path)) == plain(before)
    writer.rollback()  # of nothing


def test_closed_transaction_is_rolled_back(path: str, writer: Store) -> None:
    before = loaded(path)
    machine = writer.load()
    machine.counters.add("pgfault")
    writer.save(machine)
    writer.close()
    assert plain(loaded(path)) == plain(before)


def test_machine_of_an_earlier_transaction_cannot_be_saved(writer: Store) -> None:
    machine = writer.load()
    writer.commit()
    writer.begin(write=True)
    with pytest.raises(AssertionError, match="neither loaded nor replaced"):
        writer.save(machine)


# What is read and written


def test_lent_file_that_nobody_has_changed_is_gone_on_with(path: str, writer: Store) -> None:
    machine = writer.load()
    machine.next_pid = 4000
    writer.save(machine)
    lent = writer.lend()
    reader = Store(path)
    reader.begin(write=False)
    assert reader.load().next_pid == 4000
    reader.close()
    assert writer.take_back(lent)
    machine.next_pid = 4001
    writer.save(machine)


def test_lent_file_that_another_has_changed_is_loaded_anew(
    writer: Store, open_store: Callable[..., Store]
) -> None:
    machine = writer.load()
    lent = writer.lend()
    other = open_store()
    other.begin(write=True)
    theirs = other.load()
    theirs.next_pid = 5000
    other.save(theirs)
    other.commit()
    assert not writer.take_back(lent)
    with pytest.raises(AssertionError):
        writer.save(machine)
    assert writer.load().next_pid == 5000


def test_loading_decodes_nothing(path: str) -> None:
    booted(path)
    machine = loaded(path)
    node, mm = machine.nodes[0], first_task(machine).mm
    maps = [node.memmap, *[zone.free for zone in node.zones], mm.page_table]
    assert all(runs.is_unread for runs in maps)
    assert mm.page_table.at(0) is None
    assert [runs.is_unread for runs in maps] == [*[True] * (len(maps) - 1), False]


def test_unchanged_machine_is_not_written(path: str, writer: Store) -> None:
    machine = writer.load()
    assert first_task(machine).mm.page_table.runs
    written = statements(writer)
    writer.save(machine)
    assert written == []


def test_only_what_changed_is_written(path: str, writer: Store) -> None:
    machine = writer.load()
    machine.counters.add("pgfault")
    table = first_task(machine).mm.page_table
    table.put(table.starts[0], table.starts[0] + 1)
    written = statements(writer)
    writer.save(machine)
    assert [" ".join(sql.split()[:4]) for sql in written] == [
        "DELETE FROM machine",
        "INSERT INTO machine VALUES",
        "INSERT OR REPLACE INTO",
        "INSERT OR REPLACE INTO",
        "INSERT INTO ledger VALUES",
    ]
    assert "sums" in written[-3]
    assert "'page_table'" in written[-2]
    del written[:]
    writer.save(machine)
    assert written == []


def test_map_of_a_new_owner_is_written(path: str, writer: Store) -> None:
    machine = writer.load()
    child = fork(machine, first_task(machine), "child")
    child.mm.page_table.changed = False
    writer.save(machine)
    writer.commit()
    assert plain(loaded(path).tasks[child.pid]) == plain(child)


# Concurrency


def test_writer_waits_for_writer(path: str, writer: Store) -> None:
    machine = writer.load()
    faults: list[int] = []

    def second() -> None:
        store = Store(path, 30.0)
        store.begin(write=True)
        faults.append(store.load().counters["pgfault"])
        store.close()

    thread = threading.Thread(target=second)
    thread.start()
    machine.counters["pgfault"] = 12345
    writer.save(machine)
    writer.commit()
    thread.join()
    assert faults == [12345]


def test_writer_gives_up_in_the_end(writer: Store, open_store: Callable[..., Store]) -> None:
    with pytest.raises(StoreError, match="in use by another command, which has not ended in time"):
        open_store().begin(write=True)


def test_reader_does_not_wait_for_a_writer_at_work(path: str, writer: Store) -> None:
    before = loaded(path)
    machine = writer.load()
    machine.counters.add("pgfault")
    writer.save(machine)
    assert plain(loaded(path)) == plain(before)


def test_reader_sees_one_state(path: str, open_store: Callable[..., Store]) -> None:
    before = booted(path)
    reader, writer = open_store(), open_store()
    reader.begin(write=False)
    writer.begin(write=True)
    machine = writer.load()
    touched(machine, first_task(machine), "64KiB", 1)
    writer.save(machine)
    with pytest.raises(StoreError, match="in use by another command"):
        writer.commit()
    seen = reader.load()
    reader.commit()
    writer.commit()
    assert plain(seen) == plain(before)
    assert plain(loaded(path)) == plain(machine)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_killed_writer_leaves_the_machine_as_before(path: str) -> None:
    before = booted(path)
    contents = Path(path).read_bytes()
    code = f"""
import os, signal
from pymigrate.store.store import Store
store = Store({path!r})
store.begin(write=True)
machine = store.load()
store._db.execute("PRAGMA cache_size = 1")  # so that it writes before the end
machine.counters.add("pgfault")
machine.mms.clear()
machine.tasks.clear()
store.save(machine)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert Path(path).read_bytes() != contents
    assert plain(loaded(path)) == plain(before)
    assert os.listdir(os.path.dirname(path)) == ["state.db"]


def test_nothing_but_the_file_is_left(path: str) -> None:
    booted(path)
    loaded(path)
    assert os.listdir(os.path.dirname(path)) == ["state.db"]


# Sizes


def test_file_shrinks_with_its_machine(path: str) -> None:
    machine = two_nodes()
    scatter(new_task(machine).mm.page_table)
    booted(path, machine)
    full = os.path.getsize(path)
    booted(path, two_nodes())
    assert os.path.getsize(path) < min(full, 130_000)


def test_tebibyte_takes_less_than_a_megabyte(path: str) -> None:
    machine = nodes_with("256GiB", "256GiB", "256GiB", "256GiB")
    task, nodes, size = new_task(machine), Nodemask.of(0, 1, 2, 3), parse_size("400GiB")
    addr = mapped(machine, task, "400GiB")
    mbind(machine, task, addr, size, MPOL.INTERLEAVE, nodes, 0)
    assert touch(machine, task, addr, size) is None
    touched(machine, new_task(machine, "b"), "100GiB", 1)
    booted(path, machine)
    assert os.path.getsize(path) < 1_000_000
    assert plain(loaded(path)) == plain(machine)


# What can be wrong with a file


def test_file_without_a_machine_is_told(path: str) -> None:
    assert error_of(path) == "holds no machine; `pymigrate boot` makes one"


@pytest.mark.parametrize("size", [20, 5000], ids=str)
def test_file_of_something_else_is_told(path: str, size: int) -> None:
    Path(path).write_bytes(b"x" * size)
    assert error_of(path) == ANOTHER
    assert error_of(path, anew=True) == ANOTHER
    assert Path(path).read_bytes() == b"x" * size


@pytest.mark.parametrize("application", [0, 77])
def test_database_of_another_application_is_told(path: str, application: int) -> None:
    _run_sql("CREATE TABLE mails (text)")(path)
    _run_sql(f"PRAGMA application_id = {application}")(path)
    assert error_of(path) == ANOTHER
    assert error_of(path, anew=True) == ANOTHER


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (0, "was made by an older pymigrate; `pymigrate boot` starts afresh"),
        (99, "was made by a newer pymigrate; upgrade to it, or let `pymigrate boot` start afresh"),
    ],
)
def test_another_version_is_told_and_can_be_replaced(path: str, version: int, message: str) -> None:
    booted(path)
    _run_sql(f"PRAGMA user_version = {version}")(path)
    _run_sql("CREATE TABLE of_that_version (x)")(path)
    assert error_of(path) == message
    assert_replaceable(path)


def _cut_off(path: str) -> None:
    os.truncate(path, os.path.getsize(path) // 2)


def _write_at(place: int, data: bytes) -> Callable[[str], None]:
    def spoil(path: str) -> None:
        with open(path, "r+b") as file:
            file.seek(place)
            file.write(data)

    return spoil


_spoil_header = _write_at(16, b"\xff" * 8)


def _spoil_schema(path: str) -> None:
    contents = Path(path).read_bytes()
    assert b"run_maprun_map" in contents
    Path(path).write_bytes(contents.replace(b"run_maprun_map", b"run_mapran_map"))


def _run_sql(sql: str) -> Callable[[str], None]:
    def spoil(path: str) -> None:
        with sqlite3.connect(path) as db:
            db.execute(sql)
        db.close()

    return spoil


SPOILED_CONTENTS = [
    pytest.param(_run_sql(sql), id=sql)
    for sql in (
        "DROP TABLE vma",
        "DELETE FROM meta",
        "DELETE FROM machine",
        "DELETE FROM mm",
        "DELETE FROM run_map WHERE kind = 'free'",
        "UPDATE machine SET release = '2.4'",
        "UPDATE machine SET counters = 'pgfault'",
        "UPDATE task SET cpus = 7",
        "UPDATE task SET name = CAST(x'ff' AS TEXT)",
        "UPDATE vma SET policy = 'bind'",
        "ALTER TABLE zone RENAME COLUMN reserve TO kept",
        "UPDATE zone SET nr_free = nr_free + 1",
        "UPDATE meta SET scenario = CAST('/etc/passwd' AS BLOB)",
        "DELETE FROM sums",
        "CREATE VIEW endless AS SELECT 1",
        "CREATE TRIGGER acts AFTER DELETE ON zone BEGIN DELETE FROM vma; END",
        "INSERT INTO run_map SELECT kind, owner + 99, sum, data FROM run_map",
    )
]
SPOILED_FILES = [
    pytest.param(_cut_off, id="cut off"),
    pytest.param(_write_at(100, b"\xff" * 9000), id="overwritten"),
    pytest.param(_spoil_header, id="header"),
    pytest.param(_spoil_schema, id="schema"),
]


@pytest.mark.parametrize("spoil", [*SPOILED_CONTENTS, *SPOILED_FILES])
def test_damaged_file_is_told_and_can_be_replaced(path: str, spoil: Callable[[str], None]) -> None:
    booted(path)
    spoil(path)
    assert error_of(path) in (DAMAGED, ANOTHER)
    assert_replaceable(path)


def test_journal_of_a_damaged_file_goes_with_it(path: str) -> None:
    booted(path)
    _spoil_header(path)
    Path(f"{path}-journal").write_bytes(b"stale")
    booted_anew = Store(path, anew=True)
    booted_anew.close()
    assert not os.path.exists(f"{path}-journal")


def test_damaged_map_is_told_when_it_is_looked_at(path: str) -> None:
    booted(path)
    _run_sql("UPDATE run_map SET data = x'00' WHERE kind = 'page_table'")(path)
    machine = loaded(path)
    with pytest.raises(StoreError) as failure:
        first_task(machine).mm.page_table.at(5)
    assert str(failure.value) == f"{path}: {DAMAGED}"


def test_directory_is_told(tmp_path: Path) -> None:
    assert error_of(str(tmp_path)) == "is not a file; expected a state file of pymigrate"


def test_missing_directory_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "no" / "state.db")
    assert error_of(path) == f"cannot be opened: there is no directory {tmp_path / 'no'}"


@pytest.mark.skipif(
    not os.path.isdir("/proc/self"), reason="needs a directory that root cannot use"
)
def test_directory_that_cannot_be_written_is_told() -> None:
    assert (
        error_of("/proc/self/x.db") == "cannot be opened: permission denied, to it or its directory"
    )


def test_full_disk_is_told_and_nothing_changes(path: str, writer: Store) -> None:
    before = loaded(path)
    machine = writer.load()
    pages = os.path.getsize(path) // 4096
    writer._db.execute(f"PRAGMA max_page_count = {pages}")
    scatter(first_task(machine).mm.page_table)
    with pytest.raises(StoreError, match="the disk is full; nothing was changed"):
        writer.save(machine)
    writer.rollback()
    assert plain(loaded(path)) == plain(before)


def test_read_only_file_is_told_to_a_writer(path: str, open_store: Callable[..., Store]) -> None:
    booted(path)
    store = open_store()
    store._db.execute("PRAGMA query_only = 1")
    store.begin(write=False)
    machine = store.load()
    machine.counters.add("pgfault")
    with pytest.raises(StoreError, match="the file or its directory is read-only"):
        store.save(machine)


def test_file_names_its_application(path: str) -> None:
    booted(path)
    assert Path(path).read_bytes()[68:72] == APPLICATION_ID.to_bytes(4, "big") == b"NMIG"


def test_file_may_be_called_as_sqlite_calls_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    booted(":memory:")
    assert (tmp_path / ":memory:").exists()
