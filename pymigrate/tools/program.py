"""What all the programs share: what they know at their start, what they leave behind, strtoul()."""

import re
from typing import NamedTuple

from pymigrate.nodemask import Nodemask

_ULONG = 1 << 64
_STRTOUL = re.compile(r"[ \t\n\v\f\r]*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_MAX_DIGITS = 20  # of 2**64 in decimal; more are out of range, and int() refuses thousands


class Exit(NamedTuple):
    """How a program ended: its status, and all that it wrote."""

    exit: int
    stdout: str = ""
    stderr: str = ""


class Libnuma(NamedTuple):
    """What libnuma finds when a program starts.

    *allowed* is the caller's Mems_allowed, so without nodes that have no memory; *configured* is
    how many nodes exist; *available* is false where get_mempolicy() gives ENOSYS or EPERM.
    """

    allowed: Nodemask
    configured: int
    available: bool = True


def strtoul(text: str) -> tuple[int, str]:
    """C's strtoul() in base 0: the number, modulo 2**64, and the rest of *text* after it.

    The rest is all of *text* if no number begins there; a number out of range is 2**64 - 1.

    >>> strtoul("0x10-3"), strtoul("08"), strtoul(" -1") == (2**64 - 1, ""), strtoul("x")
    ((16, '-3'), (0, '8'), True, (0, 'x'))
    """
    match = _STRTOUL.match(text)
    if match is None:
        return 0, text
    value = _magnitude(match[2])
    if value >= _ULONG:
        value = _ULONG - 1
    elif match[1] == "-":
        value = -value % _ULONG
    return value, text[match.end() :]


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
