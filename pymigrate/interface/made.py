"""Calls that are made: by whom, what another task does meanwhile, what they move and leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

from pymigrate.arguments import ModeAndNodes
from pymigrate.interface.declare import MEANWHILE, Answer, Argument, Call, Range
from pymigrate.mm.state.machine import Machine, telling
from pymigrate.mm.state.task import FindLeft, Meanwhile, Task


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


@contextmanager
def meanwhile(machine: Machine, access: Access | None, told: Answer) -> Iterator[None]:
    """Let *access* be made while the block moves the page; *told* gets what became of it."""
    if access is None:
        yield
        return
    from pymigrate.mm.faults.meanwhile import finish

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
