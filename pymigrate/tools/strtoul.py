"""Numbers as programs in C read them from text, and cut them to their types."""

import re

_ULONG = 1 << 64
_STRTOUL = r"[ \t\n\v\f\r]*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)"
_OCTAL = r"[ \t\n\v\f\r]*([+-]?)([0-7]+)"
_ATOI = r"[ \t\n\v\f\r]*([+-]?)([0-9]+)"
_SCALES = {"k": 10, "m": 20, "g": 30}
_MAX_DIGITS = 20  # of 2**64 in decimal; more are out of range, and int() refuses thousands


def strtoul(text: str, base: int = 0) -> tuple[int, str]:
    """C's strtoul() in *base* 0 or 8: the number, modulo 2**64, and the rest of *text* after it.

    The rest is all of *text* if no number begins there; a number out of range is 2**64 - 1.

    >>> strtoul("0x10-3"), strtoul("08"), strtoul(" -1") == (2**64 - 1, ""), strtoul("x")
    ((16, '-3'), (0, '8'), True, (0, 'x'))
    """
    match = re.match(_OCTAL if base == 8 else _STRTOUL, text)
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
    match = re.match(_ATOI, text)
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
