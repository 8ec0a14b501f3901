"""What is noted of real processes, so that none stays a task when the tracer is killed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pymigrate.mm.base.ledger import Ledger
from pymigrate.native.lender import Lender
from pymigrate.native.world import World
from pymigrate.store.store import Store


class Killed(BaseException):
    """The end of the tracer."""


class FakeStore:
    """A state file; it can be killed as it commits."""

    def __init__(self, path: Path) -> None:
        self.path, self.is_killed = path, False
        self.stored: set[int] = set()

    def save(self, machine: Any) -> None:
        self.tasks = set(machine.tasks)

    def lend(self) -> None:
        if self.is_killed:
            raise Killed
        self.stored = self.tasks

    def commit(self) -> None:
        self.lend()

    def close(self) -> None: ...

    def take_back(self, _: None) -> bool:
        return True


def test_note_has_all_that_the_file_has_at_any_time(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    lender = Lender(str(tmp_path / "state.db"), cast(Store, store), ["/x"], "exec x")
    machine = SimpleNamespace(tasks={1: None, 7: None, 8: None}, ledger=Ledger())
    world = cast(World, SimpleNamespace(threads={7: None, 8: None}, machine=machine))

    def noted() -> set[int]:
        pids, folder = (tmp_path / "state.db.tasks").read_text().split("\0")
        assert folder == "/x"
        return set(map(int, pids.split()))

    lender.keep(world)
    assert noted() == {7, 8}
    del machine.tasks[7], world.threads[7]
    machine.tasks[9] = world.threads[9] = None  # type: ignore[assignment]  (nobody looks)
    store.is_killed = True
    with pytest.raises(Killed):
        lender.keep(world)
    assert store.stored - {1} <= noted() == {7, 8, 9}
    store.is_killed = False
    lender.keep(world)
    assert noted() >= store.stored - {1} == {8, 9}
    lender.close(world)
    assert list(tmp_path.iterdir()) == []
