"""Named tuples and records, which every command makes a hundred of before it does anything.

They are those of typing and dataclasses, made in a fifth of the time: little is compiled for them.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable
from functools import cache
from types import FunctionType
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
        "__qualname__": cls.__qualname__,
        "_field_defaults": defaults,
    }
    make: Any = type(cls)
    made = make(cls.__name__, cls.__bases__, namespace)
    made.__init__ = _init(made)
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


def _init(cls: Any) -> Callable[..., None]:
    """What takes a value for each field of a record, and compiles itself for anything but all."""
    names: tuple[str, ...] = cls.__slots__

    def __init__(self: object, *args: object, **given: object) -> None:  # noqa: N807
        if given or len(args) != len(names):
            cls.__init__ = _compiled(names, cls._field_defaults)
            cls.__init__(self, *args, **given)
            return
        for name, value in zip(names, args, strict=True):
            setattr(self, name, value)

    return __init__


def _compiled(names: tuple[str, ...], defaults: dict[str, Any]) -> Any:
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

    @cache
    def _shape(nr):
        """A tuple of *nr* fields, whose getters and constructor serve all such tuples."""
        return namedtuple("Shape", [f"field_{i}" for i in range(nr)])

    class _Named(tuple):
        """What tuples with names have besides them."""

        __slots__ = ()

        @classmethod
        def _make(cls, values: Iterable[object]):
            made = tuple.__new__(cls, values)
            if len(made) != len(cls._fields):
                raise TypeError(f"expected {len(cls._fields)} values, got {len(made)}")
            return made

        def _replace(self, /, **changes):
            made = self._make(map(changes.pop, self._fields, self))
            if changes:
                raise ValueError(f"no fields: {', '.join(changes)}")
            return made

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __getnewargs__(self):
            return tuple(self)

        def __repr__(self):
            held = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
            return f"{type(self).__name__}({held})"

    class _Made(type):
        """Makes the tuples that the bodies of classes describe."""

        def __new__(cls, name, bases, namespace):
            if not bases:
                return super().__new__(cls, name, bases, namespace)
            names = tuple(namespace.setdefault("__annotations__", {}))
            defaults = {field: namespace[field] for field in names if field in namespace}
            shape = vars(_shape(len(names)))
            new = shape["__new__"].__func__
            code = new.__code__.replace(co_varnames=("_cls", *names))
            made = FunctionType(code, new.__globals__, "__new__", tuple(defaults.values()))
            namespace |= {field: shape[f"field_{i}"] for i, field in enumerate(names)}
            namespace |= {
                "__slots__": (),
                "__new__": made,
                "__match_args__": names,
                "_fields": names,
                "_field_defaults": defaults,
            }
            return type(name, (_Named,), namespace)

    class NamedTuple(metaclass=_Made):
        """A tuple whose elements have names; see typing.NamedTuple."""
