"""Pictures on stdout: in colour and page by page on a terminal, plain text elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence

import click

from pymigrate.cli.terminal import painted, printable
from pymigrate.mm.state.machine import Machine
from pymigrate.views.pictures import change
from pymigrate.views.pictures.show import MAX_CELLS, MIN_CELLS, Span, plain_text

AUTO, ALWAYS, NEVER = "auto", "always", "never"
JSON_CELLS = 64


def changed(
    old: Machine, new: Machine, pids: Sequence[int], stays: change.Stays, is_json: bool
) -> list[change.ChangedTask]:
    """The tasks *pids* that something happens to, in strips as wide as the terminal lets them."""
    width = shutil.get_terminal_size().columns
    cells = JSON_CELLS if is_json else change.cells_that_fit(new, pids, width)
    return change.rows(old, new, pids, stays, cells)


def cells_beside(label: int, is_json: bool) -> int:
    """How many cells a strip may have beside a label of so many characters."""
    width = shutil.get_terminal_size().columns
    return JSON_CELLS if is_json else min(max(width - label, MIN_CELLS), MAX_CELLS)


def echo(lines: Iterable[list[Span]], color: str = AUTO) -> None:
    """Print *lines* as text_of() has them, on a terminal by a pager if they are many."""
    text = text_of(lines, color)
    if _is_terminal() and text.count("\n") >= shutil.get_terminal_size().lines:
        click.echo_via_pager(text, color=True)
    else:
        click.echo(text, painted(), nl=False, color=True)


def text_of(lines: Iterable[list[Span]], color: str = AUTO) -> str:
    """*lines* with or without colours: ALWAYS, NEVER, or AUTO: on a terminal that has them."""
    is_plain = not _is_terminal() or os.environ.get("TERM") == "dumb"
    if color == NEVER or (color == AUTO and is_plain):
        text = plain_text(lines)
        return printable(text) if _is_terminal() else text  # a pager does not guard it
    from pymigrate.cli.render import coloured

    return coloured(lines, is_forced=color == ALWAYS)


def _is_terminal() -> bool:
    return bool(sys.stdout and sys.stdout.isatty())
