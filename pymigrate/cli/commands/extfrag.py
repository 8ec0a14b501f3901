"""``pymigrate extfrag``."""

from __future__ import annotations

import click

from pymigrate.cli.common import Options, common_options
from pymigrate.cli.helped import Command, option
from pymigrate.views.proc import extfrag


@click.command(cls=Command)
@option("--unusable", is_flag=True, help="Print unusable_index instead.")
@common_options()
def command(options: Options, unusable: bool) -> None:
    """Print debugfs's extfrag/extfrag_index: why allocations of each order would fail.

    Towards 0: too little memory. Towards 1: free memory is scattered. -1: they would not fail.
    --unusable prints which share of the free memory is useless to an order.
    """
    with options.session() as machine:
        rows = extfrag.rows(machine)
    text = extfrag.format_unusable(rows) if unusable else extfrag.format_extfrag(rows)
    options.show([row._asdict() for row in rows], text)
