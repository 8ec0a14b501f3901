"""``pymigrate numa_maps``."""

from __future__ import annotations

import click

from pymigrate.cli.common import Options, common_options, find_task
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command
from pymigrate.views.proc import numa_maps


@click.command(cls=Command)
@click.argument("pid", shell_complete=complete.tasks)
@common_options(calls=True)
def command(options: Options, pid: str) -> None:
    """Print /proc/PID/numa_maps: the policy and the pages of each mapping, by node.

    PID may be a task's name. --as says who reads it: others' processes are EACCES.
    """
    with options.session() as machine:
        task = find_task(machine, pid)
        rows = numa_maps.rows_for(machine, machine.shell_of(options.uid), task)
    options.show([numa_maps.as_json(row) for row in rows], numa_maps.format_rows(rows))
