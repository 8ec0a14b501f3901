"""A machine that is stored and loaded between any system calls is the same, and works on."""

import os
import tempfile
from typing import Any

from hypothesis import settings
from hypothesis.stateful import initialize, rule

from pymigrate.mm.state.machine import Machine
from pymigrate.store.store import Boot, Store
from tests.property.system_calls import SystemCalls
from tests.unit.store.conftest import plain


class StoredSystemCalls(SystemCalls):
    """System calls on a machine that goes through a file now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(os.path.join(self.folder.name, "state.db"))

    @initialize()
    def nothing_is_loaded(self) -> None:
        self.loaded: Machine | None = None

    @rule()
    def end_command(self) -> None:
        """Keep the machine as a command does at its end, and load it as the next one does."""
        expected = plain(self.machine)
        if self.machine is self.loaded:
            self.store.save(self.machine)
        else:
            self.store.begin(write=True)
            self.store.replace(self.machine, Boot("", "", "", ""))
        self.store.commit()
        self.store.begin(write=True)
        files = [file.space_id for file in self.files]
        self.loaded = self.machine = self.store.load()
        self.files = [self.machine.spaces[space_id] for space_id in files]
        # Looked at on one, so that the other stays as it was loaded.
        assert plain(_again(self.store)) == expected

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


def _again(store: Store) -> Any:
    known = store._known
    machine = store.load()
    store._known = known
    return machine


TestStoredSystemCalls = StoredSystemCalls.TestCase
TestStoredSystemCalls.settings = settings(max_examples=40, stateful_step_count=25)
