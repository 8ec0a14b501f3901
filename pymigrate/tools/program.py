"""What all the programs share: what they know at their start, what they leave behind, strtoul()."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from pymigrate.nodemask import Cpumask, Nodemask

_ULONG = 1 << 64
_STRTOUL = re.compile(r"[ \t\n\v\f\r]*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_OCTAL = re.compile(r"[ \t\n\v\f\r]*([+-]?)([0-7]+)")
_ATOI = re.compile(r"[ \t\n\v\f\r]*([+-]?)([0-9]+)")
_SCALES = {"k": 10, "m": 20, "g": 30}
_MAX_DIGITS = 20  # of 2**64 in decimal; more are out of range, and int() refuses thousands

# What a shell says of a program that a signal has ended.
SIGNALLED = {"SIGBUS": 128 + 7, "SIGKILL": 128 + 9, "SIGSEGV": 128 + 11}


class Exit(NamedTuple):
    """How a program ended: its status, and all that it wrote.

    A program that becomes another one has not ended: *command* is the other's argv.
    """

    exit: int
    stdout: str = ""
    stderr: str = ""
    command: tuple[str, ...] = ()


class StoppedError(Exception):
    """A program has ended before the end of its main(), with *status*."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


class Libnuma(NamedTuple):
    """What libnuma finds when a program starts.

    *allowed* is the caller's Mems_allowed, so without nodes that have no memory; *configured* is
    how many nodes exist; *available* is false where get_mempolicy() gives ENOSYS or EPERM. *nodes*
    are those that exist, *cpus* likewise; *allowed_cpus* is the affinity at the start. *devices*
    are those that node strings can name.
    """

    allowed: Nodemask
    configured: int
    available: bool = True
    nodes: Nodemask = Nodemask()
    allowed_cpus: Cpumask = Cpumask()
    cpus: Cpumask = Cpumask()
    devices: Mapping[str, int] = MappingProxyType({})

    @property
    def possible(self) -> Nodemask:
        """Every number up to the highest node's, as ``--all`` takes them."""
        return Nodemask((1 << int(self.nodes).bit_length()) - 1)


def strtoul(text: str, base: int = 0) -> tuple[int, str]:
    """C's strtoul() in *base* 0 or 8: the number, modulo 2**64, and the rest of *text* after it.

    The rest is all of *text* if no number begins there; a number out of range is 2**64 - 1.

    >>> strtoul("0x10-3"), strtoul("08"), strtoul(" -1") == (2**64 - 1, ""), strtoul("x")
    ((16, '-3'), (0, '8'), True, (0, 'x'))
    """
    match = (_OCTAL if base == 8 else _STRTOUL).match(text)
    if match is None:
        return 0, text
    value = int(match[2], 8) if base == 8 else _magnitude(match[2])
    if value >= _ULONG:
        value = _ULONG - 1
    elif match[1] == "-":
        value = -value % _ULONG
    return value, text[match.end() :]


def memsize(text: str) -> int:
    """A size as numactl's programs take it: a number, then perhaps k, m or g; modulo 2**64.

    What follows is ignored. Mirrors memsize(), util.c.

    >>> memsize("1g5"), memsize("0x10K"), memsize("abc")
    (1073741824, 16384, 0)
    """
    number, rest = strtoul(text)
    return (number << _SCALES.get(rest[:1].lower(), 0)) % _ULONG


def atoi(text: str) -> int:
    """C's atoi(): the number that begins *text*, cut to an int; 0 if there is none.

    >>> atoi(" 12x"), atoi("x"), atoi("4294967297")
    (12, 0, 1)
    """
    match = _ATOI.match(text)
    if match is None:
        return 0
    digits = match[2].lstrip("0")
    value = int(digits or "0") if len(digits) <= _MAX_DIGITS else _ULONG
    value = min(value, (_ULONG >> 1) - 1)
    return to_signed(-value if match[1] == "-" else value, 32)


def to_signed(value: int, bits: int) -> int:
    """*value* cut to a signed integer of *bits*, as a C conversion does.

    >>> to_signed(2**32 + 1, 32), to_signed(2**64 - 1, 64)
    (1, -1)
    """
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half


def _magnitude(digits: str) -> int:
    if digits[:2] in ("0x", "0X"):
        return int(digits, 16)
    if digits[0] == "0":
        return int(digits, 8)
    return int(digits) if len(digits) <= _MAX_DIGITS else _ULONG
