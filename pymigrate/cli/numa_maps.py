"""``pymigrate numa_maps``."""

from __future__ import annotations

import click

from pymigrate.cli.common import Options, common_options, find_task, print_json
from pymigrate.views import numa_maps


@click.command()
@click.argument("pid")
@common_options()
def command(options: Options, pid: str) -> None:
    """Print /proc/PID/numa_maps: the policy and the pages of each mapping, by node.

    PID may also be a task's name.
    """
    with options.session() as machine:
        rows = numa_maps.rows(machine, find_task(machine, pid))
    if options.json:
        print_json([numa_maps.as_json(row) for row in rows])
    else:
        click.echo(numa_maps.format_rows(rows), nl=False)
