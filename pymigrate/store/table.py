"""How values of a type are kept as rows of a table, a column for each field."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from pymigrate.mm.base.runs import RunMap
from pymigrate.mm.base.vmstat import Counters
from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.records import Factory
from pymigrate.store.blobs import Codec, pack, policy_of, policy_text, unpack

Row = tuple[Any, ...]  # ints, floats, texts, bytes and None, by the table's columns
Rows = dict[str, list[Row]]  # of each table, in the order of the machine
MapKey = tuple[str, int]  # kind of the run map, and what its owner is called
Maps = Mapping[MapKey, RunMap[Any]]  # runs of the kind's type
Held = tuple[Any, ...]  # a value of a table's type, and the keys that say whose it is


class Table:
    """How the values of one type, a record or a NamedTuple, are kept: each is a row.

    *held* gives all of them that a machine has, in its order, each with the *keys* that say whose
    it is; *put* puts one into a machine: ``put(machine, value, *keys)``. A field is a column of its
    name, as it is or by one of *codecs*, but for the run maps (*maps* has the kind of each; they
    are known by the field, or the key, that *owner* names) and for what is kept *elsewhere*, which
    has its default at first.
    """

    def __init__(
        self,
        make: type[Any],
        held: Callable[[Machine], Iterable[Held]],
        put: Callable[..., object],
        keys: str = "",
        codecs: Mapping[str, Codec] | None = None,
        maps: Mapping[str, str] | None = None,
        owner: str = "",
        elsewhere: Collection[str] = (),
    ) -> None:
        """See the class. There are as many arguments as ways in which a type may be special."""
        self.make, self.held, self.put, self.maps, self.owner = make, held, put, maps or {}, owner
        self.fields = [n for n in make.__match_args__ if n not in self.maps and n not in elsewhere]
        self.columns = [*keys.split(), *self.fields]
        codecs = codecs or {}
        self._coded = [(i, codecs[name]) for i, name in enumerate(self.columns) if name in codecs]
        self._typed = [
            (i, _types_of(make, name))
            for i, name in enumerate(self.columns)
            if name in self.fields and name not in codecs
        ]

    # Both ways go by whole columns, which is quickest: an address space may have many VMAs.

    def rows(self, machine: Machine) -> list[Row]:
        """The rows of what *machine* has."""
        held = list(self.held(machine))
        if not held:
            return []
        values, *columns = zip(*held, strict=True)
        columns += [tuple(map(attrgetter(name), values)) for name in self.fields]
        for i, codec in self._coded:
            columns[i] = tuple(map(codec.write, columns[i]))
        return list(zip(*columns, strict=True))

    def maps_of(self, machine: Machine) -> Iterator[tuple[MapKey, RunMap[Any]]]:
        """The run maps that are fields of what *machine* has."""
        for value, *keys in self.held(machine) if self.maps else ():
            owner = getattr(value, self.owner) if self.owner in self.fields else keys[0]
            for name, kind in self.maps.items():
                yield (kind, owner), getattr(value, name)

    def read(self, rows: Sequence[Row], maps: Maps) -> Iterator[Held]:
        """What *rows* say, with its keys. Raises one of codec.MISFITS if they do not fit."""
        if not rows:
            return iter(())
        columns = list(zip(*rows, strict=True))
        for i, types in self._typed:
            if not types.issuperset(map(type, columns[i])):
                raise ValueError(f"a column {self.columns[i]} is of another type")
        for i, codec in self._coded:
            columns[i] = tuple(map(codec.read, columns[i]))
        known = dict(zip(self.columns, columns, strict=True))
        for name, kind in self.maps.items():
            known[name] = tuple(maps[kind, owner] for owner in known[self.owner])
        fields = [
            known[name] if name in known else self._defaults(name, len(rows))
            for name in self.make.__match_args__
        ]
        keys = columns[: len(columns) - len(self.fields)]
        return zip(map(self.make, *fields), *keys, strict=True)

    def _defaults(self, name: str, nr: int) -> Row:
        """The default of a field, for each of *nr* values."""
        default = self.make._field_defaults[name]
        if isinstance(default, Factory):
            return tuple(default.make() for _ in range(nr))
        return (default,) * nr


def _types_of(make: type[Any], name: str) -> frozenset[type]:
    """What SQLite may give for a field that is kept as it is: an int, a text, ..."""
    written = make.__annotations__[name]  # a text, or the type
    text = str(getattr(written, "__name__", written))
    return frozenset().union(*(_TYPES[part] for part in text.split(" | ")))


_TYPES: dict[str, set[type]] = {
    "int": {int},
    "str": {str},
    "float": {float, int},
    "None": {type(None)},
}


def optional(codec: Codec) -> Codec:
    """That of a field which may be None."""
    return Codec(
        lambda value: None if value is None else codec.write(value),
        lambda column: None if column is None else codec.read(column),
    )


def numbers_of(make: Callable[..., Any], kind: Callable[[str], float] = int) -> Codec:
    """That of a NamedTuple of numbers of one *kind*, which are a text."""
    return Codec(_text_of, lambda text: make(*map(kind, text.split())))


def _text_of(numbers: Iterable[float]) -> str:
    return " ".join(map(str, numbers))


def _ints_of(text: str) -> list[int]:
    return [int(word) for word in text.split()]


def _pairs_of(text: str) -> Iterator[tuple[int, int]]:
    numbers = iter(_ints_of(text))
    return zip(numbers, numbers, strict=True)


def _counters_of(text: str) -> Counters:
    words = iter(text.split())
    return Counters(zip(words, map(int, words), strict=True))


BOOL = Codec(int, bool)
INTS = Codec(_text_of, _ints_of)
INT_TUPLE = Codec(_text_of, lambda text: tuple(_ints_of(text)))
INT_DICT = Codec(
    lambda pairs: _text_of(number for pair in pairs.items() for number in pair),
    lambda text: dict(_pairs_of(text)),
)
WORDS = Codec(" ".join, str.split)
CPUS = Codec(lambda cpus: f"{cpus:x}", lambda text: Cpumask(text, 16))
NODES = Codec(lambda nodes: f"{nodes:x}", lambda text: Nodemask(text, 16))
POLICY = optional(Codec(policy_text, policy_of))
COUNTERS = Codec(
    lambda counters: " ".join([f"{name} {nr}" for name, nr in counters.items()]), _counters_of
)
PACKED = Codec(pack, lambda blob: list(unpack(blob)))
PACKED_TUPLE = Codec(pack, lambda blob: tuple(unpack(blob)))
