"""Named tuples and records, which every command makes a hundred of before it does anything.

They are those of typing and dataclasses, made in a third of the time: nobody compiles annotations
that are not looked at, or makes methods that nobody calls.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

T = TypeVar("T")
_WITHOUT_SLOTS = frozenset({"__dict__", "__weakref__"})  # what a class has that has no slots
_OF_THE_BODY = frozenset({"__annotations__", "__module__", "__qualname__"})


class Factory:
    """What makes the default of a field anew for each record."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def field(*, default_factory: Callable[[], T]) -> T:
    """A field whose default is made anew for each record, as dataclasses.field() has it."""
    made: Any = Factory(default_factory)
    return made  # type: ignore[no-any-return]


@dataclass_transform(eq_default=False, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """A class with slots for what it annotates, and an ``__init__()`` that takes all of it.

    As a dataclass, with ``__match_args__``, but that records are equal only if they are the same.
    ``_field_defaults`` has what fields are without an argument: a value, or its Factory.
    """
    namespace = {k: v for k, v in vars(cls).items() if k not in _WITHOUT_SLOTS}
    names = tuple(cls.__annotations__)
    defaults = {name: namespace.pop(name) for name in names if name in namespace}
    namespace |= {
        "__slots__": names,
        "__match_args__": names,
        "__init__": _init(names, defaults),
        "_field_defaults": defaults,
    }
    make: Any = type(cls)
    made = make(cls.__name__, cls.__bases__, namespace)
    made.__qualname__ = cls.__qualname__
    return made  # type: ignore[no-any-return]


def names_of(of: object) -> tuple[str, ...]:
    """The names of a record's fields; of anything else none.

    >>> names_of(3)
    ()
    """
    kind: Any = type(of)
    is_record = hasattr(kind, "_field_defaults") and not isinstance(of, tuple)
    return kind.__slots__ if is_record else ()


def replaced(of: T, /, **changes: object) -> T:
    """A copy of a record with other values of some fields."""
    cls: Any = type(of)
    made = cls.__new__(cls)
    for name in cls.__slots__:
        setattr(made, name, changes[name] if name in changes else getattr(of, name))
    return made  # type: ignore[no-any-return]


def _init(names: tuple[str, ...], defaults: dict[str, Any]) -> Any:
    """The function that takes a value for each of *names*."""
    known: dict[str, Any] = {"_new": _NEW}
    parameters, lines = ["self"], ["pass"]
    for name in names:
        default = defaults.get(name, _NEW)
        if isinstance(default, Factory):
            known[f"_make_{name}"] = default.make
            parameters.append(f"{name}=_new")
            lines.append(f"self.{name} = _make_{name}() if {name} is _new else {name}")
            continue
        if name in defaults:
            known[f"_default_{name}"] = default
            parameters.append(f"{name}=_default_{name}")
        else:
            parameters.append(name)
        lines.append(f"self.{name} = {name}")
    body = "\n ".join(lines)
    exec(f"def __init__({', '.join(parameters)}):\n {body}", known)
    return known["__init__"]


_NEW = object()  # there is no argument

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:

    class _Made(type):
        """Makes the tuples that the bodies of classes describe."""

        def __new__(cls, name, bases, namespace):
            if not bases:
                return super().__new__(cls, name, bases, namespace)
            annotations = namespace.get("__annotations__", {})
            defaults = [namespace[field] for field in annotations if field in namespace]
            module = namespace["__module__"]
            made = namedtuple(name, annotations, defaults=defaults, module=module)
            made.__annotations__ = annotations
            made.__qualname__ = namespace["__qualname__"]
            for key, value in namespace.items():
                if key not in annotations and key not in _OF_THE_BODY:
                    setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_Made):
        """A tuple whose elements have names; see typing.NamedTuple."""
