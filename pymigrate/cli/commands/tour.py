"""``pymigrate tour``: the kernel's page_migration document, as docs/tour.md takes it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from pymigrate.cli.help.guide import as_text, guides
from pymigrate.cli.helped import Command, option
from pymigrate.records import NamedTuple

_WIDEST = 100  # lines that are longer are hard to read
_ASK = "[n]ext, [b]ack, [t]ry it, [q]uit, a number, or a command"
_RUN = "import sys; sys.path[:] = {}; from pymigrate.cli.main import main; main()"


class Statement(NamedTuple):
    """A statement of the document: its number, its title, and its section of the guide."""

    number: int
    title: str
    text: str

    @property
    def session(self) -> list[str]:
        """The commands that show it happening."""
        shown = "".join(re.findall(r"^```console\n(.*?)^```$", self.text, re.M | re.S))
        return [line[2:] for line in shown.splitlines() if line.startswith("$ ")]


Runner = Callable[[str], None]


@click.command(cls=Command)
@click.argument("number", type=click.IntRange(min=1), required=False)
@option("--list", "lists", is_flag=True, help="List the statements.")
def command(number: int | None, lists: bool) -> None:
    """Walk through the kernel's migration document, page_migration.

    Each of its 45 statements has a session that shows it happening. On a terminal you go on and
    back, and try it on a machine that belongs to the tour alone. In a pipe, the text is printed: of
    statement NUMBER, or all of it.
    """
    guide = guides()["tour"]
    found = statements(guide)
    if number and number > len(found):
        expected = f"expected one of the {len(found)} statements"
        raise click.BadParameter(f"{number}; {expected}", param_hint="NUMBER")
    if lists:
        click.echo("".join(f"{each.number:2}  {each.title}\n" for each in found), nl=False)
    elif sys.stdin and sys.stdin.isatty() and sys.stdout.isatty():
        with _machine() as run:
            walk(found, (number or 1) - 1, run)
    else:
        text = found[number - 1].text if number else guide
        click.echo(click.unstyle(as_text(text, _width())), nl=False)


def statements(guide: str) -> list[Statement]:
    """The statements of the guide, in their order."""
    parts = re.split(r"^(?=## \d+\. )", guide, flags=re.MULTILINE)[1:]
    found = []
    for text in parts:
        number, _, title = text.partition("\n")[0].removeprefix("## ").partition(". ")
        found.append(Statement(int(number), title, text.rstrip() + "\n"))
    return found


def walk(found: list[Statement], at: int, run: Runner) -> None:
    """Show statement after statement, and do what is asked for, until that is to quit."""
    last = len(found) - 1
    shown = None
    while at <= last:
        if shown is None:
            click.echo(as_text(found[at].text, _width()), nl=False)
        shown = at
        try:
            answer = str(click.prompt(_ASK, "", show_default=False, prompt_suffix=": ")).strip()
        except click.Abort:
            click.echo()
            return
        if answer in ("q", "quit", "exit"):
            return
        to = _place(answer, at, last)
        if to is not None:
            at, shown = to, None
        elif answer.isdecimal():
            click.echo(f"There are statements 1 to {last + 1}.")
        elif answer in ("t", "try", "try it"):
            for line in found[at].session:
                click.echo(f"$ {line}")
                run(line)
        else:
            run(answer)
    click.echo("That was the last one.")


def _place(answer: str, at: int, last: int) -> int | None:
    """Where *answer* leads to from *at*; None if it leads nowhere."""
    if answer in ("", "n", "next"):
        return at + 1
    if answer in ("b", "back"):
        return max(at - 1, 0)
    if answer.isdecimal() and 0 < int(answer) <= last + 1:
        return int(answer) - 1
    return None


@contextmanager
def _machine() -> Iterator[Runner]:
    """A machine of the tour's own, and what runs a line of a session on it."""
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ)
        environment["PYMIGRATE_STATE"] = os.path.join(folder, "machine.db")
        environment["PYMIGRATE_SCENARIO"] = "two-node"
        code = _RUN.format(sys.path)

        def run(line: str) -> None:
            try:
                words = shlex.split(line)
            except ValueError as error:
                click.echo(f"{line}: {error}", err=True)
                return
            if words[:1] == ["export"]:
                environment.update(dict(word.partition("=")[::2] for word in words[1:]))
                return
            args = words[1:] if words[:1] == ["pymigrate"] else words
            subprocess.run([sys.executable, "-c", code, *args], env=environment, check=False)

        yield run


def _width() -> int:
    return min(shutil.get_terminal_size().columns, _WIDEST)
