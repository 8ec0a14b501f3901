"""``pymigrate ps``."""

from __future__ import annotations

import click

from pymigrate.cli.common import Options, common_options
from pymigrate.cli.helped import Command
from pymigrate.views.pictures import ps


@click.command(cls=Command)
@common_options()
def command(options: Options) -> None:
    """List the tasks, with their resident pages by node.

    RSS is in kB, as in ps; N0, N1, ... are base pages (4 kB) on the nodes that have memory, as in
    numa_maps. A shared page counts for each task that maps it, the zero page for none. Only POLICY
    and COMM, the last columns, may contain blanks.
    """
    with options.session() as machine:
        rows, nodes = ps.rows(machine), machine.memory_nodes
    options.show([ps.as_json(row) for row in rows], ps.format_rows(rows, nodes))
