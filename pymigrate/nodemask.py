"""Sets of nodes and of CPUs, as the kernel's bitmaps: an int with one bit for each member."""

import re
from collections.abc import Iterable, Iterator
from typing import Self

_ITEM = r"(\d+)(?:-(\d+))?"


class Bitmap(int):
    """An immutable set of small numbers; ``&``, ``|``, ``-`` and ``^`` are those of sets."""

    __slots__ = ()
    limit = 1 << 13
    noun = "number"

    @classmethod
    def of(cls, *members: int) -> Self:
        """The set of *members*."""
        return cls.collect(members)

    @classmethod
    def collect(cls, members: Iterable[int]) -> Self:
        """The set of all that *members* gives."""
        bits = 0
        for member in members:
            bits |= 1 << member
        return cls(bits)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The set that the kernel's list format names (``"0-3,5"``, ``""`` for none).

        Raises ValueError. Mirrors bitmap_parselist(), lib/bitmap-str.c, without its strides.

        >>> Nodemask.parse("0-2,5")
        Nodemask('0-2,5')
        """
        bits = 0
        for item in text.split(",") if text.strip() else ():
            match = re.fullmatch(_ITEM, item.strip())
            if match is None:
                raise ValueError(
                    f"{text!r} is not a list of {cls.noun}s; expected one such as 0-3,5"
                )
            first, last = int(match[1]), int(match[2] or match[1])
            if last < first:
                raise ValueError(f"{item.strip()!r} in {text!r} runs backwards")
            if last >= cls.limit:
                raise ValueError(
                    f"{cls.noun} {last} is out of range; the highest is {cls.limit - 1}"
                )
            bits |= (1 << (last + 1)) - (1 << first)
        return cls(bits)

    @classmethod
    def parselist(cls, text: str, nbits: int) -> Self:
        """The set that *text* names as the kernel takes it, of the numbers below *nbits*.

        Blanks part as commas do; ``all`` and ``N`` are every and the last number; ``A-B:n/m`` are
        the first n of each m. Raises ValueError, OverflowError for a number that is too high.
        Mirrors bitmap_parselist(), lib/bitmap-str.c.

        >>> Nodemask.parselist("0-7:2/4 9,", 16), Nodemask.parselist("6-N", 8)
        (Nodemask('0-1,4-5,9'), Nodemask('6-7'))
        """
        bits = 0
        for item in text.replace(",", " ").split():
            match = re.fullmatch(r"(?:(all)|(\d+|N)(?:-(\d+|N))?)(?::(\d+)/(\d+))?", item)
            if match is None:
                raise ValueError(f"{item!r} is no {cls.noun}, and no range of them")
            low, high = ("0", "N") if match[1] else (match[2], match[3] or match[2])
            first, last = (nbits - 1 if word == "N" else int(word) for word in (low, high))
            used = int(match[4] or last - first + 1)
            step = int(match[5] or used)
            if last < first or not step or used > step:
                raise ValueError(f"{item!r} is no range of {cls.noun}s")
            if last >= nbits:
                raise OverflowError(f"{cls.noun} {last} is out of range; {nbits - 1} is the last")
            for at in range(first, last + 1, step):
                bits |= (1 << min(at + used, last + 1)) - (1 << at)
        return cls(bits)

    @classmethod
    def is_parselist(cls, text: str) -> bool:
        """Whether parselist() takes *text*, on some machine."""
        try:
            cls.parselist(text, cls.limit)
        except (OverflowError, ValueError):
            return False
        return True

    def __iter__(self) -> Iterator[int]:
        bits = int(self)
        while bits:
            low = bits & -bits
            yield low.bit_length() - 1
            bits ^= low

    def __len__(self) -> int:
        return self.bit_count()

    def __contains__(self, member: int) -> bool:
        return member >= 0 and bool(self >> member & 1)

    def __and__(self, other: int) -> Self:
        return type(self)(int(self) & int(other))

    def __or__(self, other: int) -> Self:
        return type(self)(int(self) | int(other))

    def __xor__(self, other: int) -> Self:
        return type(self)(int(self) ^ int(other))

    def __sub__(self, other: int) -> Self:
        return type(self)(int(self) & ~int(other))

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def is_subset(self, other: int) -> bool:
        """Whether every member is in *other* too."""
        return not int(self) & ~int(other)

    @property
    def first(self) -> int:
        """The lowest member. Raises ValueError if there is none."""
        if not self:
            raise ValueError(f"an empty set has no first {self.noun}")
        return (self & -int(self)).bit_length() - 1

    def nth(self, rank: int) -> int:
        """The member with *rank* lower ones. Raises IndexError."""
        return list(self)[rank]

    def rank(self, member: int) -> int:
        """How many members are lower than *member*."""
        return (int(self) & ((1 << member) - 1)).bit_count()

    def next_in(self, member: int) -> int:
        """The lowest member above *member*, else the first one. Mirrors next_node_in()."""
        above = int(self) >> (member + 1) << (member + 1)
        return (above & -above).bit_length() - 1 if above else self.first

    def __str__(self) -> str:
        """The kernel's list format. Mirrors ``%*pbl``."""
        parts: list[str] = []
        bits, shift = int(self), 0
        while bits:
            low = (bits & -bits).bit_length() - 1
            bits >>= low
            run = (~bits & (bits + 1)).bit_length() - 1
            first, last = shift + low, shift + low + run - 1
            parts.append(str(first) if run == 1 else f"{first}-{last}")
            bits >>= run
            shift += low + run
        return ",".join(parts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class Nodemask(Bitmap):
    """A set of NUMA nodes."""

    __slots__ = ()
    limit = 1024
    noun = "node"

    def remap(self, node: int, new: "Nodemask") -> int:
        """What *node* becomes when this set turns into *new*, by rank. Mirrors node_remap()."""
        if node not in self or not new:
            return node
        return new.nth(self.rank(node) % len(new))

    def remap_all(self, old: "Nodemask", new: "Nodemask") -> "Nodemask":
        """This set with each member remapped from *old* to *new*. Mirrors nodes_remap()."""
        return Nodemask.collect(old.remap(node, new) for node in self)

    def relative_to(self, allowed: "Nodemask") -> "Nodemask":
        """Members as ranks into *allowed*, folded. Mirrors mpol_relative_nodemask()."""
        if not allowed:
            return Nodemask()
        return Nodemask.collect(allowed.nth(node % len(allowed)) for node in self)


class Cpumask(Bitmap):
    """A set of CPUs."""

    __slots__ = ()
    noun = "CPU"
