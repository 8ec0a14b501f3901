"""GNU getopt_long(): which options and operands a command line has, and what is wrong with it."""

from collections import deque
from collections.abc import Iterator, Sequence
from enum import Enum

from pymigrate.records import NamedTuple


class Argument(Enum):
    """Whether an option takes an argument; an optional one must be glued to it."""

    NONE = 0
    REQUIRED = 1
    OPTIONAL = 2


class Option(NamedTuple):
    """A row of a program's option table; an empty name is none."""

    long: str = ""
    short: str = ""
    argument: Argument = Argument.NONE

    @property
    def name(self) -> str:
        """What the option is reported as: its letter, or its long name where it has no letter."""
        return self.short or self.long


def option_table(text: str) -> list[Option]:
    """The table of the words of *text*: ``LONG,LETTER``, of which one may be missing.

    As in getopt's string, a colon behind it stands for an argument, two for an optional one.

    >>> option_table("show,s ,m: length,L::")[2]
    Option(long='length', short='L', argument=<Argument.OPTIONAL: 2>)
    """
    table = []
    for word in text.split():
        names = word.rstrip(":")
        long, _, short = names.partition(",")
        table.append(Option(long, short, Argument(len(word) - len(names))))
    return table


class Parsed(NamedTuple):
    """A command line taken apart.

    *options* holds (`Option.name`, argument) in the order given, up to the first mistake. *error*
    is getopt's line about that mistake, without a newline; after one, *operands* is empty.
    """

    options: list[tuple[str, str | None]]
    operands: list[str]
    error: str = ""


def getopt_long(argv: Sequence[str], table: Sequence[Option], *, permute: bool = True) -> Parsed:
    """Take *argv* apart by *table*; argv[0] is the program's name, for messages.

    Without *permute* (``+`` in C's option string, or POSIXLY_CORRECT in the environment) the first
    operand ends the options. A table without long names is plain getopt()'s.

    >>> getopt_long(["p", "-m0", "1", "--sh"], [Option("show"), Option("", "m", Argument.REQUIRED)])
    Parsed(options=[('m', '0'), ('show', None)], operands=['1'], error='')
    """
    words = deque(argv[1:])
    options: list[tuple[str, str | None]] = []
    operands: list[str] = []
    while words:
        word = words.popleft()
        if word == "--":
            break
        if word == "-" or not word.startswith("-"):
            operands.append(word)
            if not permute:
                break
            continue
        try:
            for option in _options_of(word, words, table):
                options.append(option)  # noqa: PERF402 - extend() need not keep those before a mistake
        except _MistakeError as mistake:
            return Parsed(options, [], f"{argv[0]}: {mistake}")
    return Parsed(options, [*operands, *words])


class _MistakeError(Exception):
    """What getopt_long() complains about."""


def _options_of(
    word: str, following: deque[str], table: Sequence[Option]
) -> Iterator[tuple[str, str | None]]:
    if word.startswith("--") and any(row.long for row in table):
        yield _long_option(word, following, table)
    else:
        yield from _short_options(word, following, table)


def _long_option(
    word: str, following: deque[str], table: Sequence[Option]
) -> tuple[str, str | None]:
    prefix, equals, value = word[2:].partition("=")
    row = _find_long(word, prefix, table)
    if equals:
        if row.argument is Argument.NONE:
            raise _MistakeError(f"option '--{row.long}' doesn't allow an argument")
        return row.name, value
    if row.argument is not Argument.REQUIRED:
        return row.name, None
    if not following:
        raise _MistakeError(f"option '--{row.long}' requires an argument")
    return row.name, following.popleft()


def _find_long(word: str, prefix: str, table: Sequence[Option]) -> Option:
    """The row that *prefix* means: the one of that name, else the only one that begins so.

    Rows that mean the same option are no ambiguity. Mirrors process_long_option(), posix/getopt.c.
    """
    rows = [row for row in table if row.long and row.long.startswith(prefix)]
    if not rows:
        raise _MistakeError(f"unrecognized option '{word}'")
    for row in rows:
        if row.long == prefix:
            return row
    first = rows[0]
    others = [row for row in rows if (row.name, row.argument) != (first.name, first.argument)]
    if others:
        names = " ".join(f"'--{row.long}'" for row in (first, *others))
        raise _MistakeError(f"option '{word}' is ambiguous; possibilities: {names}")
    return first


def _short_options(
    word: str, following: deque[str], table: Sequence[Option]
) -> Iterator[tuple[str, str | None]]:
    by_letter = {row.short: row for row in table if row.short}
    for at, letter in enumerate(word[1:], 1):
        row = by_letter.get(letter)
        if row is None:
            raise _MistakeError(f"invalid option -- '{letter}'")
        if row.argument is Argument.NONE:
            yield row.name, None
            continue
        glued = word[at + 1 :]
        if glued or row.argument is Argument.OPTIONAL:
            yield row.name, glued or None
            return
        if not following:
            raise _MistakeError(f"option requires an argument -- '{letter}'")
        yield row.name, following.popleft()
