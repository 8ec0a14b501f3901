"""``pymigrate show``."""

from __future__ import annotations

import os
import shutil
import sys

import click

from pymigrate.cli.common import Options, common_options, find_task, print_json
from pymigrate.views import show

JSON_CELLS = 64


@click.command()
@click.argument("pid", required=False)
@common_options()
def command(options: Options, pid: str | None) -> None:
    """Draw the nodes, and the memory of each task; with PID, of that one only.

    Each mapping is a strip whose cells are equal parts of it, drawn as the node that most of their
    pages lie on; where nodes mix, cells take turns in proportion. '.' is memory that is not
    present, 'z' the zero page (-1 and -2 in JSON). On a terminal the nodes have colours, unless
    NO_COLOR is set. PID may also be a task's name.
    """
    width = shutil.get_terminal_size().columns
    with options.session() as machine:
        by_pid = [task for _, task in sorted(machine.tasks.items())]
        tasks = [find_task(machine, pid)] if pid else by_pid
        cells = JSON_CELLS if options.json else show.cells_that_fit(machine, tasks, width)
        picture = show.rows(machine, tasks, cells)
    if options.json:
        print_json(show.as_json(picture))
    elif sys.stdout and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from pymigrate.cli.render import draw

        draw(show.lines(picture, width), width)
    else:
        click.echo(show.format_rows(picture, width), nl=False)
