"""Text on its way to a terminal, which must not obey what a scenario calls a process or a file."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import TextIO

# Control characters but for tabs and the ends of lines, and what turns the direction of text.
_OBEYED = {
    *range(0x20),
    *range(0x7F, 0xA0),
    0x61C,
    *range(0x200E, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
} - {ord("\t"), ord("\n")}
before_writing: Callable[[], None] | None = None  # what clears the terminal first
_SHOWN = dict.fromkeys(_OBEYED, "?")  # as procps shows them


def printable(text: str) -> str:
    """*text* with `?` for each character that a terminal would obey."""
    return text.translate(_SHOWN)


class _Terminal(io.TextIOWrapper):
    """Writes to a terminal what it can show."""

    def write(self, text: str, /) -> int:
        if before_writing:
            before_writing()
        super().write(printable(text))
        return len(text)


def guard_terminals() -> None:
    """Let what is printed on a terminal be printable; files and pipes get it unchanged."""
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)


def painted() -> TextIO:
    """Where stdout goes, for text whose colours a terminal is to obey."""
    if isinstance(sys.stdout, _Terminal) and sys.__stdout__:
        return sys.__stdout__
    return sys.stdout


def _guarded(stream: TextIO) -> TextIO:
    if not stream or not stream.isatty() or not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    return _Terminal(stream.buffer, stream.encoding, stream.errors, line_buffering=True)
