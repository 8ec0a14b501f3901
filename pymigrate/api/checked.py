"""Methods that say which argument is of a wrong type, and whose errors begin at the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from inspect import isfunction, signature
from os import PathLike
from typing import ParamSpec, TypeVar

from pymigrate.api.results import Region
from pymigrate.errors import PymigrateError

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=type)

# The annotations that are checked: what values may be, and how that is said.
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "Who": ((int, str), "a pid, or the name of a task"),
    "Place": ((int, str, Region), "an address, a Region, or REGION[+OFFSET[:LENGTH]]"),
    "Set": ((int, str, Iterable), "a number, a list such as '0-1', or numbers"),
    "Size": ((int, str), "a number of bytes, or a size such as '4MiB'"),
    "int": ((int,), "an int"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "True or False"),
    "str": ((str,), "a str"),
    "AnyPath": ((str, PathLike), "a path"),
    "Mapping[str, object]": ((Mapping,), "a mapping"),
}


def checked(cls: C) -> C:
    """A class whose public methods are as checking() makes them."""
    for name, value in list(vars(cls).items()):
        if isfunction(value) and not name.startswith("_"):
            setattr(cls, name, checking(value))
    return cls


def checking(function: Callable[P, T]) -> Callable[P, T]:
    """A function that raises TypeError, which names it, for an argument of a wrong type.

    What it raises for its caller to see comes without the frames below it.
    """
    kinds = _kinds_of(function)
    names = tuple(signature(function).parameters)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        __tracebackhide__ = True  # of pytest and IPython
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            if name in kinds and not _is_one(value, kinds[name][0]):
                raise TypeError(_wrong(function.__name__, name, value, kinds[name][1]))
        try:
            return function(*args, **kwargs)
        except (PymigrateError, ValueError, TypeError) as error:
            raise error.with_traceback(None) from error.__cause__

    return call


def _kinds_of(function: Callable[..., object]) -> dict[str, tuple[tuple[type, ...], str]]:
    """What each argument may be, of those whose annotations are known."""
    kinds = {}
    for name, text in function.__annotations__.items():
        parts = str(text).split(" | ")
        known = [_KINDS[part] for part in parts if part in _KINDS]
        if name != "return" and len(known) == len([part for part in parts if part != "None"]):
            types = tuple(type_ for each, _ in known for type_ in each)
            if "None" in parts:
                types = (*types, type(None))
            said = " or ".join([text for _, text in known] + ["None"] * ("None" in parts))
            kinds[name] = (types, said)
    return kinds


def _is_one(value: object, types: tuple[type, ...]) -> bool:
    """Whether *value* is of one of *types*; True is no number."""
    return isinstance(value, types) and (not isinstance(value, bool) or bool in types)


def _wrong(function: str, name: str, value: object, expected: str) -> str:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    kind = type(value).__name__
    article = "an" if kind[0] in "aeiou" else "a"
    return f"{function}(): {name} is {shown}, {article} {kind}; expected {expected}"
