"""Calls that are made: by whom, what another task does meanwhile, what they move and leave."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pymigrate.errors import KernelError
from pymigrate.mm.base.why import Stay
from pymigrate.mm.state.machine import Machine, telling, watching
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Cred, FindLeft, Left, Meanwhile, Task
from pymigrate.records import NamedTuple, field, record

_HALFWAY = ("ENOMEM", "EIO")  # errors of a call that has begun to move pages


class Access(NamedTuple):
    """An access to a page in the middle of a call, by another task than the caller."""

    task: Task
    page: int
    write: bool


@contextmanager
def meanwhile(machine: Machine, access: Access | None, told: dict[str, object]) -> Iterator[None]:
    """Let *access* be made while the block moves the page; *told* gets what became of it."""
    if access is None:
        yield
        return
    from pymigrate.mm.faults.memory import finish

    other = Meanwhile(access.task.pid, access.page, access.write, finish)
    try:
        with telling(machine, machine.scope._replace(meanwhile=other)):
            yield
    finally:
        finish(machine, other)
        told["meanwhile"] = {"waited": other.waited, "signal": other.signal}


@contextmanager
def acting_as(task: Task, uid: int | None) -> Iterator[Task]:
    """Let *task* make a call with the credentials of *uid*; None: with its own."""
    own = task.cred
    if uid is not None:
        task.cred = Cred(uid)
    try:
        yield task
    finally:
        task.cred = own


@record
class Noted:
    """A call by its name, and what it has come to."""

    machine: Machine
    name: str
    find_left: FindLeft | None = None  # names the memory that it leaves; None: it is to move none
    moved: int = 0  # base pages
    left: list[Left] | None = None  # None: none was looked for
    stays: list[Stay] = field(default_factory=list)  # frames that the call has left

    @contextmanager
    def noting(self, watch: Watch) -> Iterator[None]:
        """Take notes, and those of *watch*, while the block makes the call.

        A call that is refused half way has left pages, too; explain() can tell of them later.
        """
        before = self.machine.counters["pgmigrate_success"]
        is_begun = False
        try:
            with watching(self.machine, watch._replace(left=self.stays)):
                yield
            is_begun = True
        except KernelError as error:
            is_begun = error.name in _HALFWAY
            raise
        finally:
            self.moved = self.machine.counters["pgmigrate_success"] - before
            if is_begun and self.find_left is not None:
                self.left = self.find_left(self.stays)
                self.machine.last_call, self.machine.left = self.name, self.left
