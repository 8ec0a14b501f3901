"""``pymigrate help``."""

from __future__ import annotations

import shutil
import sys
from difflib import get_close_matches

import click

from pymigrate.cli.common import shorten
from pymigrate.cli.help import complete
from pymigrate.cli.help.guide import as_text, guides, title_of
from pymigrate.cli.helped import Command
from pymigrate.cli.main import commands

_WIDEST = 100  # lines that are longer are hard to read


@click.command(cls=Command)
@click.argument("topic", required=False, shell_complete=complete.topics)
@click.pass_context
def command(ctx: click.Context, topic: str | None) -> None:
    """Show a guide, or the help of a command; without TOPIC, list the guides.

    On a terminal a guide is shown by your pager.
    """
    texts = guides()
    if topic is None:
        _show_list({name: title_of(text) for name, text in texts.items()})
    elif topic in texts:
        _show(as_text(texts[topic], _width()))
    elif topic in commands():
        group = ctx.find_root().command
        assert isinstance(group, click.Group)
        found = group.get_command(ctx, topic)
        assert found is not None, "it is listed"
        click.echo(found.get_help(click.Context(found, info_name=topic, parent=ctx.parent)))
    else:
        near = get_close_matches(topic, [*texts, *commands()], 1)
        hint = f"; nearest is {near[0]}" if near else ""
        raise click.BadParameter(
            f"there is no guide or command {shorten(topic)}{hint}; `pymigrate help` lists them",
            param_hint="TOPIC",
        )


def _show_list(titles: dict[str, str]) -> None:
    formatter = click.HelpFormatter(width=_width())
    with formatter.section("Guides, for pymigrate help TOPIC"):
        formatter.write_dl(list(titles.items()))
    formatter.write("\nEach command has help of its own: pymigrate COMMAND --help\n")
    click.echo(formatter.getvalue(), nl=False)


def _show(text: str) -> None:
    if _is_terminal():
        click.echo_via_pager(text)
    else:
        click.echo(click.unstyle(text), nl=False)


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _width() -> int:
    return min(shutil.get_terminal_size().columns, _WIDEST)
