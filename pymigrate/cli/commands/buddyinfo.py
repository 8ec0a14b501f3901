"""``pymigrate buddyinfo``."""

from __future__ import annotations

import click

from pymigrate.cli.common import Options, common_options
from pymigrate.cli.helped import Command
from pymigrate.views.proc import buddyinfo


@click.command(cls=Command)
@common_options()
def command(options: Options) -> None:
    """Print /proc/buddyinfo: the free blocks of each order, from 4 KiB to 4 MiB, zone by zone."""
    with options.session() as machine:
        rows = buddyinfo.rows(machine)
    options.show([row._asdict() for row in rows], buddyinfo.format_rows(rows))
