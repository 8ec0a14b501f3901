"""``pymigrate cat``."""

from __future__ import annotations

import click

from pymigrate.cli.common import Options, common_options
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command
from pymigrate.errors import KernelError
from pymigrate.views.entries import Dir, read
from pymigrate.views.tree import tree


@click.command(cls=Command)
@click.argument(
    "paths", metavar="PATH...", nargs=-1, required=True, shell_complete=complete.tree_paths
)
@common_options(json=False)
def command(options: Options, paths: tuple[str, ...]) -> int:
    """Print files of the machine's /proc and /sys, as root reads them.

    PATH is, for example, proc/4321/smaps, with or without a leading /. Of a directory it prints the
    entries: directories with a / at the end, links with where they lead. `pymigrate export` writes
    all of these files.
    """
    with options.session() as machine:
        root = tree(machine)
        printed = [_print(root, path) for path in paths]
    return 0 if all(printed) else 1


def _print(root: Dir, path: str) -> bool:
    """Print one file, or why it cannot be had."""
    try:
        text = read(root, path)
    except KernelError as error:
        click.echo(f"cat: {path}: {error}", err=True)
        return False
    click.echo(text, nl=False)
    return True
