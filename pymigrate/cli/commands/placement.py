"""``pymigrate placement``."""

from __future__ import annotations

import click

from pymigrate.cli.call import find_range
from pymigrate.cli.common import Options, common_options, find_task, print_json
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command
from pymigrate.units import PAGE_SHIFT, page_range
from pymigrate.views.pages import placement


@click.command(cls=Command)
@click.argument("pid", shell_complete=complete.tasks)
@click.argument("place", metavar="ADDR|REGION[+OFFSET[:LENGTH]]", shell_complete=complete.places)
@common_options()
def command(options: Options, pid: str, place: str) -> None:
    """Print the node of each page of a range, run by run.

    Each line has an address, a number of pages, and the node that they are on; - stands for pages
    that are not present, or are the zero page.
    """
    with options.session() as machine:
        task = find_task(machine, pid)
        addr, length = find_range(machine, task, place)
        a, b = page_range(addr, 1 if length is None else length)
        runs = placement.runs(machine, task, a, b)
    if options.json:
        print_json({"nodes": runs})
        return
    for nr, node in runs:
        click.echo(f"{a << PAGE_SHIFT:x} {nr} {'-' if node < 0 else node}")
        a += nr
