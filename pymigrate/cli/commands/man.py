"""``pymigrate man``."""

from __future__ import annotations

import os

import click

from pymigrate.cli.common import shorten
from pymigrate.cli.helped import Command
from pymigrate.cli.main import commands
from pymigrate.cli.roff import page
from pymigrate.version import __version__


@click.command(cls=Command)
@click.argument("directory", metavar="DIR")
@click.pass_context
def command(ctx: click.Context, directory: str) -> None:
    """Write manual pages into DIR: pymigrate.1, and one for each command.

    DIR is created if it is missing. If DIR is man1 in a directory of $MANPATH, man finds the pages:
    pymigrate man ~/.local/share/man/man1.
    """
    root = ctx.find_root()
    group = root.command
    assert isinstance(group, click.Group)
    titles = {name: f"pymigrate-{name}" for name in commands()}
    top = click.Context(group, info_name="pymigrate", **group.context_settings)
    pages = {"pymigrate": page("pymigrate", top, __version__, commands(), list(titles.values()))}
    for name, title in titles.items():
        found = group.get_command(root, name)
        assert found is not None, "it is listed"
        inner = click.Context(found, info_name=name, parent=top)
        pages[title] = page(title, inner, __version__, commands(), ["pymigrate"])
    try:
        os.makedirs(directory, exist_ok=True)
        for title, text in pages.items():
            with open(os.path.join(directory, f"{title}.1"), "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        why = f"{shorten(directory)} cannot be written: {error.strerror}"
        raise click.BadParameter(why, param_hint="DIR") from None
    click.echo(f"wrote {len(pages)} manual pages to {directory}")
