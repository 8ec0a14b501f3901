"""``pymigrate init``."""

from __future__ import annotations

import os

import click

from pymigrate.cli.common import MACHINE_NODES, shorten, write_text
from pymigrate.cli.helped import Command, any_file, option


@click.command(cls=Command)
@click.argument("path", metavar="[FILE]", default="scenario.yaml", shell_complete=any_file)
@option(
    "--nodes",
    "text",
    type=MACHINE_NODES,
    metavar="NODES",
    default="2x1GiB",
    show_default=True,
    help="The nodes, as in 4x384GiB:16,2x512GiB@cxl.",
)
@option("--force", is_flag=True, help="Replace FILE if it exists.")
def command(path: str, text: str, force: bool) -> None:
    """Write a scenario to begin with into FILE (default: scenario.yaml).

    NODES is a list of [COUNTx]SIZE[@cxl][:CPUS]. A node has 4 CPUs if none are given, or none if it
    is CXL memory. `pymigrate boot FILE` boots the machine, which has one task, app.
    """
    if os.path.lexists(path) and not force:
        raise click.BadParameter(f"{shorten(path)} exists; --force replaces it", param_hint="FILE")
    write_text(path, text, "FILE")
    click.echo(f"wrote {path}; `pymigrate boot {path}` boots it")
