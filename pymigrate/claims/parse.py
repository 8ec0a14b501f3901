"""The grammar of claims: two values and a comparison between them.

CLAIM   = VALUE ("==" | "!=" | "<=" | ">=" | "<" | ">") VALUE
VALUE   = NUMBER | SIZE | NUMBER "%" | NAME | "'" TEXT "'"
SIZE    = digits and a unit: 64KiB, 3MiB, 2GiB, 1TiB
NAME    = WORD [ "(" WHOSE ")" ] { "." WORD }
"""

import operator
import re
from collections.abc import Callable
from typing import Any

from pymigrate.records import NamedTuple
from pymigrate.units import parse_size

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_CLAIM = r"('[^']*'|[^=!<>']+?)\s*(==|!=|<=|>=|<|>)\s*('[^']*'|[^=!<>']+)"
_NUMBER, _SIZE = r"-?\d+(?:\.\d+)?", r"\d+ ?[KMGT]i?B?"
_NAME = r"([A-Za-z_]\w*)(?:\(([^()]*)\))?((?:\.[^.\s]+)*)"


class Number(NamedTuple):
    """A number as it stands."""

    value: float

    def __str__(self) -> str:
        return f"{self.value:g}" if self.value % 1 else str(int(self.value))


class Size(NamedTuple):
    """A number of bytes."""

    value: int
    text: str


class Percent(NamedTuple):
    """A part of a whole, in percent."""

    value: float


class Text(NamedTuple):
    """A word, or anything in quotes."""

    value: str


class Named(NamedTuple):
    """What has to be looked up: a source, whose it is, and which of it."""

    source: str
    whose: str | None
    parts: tuple[str, ...]
    text: str


Term = Number | Size | Percent | Text | Named


class Claim(NamedTuple):
    """What is claimed."""

    left: Term
    compare: str
    right: Term
    text: str


def parse(text: str) -> Claim:
    """The claim that *text* makes.

    Raises ValueError, which says what is wrong with it.

    >>> parse("vmstat.pgmigrate_fail == 0").compare
    '=='
    """
    match = re.fullmatch(_CLAIM, text.strip())
    if match is None:
        raise ValueError(
            f"{text!r} is not a claim; expected VALUE ==|!=|<=|>=|<|> VALUE,"
            " such as 'vmstat.pgmigrate_fail == 0'"
        )
    left, right = _term(match[1].strip()), _term(match[3].strip())
    if not isinstance(left, Named) and not isinstance(right, Named):
        raise ValueError(f"{text!r} names nothing of the machine")
    return Claim(left, match[2], right, text.strip())


def _term(text: str) -> Term:
    if text.startswith("'"):
        return Text(text[1:-1])
    if re.fullmatch(_NUMBER, text):
        return Number(float(text))
    if re.fullmatch(_NUMBER + "%", text):
        return Percent(float(text[:-1]))
    if re.fullmatch(_SIZE, text):
        return Size(parse_size(text), text)
    match = re.fullmatch(_NAME, text)
    if match is None:
        raise ValueError(f"{text!r} is no value: neither a number, a size, a percentage nor a name")
    parts = tuple(match[3].split(".")[1:])
    return Named(match[1], match[2], parts, text)
