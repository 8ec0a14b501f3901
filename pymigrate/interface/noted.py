"""What is known of a call once it was made: which pages it has moved, and which it left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pymigrate.errors import KernelError
from pymigrate.mm.base.why import Stay
from pymigrate.mm.state.machine import Machine, watching
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import FindLeft, Left

_HALFWAY = ("ENOMEM", "EIO")  # errors of a call that has begun to move pages


@dataclass(slots=True)
class Noted:
    """A call by its name, and what it has come to."""

    machine: Machine
    name: str
    find_left: FindLeft | None = None  # names the memory that it leaves; None: it is to move none
    moved: int = 0  # base pages
    left: list[Left] | None = None  # None: none was looked for

    @contextmanager
    def noting(self, watch: Watch) -> Iterator[None]:
        """Take notes, and those of *watch*, while the block makes the call.

        A call that is refused half way has left pages, too; explain() can tell of them later.
        """
        before = self.machine.counters["pgmigrate_success"]
        stays: list[Stay] = []
        is_begun = False
        try:
            with watching(self.machine, watch._replace(left=stays)):
                yield
            is_begun = True
        except KernelError as error:
            is_begun = error.errno in _HALFWAY
            raise
        finally:
            self.moved = self.machine.counters["pgmigrate_success"] - before
            if is_begun and self.find_left is not None:
                self.left = self.find_left(stays)
                self.machine.last_call, self.machine.left = self.name, self.left
