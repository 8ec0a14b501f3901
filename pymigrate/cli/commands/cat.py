"""``pymigrate cat``."""

from __future__ import annotations

import click

from pymigrate.cli.common import SIZE, Options, common_options
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command, option
from pymigrate.errors import KernelError
from pymigrate.views.entries import Dir, read_bytes
from pymigrate.views.tree import is_of_pages, tree


@click.command(cls=Command)
@click.argument(
    "paths", metavar="PATH...", nargs=-1, required=True, shell_complete=complete.tree_paths
)
@option("--offset", type=SIZE, default="0", help="Begin with this byte of each file.")
@option("--length", type=SIZE, help="Print so many bytes of each file, not all.")
@common_options(json=False)
def command(options: Options, paths: tuple[str, ...], offset: int, length: int | None) -> int:
    """Print files of the machine's /proc and /sys, as root reads them.

    PATH is, for example, proc/4321/smaps, with or without a leading /. Of a directory it prints the
    entries: directories with a / at the end, links with where they lead. `pymigrate export` writes
    all of these files.

    proc/PID/pagemap, proc/kpageflags and proc/kpagecount have a number for each page: they are
    binary and large, and --offset and --length take a part.
    """
    with options.session() as machine:
        root = tree(machine)
        printed = [_print(root, path, offset, length) for path in paths]
    return 0 if all(printed) else 1


def _print(root: Dir, path: str, offset: int, length: int | None) -> bool:
    """Print one file, or why it cannot be had."""
    try:
        parts = read_bytes(root, path, offset, length)
        if is_of_pages(path.lstrip("/")):
            for part in parts:
                click.echo(part, nl=False)
        else:
            click.echo(b"".join(parts).decode(errors="replace"), nl=False)
    except KernelError as error:
        click.echo(f"cat: {path}: {error}", err=True)
        return False
    return True
