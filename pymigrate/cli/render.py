"""What only a terminal gets: colours and progress bars. The only module that imports rich."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from pymigrate.cli.terminal import printable
from pymigrate.views.pictures.show import FREE_SIGN, USED_SIGN, Span
from pymigrate.views.pictures.strips import HEAT_COLOURS, node_colour

T = TypeVar("T")

_ROLES = {"head": "bold", "dim": "dim", "free": "dim"}
_LINES = str.maketrans({USED_SIGN: "\u2501", FREE_SIGN: "\u2500"})  # heavy and light


def coloured(lines: Iterable[list[Span]], *, is_forced: bool = False) -> str:
    """*lines* with codes for colours; without them if NO_COLOR is set, unless *is_forced*."""
    if is_forced:
        console = Console(force_terminal=True, color_system="256", no_color=False)
    else:
        console = Console()
    signs = {} if console.options.ascii_only or _is_c_locale() else _LINES
    with console.capture() as capture:
        for line in lines:
            text = Text()
            for span in line:
                is_bar = span.role in ("used", "free")
                shown = span.text.translate(signs) if is_bar else printable(span.text)
                text.append(shown, _style(span))
            console.print(text, soft_wrap=True, highlight=False)
    return capture.get()


def progress(parts: Iterable[T], total: int, noun: str) -> Iterator[T]:
    """Pass *parts* on, with a bar on stderr that shows how many of *total* are done."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(file=sys.__stderr__),
        transient=True,
        # Where stdout goes elsewhere, rich would print it on stderr.
        redirect_stdout=bool(sys.stdout and sys.stdout.isatty()),
    )
    with bar:
        yield from bar.track(parts, total, description=noun)


@contextmanager
def waiting_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr until the block ends; it gives what tells how much of how much is done."""
    bar = Progress(
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=Console(file=sys.__stderr__),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    task = bar.add_task("", total=None)
    with bar:
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def _is_c_locale() -> bool:
    """Whether the user asks for ASCII: Python itself takes the C locale for UTF-8."""
    named = (os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    return next(filter(None, named), "") in ("C", "POSIX")


def _style(span: Span) -> str:
    if span.role == "heat":
        ink = "white" if span.nid > 6 else "#1c1c1c"
        return f"{ink} on {HEAT_COLOURS[span.nid]}" if span.nid else ""
    if span.nid < 0:
        return "dim" if span.role == "cell" else _ROLES.get(span.role, "")
    colour = node_colour(span.nid)
    return f"#1c1c1c on {colour}" if span.role == "cell" else colour
