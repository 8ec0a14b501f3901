"""``pymigrate export``."""

from __future__ import annotations

import gc
import os
import sys
import time
from functools import partial

import click

from pymigrate.cli.common import Options, common_options
from pymigrate.cli.helped import Command, option
from pymigrate.cli.tree_writer import TreeWriter
from pymigrate.session import state_path
from pymigrate.views.sysfs.memory_blocks import is_of_block
from pymigrate.views.tree import is_of_pages, tree

_INTERVAL = 0.1  # seconds between two looks at the state


@click.command(cls=Command)
@click.argument("folder", metavar="DIR")
@option("--watch", is_flag=True, help="Follow every change of the state until interrupted.")
@option("--blocks", is_flag=True, help="Write a directory for each memory block, too.")
@option("--pages", is_flag=True, help="Write pagemap, kpageflags and kpagecount, too.")
@option("-v", "--verbose", "is_verbose", is_flag=True, help="Say how many files have changed.")
@common_options(json=False)
def command(
    options: Options, folder: str, watch: bool, blocks: bool, pages: bool, is_verbose: bool
) -> None:
    """Write the machine's /proc and /sys into DIR, for programs that read such files.

    Each file is replaced as a whole, and what no longer exists is removed. DIR must be new, empty,
    or written by an earlier export. Memory blocks, thousands of directories on a large machine, are
    left out unless --blocks asks for them, and files that have a number for each page, unless
    --pages does: they have holes where all is 0. `pymigrate cat` prints a single file.
    """
    if watch and options.ephemeral:
        raise click.UsageError("--watch follows a state, and with --ephemeral there is none")
    try:
        writer = TreeWriter(folder, partial(_is_left_out, blocks, pages))
        seen = _export(options, writer, is_verbose)
        while watch:
            time.sleep(_INTERVAL)
            if _stamp(options) != seen:
                seen = _export(options, writer, is_verbose)
    except OSError as error:
        where = error.filename or folder
        raise click.ClickException(f"cannot write {where}: {error.strerror}") from None


def _is_left_out(blocks: bool, pages: bool, path: str) -> bool:
    return (not blocks and is_of_block(path)) or (not pages and is_of_pages(path))


def _export(options: Options, writer: TreeWriter, is_verbose: bool) -> tuple[int, ...]:
    """Write what the state holds, and give what tells it from a later one."""
    stamp = _stamp(options)
    with options.session() as machine:
        files, removed = writer.write(tree(machine))
    gc.collect()  # the machine: a command is short, but one that watches is not
    if is_verbose:
        click.echo(f"{writer.shown}: {files} files written, {removed} removed")
        sys.stdout.flush()
    return stamp


def _stamp(options: Options) -> tuple[int, ...]:
    """What changes with the state's file."""
    if options.ephemeral:
        return ()
    try:
        found = os.stat(state_path(options.request()))
    except FileNotFoundError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size
