"""``pymigrate ps``."""

from __future__ import annotations

import click

from pymigrate.cli.common import Options, common_options, print_json
from pymigrate.views.pictures import ps


@click.command()
@common_options()
def command(options: Options) -> None:
    """List the tasks, with their resident pages by node.

    RSS is in kB, as ps has it; N0, N1, ... are base pages (4 kB) on the nodes that have memory, as
    numa_maps has them. A shared page counts for each task that maps it, the zero page for none.
    Only POLICY and COMM, the last columns, may contain blanks.
    """
    with options.session() as machine:
        rows = ps.rows(machine)
    if options.json:
        print_json([ps.as_json(row) for row in rows])
    else:
        click.echo(ps.format_rows(rows), nl=False)
