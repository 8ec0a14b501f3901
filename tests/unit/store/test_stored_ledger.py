"""What commands raise of the counters is in the file, and is read if somebody asks."""

import sqlite3

import pytest

from pymigrate.errors import StoreError
from pymigrate.mm.base.ledger import Raiser
from pymigrate.store.store import Store
from tests.conftest import two_nodes
from tests.unit.store.conftest import booted, loaded


def entries(path: str) -> list[tuple[str, int]]:
    """The commands in the ledger of *path*, with how many pages each has freed."""
    store = Store(path)
    store.begin(write=False)
    machine = store.load()
    assert machine.ledger.entries == [], "it is read if somebody asks"
    store.read_ledger(machine)
    store.close()
    return [
        (entry.command, sum(raised["pgfree"] for raised in entry.accounts.values()))
        for entry in machine.ledger.entries
    ]


def test_what_commands_raise_is_added_to_the_ledger(path: str) -> None:
    machine = two_nodes()
    machine.counters.add("pgfree", 3)
    machine.ledger.close("boot --run")
    booted(path, machine)
    for nr in (1, 5):
        store = Store(path)
        store.begin(write=True)
        machine = store.load()
        machine.counters.add("pgfree", nr)
        machine.ledger.close(f"free {nr}")
        store.save(machine)
        store.commit()
        store.close()
    assert entries(path) == [("boot --run", 3), ("free 1", 1), ("free 5", 5)]


def test_what_is_saved_again_and_again_is_one_entry(path: str) -> None:
    booted(path, two_nodes())
    store = Store(path)
    store.begin(write=True)
    machine = store.load()
    store.read_ledger(machine)
    assert [entry.command for entry in machine.ledger.entries] == []
    for continues in (False, True, True):
        machine.counters.add("pgfree", 2)
        assert machine.ledger.close("exec", continues)
        store.save(machine)
        assert store.take_back(store.lend())
    store.commit()
    store.close()
    assert entries(path) == [("exec", 2)] * 3
    rows = sqlite3.connect(path).execute("SELECT DISTINCT number FROM ledger").fetchall()
    assert rows == [(1,)]


def test_names_that_are_not_utf_8_are_kept_as_they_can_be(path: str) -> None:
    machine = two_nodes()
    with machine.ledger.raised_by(Raiser("a\udcff", 7)):
        machine.counters.add("pgfree")
    machine.ledger.close("touch \udcfe")
    booted(path, machine)
    assert entries(path) == [("touch \\udcfe", 1)]


def test_a_damaged_ledger_is_told_by_who_reads_it(path: str) -> None:
    machine = two_nodes()
    machine.counters.add("pgfree")
    machine.ledger.close("x")
    booted(path, machine)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE ledger SET counters = 'pgfree x'")
    loaded(path)
    with pytest.raises(StoreError, match="is damaged"):
        entries(path)


def test_what_nobody_has_named_is_an_entry_too(path: str) -> None:
    machine = two_nodes()
    machine.counters.add("pgfree")
    booted(path, machine)
    assert entries(path) == [("other", 1)]
