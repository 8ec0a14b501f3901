"""``pymigrate show``."""

from __future__ import annotations

import shutil

import click

from pymigrate.cli.common import (
    Options,
    common_options,
    find_task,
    parse_number,
    print_json,
    shorten,
)
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command, option
from pymigrate.cli.picture import ALWAYS, AUTO, NEVER, echo
from pymigrate.views.pictures import show, zone_picture

JSON_CELLS = 64


@click.command(cls=Command)
@click.argument("pid", required=False, shell_complete=complete.tasks)
@option("--zone", metavar="NODE[:ZONE]", help="Draw the pageblocks of a node's zones instead.")
@option("--scale", is_flag=True, help="Draw strips as long as their mappings are large.")
@option("--top", type=click.IntRange(min=1), metavar="N", help="Only the N largest mappings.")
@option("--heat", is_flag=True, help="Draw the declared accesses below the strips.")
@option(
    "--color",
    type=click.Choice([AUTO, ALWAYS, NEVER]),
    default=AUTO,
    show_default=True,
    help="Whether to print colours.",
)
@common_options()
def command(
    options: Options,
    /,
    pid: str | None,
    zone: str | None,
    scale: bool,
    top: int | None,
    heat: bool,
    color: str,
) -> None:
    """Draw the nodes, and the memory of each task; with PID, of that one only.

    Each mapping is a strip of cells, each an equal part of it, drawn as the node that most of its
    pages are on; where nodes mix, cells take turns in proportion. '.' is memory that is absent,
    'z' the zero page (-1 and -2 in JSON). On a terminal the nodes have colours, unless NO_COLOR is
    set, and what is longer than the terminal goes to a pager. PID may be a task's name.
    """
    if zone is not None:
        _show_zones(options, zone, color)
        return
    width = shutil.get_terminal_size().columns
    with options.session() as machine:
        tasks = [find_task(machine, pid)] if pid else machine.processes
        cells = JSON_CELLS if options.json else show.cells_that_fit(machine, tasks, width)
        picture = show.rows(machine, tasks, show.Draw(cells, scale, top, heat))
    if options.json:
        print_json(show.as_json(picture))
    else:
        echo(show.lines(picture, width), color)


def _show_zones(options: Options, text: str, color: str) -> None:
    """Draw the pageblocks of NODE[:ZONE]."""
    node, _, name = text.partition(":")
    with options.session() as machine:
        nid = parse_number(node)
        if nid is None or nid not in machine.nodes:
            known = ", ".join(map(str, sorted(machine.nodes)))
            raise click.BadParameter(
                f"{shorten(text)} names no node; expected NODE or NODE:ZONE, NODE one of {known}",
                param_hint="--zone",
            )
        zones = zone_picture.rows(machine, nid, name or None)
        if name and not zones:
            names = ", ".join(row.zone for row in zone_picture.rows(machine, nid)) or "none"
            message = f"node {nid} has no zone {shorten(name)}; expected one of {names}"
            raise click.BadParameter(message, param_hint="--zone")
    lines = [*zone_picture.lines(zones), *zone_picture.legend(zones)]
    if options.json:
        print_json(zone_picture.as_json(zones))
    else:
        echo(lines, color)
