"""From a declared call and its arguments to the function that makes it, and its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib import import_module
from itertools import groupby
from typing import Any

from pymigrate.arguments import ModeAndNodes
from pymigrate.interface.declare import MEANWHILE, Answer, Argument, Call, Range
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import FindLeft


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
