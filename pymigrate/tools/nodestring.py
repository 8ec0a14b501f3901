"""libnuma's node strings: ``!0``, ``+0-1``, ``0,2-3``, ``all``, ``netdev:eth0``; CPUs likewise."""

import re

from pymigrate.nodemask import Bitmap, Cpumask, Nodemask
from pymigrate.records import NamedTuple
from pymigrate.tools.program import Libnuma, StoppedError
from pymigrate.tools.strtoul import strtoul, to_signed

_UINT = 1 << 32
# Prefix -> the word for its class in libnuma's messages.
_PREFIXES = {"netdev": "net", "ip": "net", "file": "block", "block": "block", "pci": ""}
_PCI = re.compile(r"([0-9a-f]+:){1,2}[0-9a-f]+", re.IGNORECASE)


class RefusedError(Exception):
    """A string means nothing: its text is what libnuma warns of, if it does.

    A warning about the string itself ends in a newline of its own, one about a device does not.
    """

    @property
    def stderr(self) -> str:
        """What libnuma prints."""
        return f"libnuma: Warning: {self}\n" if str(self) else ""


def parse_nodestring(text: str, valid: Nodemask, configured: int) -> Nodemask:
    """The nodes that *text* names.

    *valid* are the caller's allowed nodes, or every possible one where the program's ``--all`` asks
    for that; *configured* is how many nodes exist, which is as far as ``!`` reaches.

    Raises RefusedError. Mirrors numa_parse_nodestring() and numa_parse_nodestring_all(), libnuma.c.

    >>> parse_nodestring("!+0", Nodemask.of(0, 1, 3), 4)
    Nodemask('1-3')
    """
    return Nodemask(_parse(text, configured, _Items(valid, text)))


def parse_cpustring(text: str, valid: Cpumask, configured: int) -> Cpumask:
    """The CPUs that *text* names.

    *valid* are the caller's allowed CPUs, or all configured ones where the program's ``--all`` asks
    for that; *configured* is how many there are, which is as far as ``!`` reaches.

    Raises RefusedError. Mirrors numa_parse_cpustring() and numa_parse_cpustring_all(), libnuma.c.

    >>> parse_cpustring("!0-1", Cpumask.of(0, 1, 2, 3), 4)
    Cpumask('2-3')
    """
    return Cpumask(_parse(text, configured, _Items(valid, text)))


def nodes_of(text: str, libnuma: Libnuma) -> Nodemask:
    """The allowed nodes that *text* names. Raises StoppedError, as programs end if it is wrong."""
    try:
        return parse_nodestring(text, libnuma.allowed, len(libnuma.nodes))
    except RefusedError as refused:
        raise StoppedError(1, f"<{text}> is invalid\n", refused.stderr) from None


class _Items(NamedTuple):
    """The items of one string, after its ``!`` and ``+``: of nodes, or of CPUs."""

    valid: Bitmap
    text: str  # the whole string

    @property
    def noun(self) -> str:
        """What they are, as messages say."""
        return self.valid.noun.lower()

    @property
    def relative(self) -> bool:
        """Whether a number is a rank among the valid ones."""
        return self.text.removeprefix("!").startswith("+")

    def parse(self, rest: str) -> Bitmap:
        """The union of all items. Raises RefusedError."""
        mask = Bitmap()
        while True:
            if rest == "all":
                return self.valid
            prefix, colon, name = rest.partition(":")
            if colon and prefix in _PREFIXES and self.noun == "node":
                raise RefusedError(_unknown_device(prefix, name))
            members, rest = self._range(rest)
            mask |= members
            if not rest:
                return mask
            if rest[0] != ",":
                raise RefusedError("")
            rest = rest[1:]

    def _range(self, text: str) -> tuple[Bitmap, str]:
        """The members of the number or range that begins *text*, and what follows it."""
        first, rest = self._number(text)
        if rest == text:
            raise RefusedError(f"unparseable {self.noun} description `{text}'\n")
        if not self._is_valid(first):
            raise RefusedError(f"{self._named(first, text)} is out of range\n")
        mask = Bitmap.of(first % _UINT)
        if not rest.startswith("-"):
            return mask, rest
        text = rest[1:]
        last, rest = self._number(text)
        if rest == text:
            raise RefusedError(f"missing {self.noun} argument {text}\n")
        if not self._is_valid(last):
            raise RefusedError(f"{self._named(last, text)} out of range\n")
        between = (one for one in self.valid if (one - first) % _UINT <= last - first)
        return mask | Bitmap.collect(between), rest

    def _named(self, number: int, text: str) -> str:
        """How a number out of range is reported; of CPUs it is with all that follows."""
        return f"{self.noun} argument {to_signed(number, 64) if self.noun == 'node' else text}"

    def _number(self, text: str) -> tuple[int, str]:
        """The number that begins *text*, or the valid one of that rank. Mirrors get_nr()."""
        value, rest = strtoul(text)
        if not self.relative or rest == text:
            return value, rest
        rank = to_signed(value, 64)
        if rank < 0:
            return (1 << 64) - 1, rest
        return self.valid.nth(rank) if rank < len(self.valid) else self.valid.limit, rest

    def _is_valid(self, number: int) -> bool:
        return number % _UINT in self.valid  # numa_bitmask_isbitset() takes an unsigned int


def _parse(text: str, configured: int, items: _Items) -> int:
    """The members that *text* names, as bits. Raises RefusedError."""
    if not text:
        return 0
    rest = text.removeprefix("!")
    mask = items.parse(rest.removeprefix("+"))
    return int(mask) ^ ((1 << configured) - 1) if rest != text else int(mask)


def _unknown_device(prefix: str, name: str) -> str:
    """What libnuma says of a device, of which the machine has none. Mirrors resolve_affinity()."""
    if prefix in ("netdev", "block"):
        name = name.lstrip(" \t\n\v\f\r")
        if "/" in name or "." in name:
            return f"Illegal characters in `{name}' specification"
    if prefix == "file":
        return f"Cannot stat file {name}"
    if prefix == "ip":
        if name == "127.0.0.1":
            return "Cannot read node mask for net device `lo'"
        return f"Cannot resolve {name}: Temporary failure in name resolution"
    if prefix == "pci" and not _PCI.match(name):
        return f"Cannot parse PCI device `{name}'"
    return f"Cannot read node mask for {_PREFIXES[prefix]} device `{name}'"
