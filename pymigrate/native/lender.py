"""The machine of a state file while real programs run on it, and how other commands borrow it.

It lies in memory, and in the file under a write transaction. It is stored whenever another command
asks for it, at the end, and at most every second; what that command makes of it is read again.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Sequence

from pymigrate import holder
from pymigrate.native import libc
from pymigrate.native.tracer import Tracer
from pymigrate.native.world import World
from pymigrate.store.store import Store

_EVERY = 1.0  # seconds
_LOOK = 0.002  # seconds between looks at a borrower that is traced itself


class Lender:
    """Stores the machine, and lends it."""

    def __init__(self, path: str, store: Store, folders: Sequence[str], command: str) -> None:
        """Listen beside the state file *path*; *folders* are for this run alone.

        *command* is what the ledger calls it. Raises StoreError.
        """
        self.path, self.store, self.folders, self.command = path, store, folders, command
        self._continues = False  # the ledger's last entry is of this run
        holder.forget(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            with holder.address(path) as name:
                self._socket.bind(name)
        finally:
            os.umask(before)
        self._socket.listen(16)
        self._socket.setblocking(False)
        self.is_called = False  # somebody may have connected
        self._stored = time.monotonic()
        self._noted: set[int] = set()  # pids that the file may have as tasks

    def called(self, _number: int, _frame: object) -> None:
        """A signal's handler: look whether somebody has connected."""
        self.is_called = True

    def between(self, world: World, tracer: Tracer) -> None:
        """Between two stops: lend the machine to who asks for it; store it now and then."""
        if self.is_called:
            self.is_called = False
            self._serve(world, tracer)
        elif time.monotonic() - self._stored > _EVERY:
            self.keep(world)

    def keep(self, world: World) -> None:
        """Store the machine, and go on with it."""
        self._save(world)
        if not self.store.take_back(self.store.lend()):
            self._load(world)
        self._stored = time.monotonic()

    def close(self, world: World) -> None:
        """Store the machine for good."""
        self._save(world)
        self.store.commit()
        self.store.close()
        self._socket.close()
        holder.forget(self.path)

    def note(self, world: World) -> None:
        """Write down what must go if this process is killed."""
        pids = world.threads.keys() & world.machine.tasks.keys()
        holder.note(self.path, self._noted | pids, self.folders)
        self._noted = pids

    def _save(self, world: World) -> None:
        """Write the machine; it is stored once the transaction ends.

        Until then the file has tasks that have ended since it was last stored.
        """
        self.note(world)
        is_more = world.machine.ledger.close(self.command, self._continues)
        self._continues = self._continues or is_more
        self.store.save(world.machine)

    def _load(self, world: World) -> None:
        """Go on with what another command has made of the machine."""
        world.replace_machine(self.store.load())
        self._continues = False

    def _serve(self, world: World, tracer: Tracer) -> None:
        """Lend the machine to all who have connected, one after the other."""
        while True:
            try:
                connection, _ = self._socket.accept()
            except BlockingIOError:
                return
            with connection:
                world.sync_all()
                self._save(world)
                known = self.store.lend()
                borrower = world.processes.get(holder.peer(connection))
                try:
                    connection.send(holder.LENT)
                    if borrower is None:
                        connection.setblocking(True)
                        connection.recv(1)
                    else:
                        _wait_among_stops(connection, tracer, borrower.pid)
                except OSError:
                    pass  # it was killed: what it had not stored is undone
            if not self.store.take_back(known):
                self._load(world)
            tracer.handle_deferred()
            self._stored = time.monotonic()


def _wait_among_stops(connection: socket.socket, tracer: Tracer, pid: int) -> None:
    """Wait for the end of a loan to a traced process, whose own calls the host answers."""
    while not select.select([connection], [], [], _LOOK)[0]:
        while (found := libc.poll()) is not None:
            tracer.defer_or_pass(*found, pid)
    connection.recv(1)
