"""``pymigrate page``."""

from __future__ import annotations

import click

from pymigrate.cli.call import find_range
from pymigrate.cli.common import Options, common_options, find_task
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.why import page


@click.command(cls=Command)
@click.argument("pid", shell_complete=complete.tasks)
@click.argument("place", metavar="ADDR|REGION[+OFFSET]", shell_complete=complete.places)
@common_options()
def command(options: Options, pid: str, place: str) -> None:
    """Show everything about one page of process PID.

    Its frame, node and zone, its flags, mapping and references, who maps it, and what would happen
    to it if it were to move or be reclaimed.
    """
    with options.session() as machine:
        task = find_task(machine, pid)
        at = find_range(machine, task, place)[0] >> PAGE_SHIFT
        found = page.row(machine, task, at)
    options.show(page.as_json(found), page.format_row(found))
