"""Calls that are made: by whom, what another task does meanwhile, what they move and leave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import groupby
from typing import Any, NamedTuple

from pymigrate.arguments import ModeAndNodes
from pymigrate.errors import KernelError
from pymigrate.interface.declare import MEANWHILE, Answer, Argument, Call, Range
from pymigrate.mm.base.why import Stay
from pymigrate.mm.state.machine import Machine, telling, watching
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import FindLeft, Left, Meanwhile, Task

_HALFWAY = ("ENOMEM", "EIO")  # errors of a call that has begun to move pages


class Access(NamedTuple):
    """An access to a page in the middle of a call, by another task than the caller."""

    task: Task
    page: int
    write: bool


@cache
def function(name: str) -> Callable[..., Any]:
    """The function that the table names, such as `syscalls.mmap.munmap`, of this package."""
    module, _, attribute = name.rpartition(".")
    found: Callable[..., Any] = getattr(import_module(f"pymigrate.{module}"), attribute)
    return found


def made_of(call: Call) -> list[Argument]:
    """The arguments that the function is given that makes *call*, in their order."""
    return [argument for argument in call.arguments if argument.kind is not MEANWHILE]


def make(machine: Machine, call: Call, arguments: Sequence[object]) -> Answer:
    """Make *call*; *arguments* are those of made_of(). Raises KernelError."""
    answer: object = function(call.make)(machine, *_apart(call, arguments))
    if isinstance(answer, int):
        return {"ret": answer}
    return answer if isinstance(answer, dict) else {}


def find_left(machine: Machine, call: Call, arguments: Sequence[object]) -> FindLeft | None:
    """What finds the pages that *call*, which is yet to be made, leaves behind."""
    if not call.leaves:
        return None
    found: FindLeft | None = function(call.leaves)(machine, *_apart(call, arguments))
    return found


def _apart(call: Call, arguments: Sequence[object]) -> Iterator[object]:
    """*arguments*, a part of memory and a policy taken apart."""
    for argument, value in zip(made_of(call), arguments, strict=True):
        if isinstance(value, Range | ModeAndNodes):
            yield from value
        elif argument.kind.name == "range":
            yield from (None, None)
        else:
            yield value


def runs(values: Iterable[int | None]) -> list[list[int | None]]:
    """*values*, as answers have many of them: as runs [how often, value]."""
    return [[len([*group]), value] for value, group in groupby(values)]


@contextmanager
def meanwhile(machine: Machine, access: Access | None, told: Answer) -> Iterator[None]:
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
    own = task.uid, task.caps
    if uid is not None:
        task.uid, task.caps = uid, None
    try:
        yield task
    finally:
        task.uid, task.caps = own


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
