"""``pymigrate page``."""

from __future__ import annotations

import click

from pymigrate.cli.call import find_range
from pymigrate.cli.common import Options, common_options, find_task, parse_number, shorten
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Driver
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.why import driver_page, page


@click.command(cls=Command)
@click.argument("pid", shell_complete=complete.tasks)
@click.argument("place", metavar="ADDR|REGION[+OFFSET]|NUMBER", shell_complete=complete.places)
@common_options()
def command(options: Options, pid: str, place: str) -> None:
    """Show everything about one page of process PID.

    Its frame, node and zone, its flags, mapping and references, who maps it, and what would happen
    to it if it were to move or be reclaimed. For the name of a driver instead of a PID, and the
    NUMBER of one of its pages: what marks that page as movable, and who has it.
    """
    with options.session() as machine:
        if pid in machine.drivers and not any(t.name == pid for t in machine.tasks.values()):
            _show_drivers_page(options, machine, machine.drivers[pid], place)
            return
        task = find_task(machine, pid)
        at = find_range(machine, task, place)[0] >> PAGE_SHIFT
        found = page.row(machine, task, at)
    options.show(page.as_json(found), page.format_row(found))


def _show_drivers_page(options: Options, machine: Machine, driver: Driver, place: str) -> None:
    number = parse_number(place)
    if number is None or not 0 <= number < len(driver.pages):
        expected = f"the number of a page of {driver.name}, 0 to {len(driver.pages) - 1}"
        raise click.BadParameter(f"{shorten(place)} is not {expected}", param_hint="NUMBER")
    found = driver_page.row(machine, driver, number)
    options.show(driver_page.as_json(found), driver_page.format_row(found))
