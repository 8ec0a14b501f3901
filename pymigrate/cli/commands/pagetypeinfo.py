"""``pymigrate pagetypeinfo``."""

from __future__ import annotations

import click

from pymigrate.cli.common import Options, common_options
from pymigrate.cli.helped import Command
from pymigrate.views.proc import pagetypeinfo


@click.command(cls=Command)
@common_options()
def command(options: Options) -> None:
    """Print /proc/pagetypeinfo: free blocks and pageblocks by migratetype."""
    with options.session() as machine:
        rows = pagetypeinfo.rows(machine)
    options.show([row._asdict() for row in rows], pagetypeinfo.format_rows(rows))
