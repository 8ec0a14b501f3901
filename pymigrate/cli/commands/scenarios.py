"""``pymigrate scenarios``."""

from __future__ import annotations

import click

from pymigrate.cli.common import print_json
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command, option
from pymigrate.session import (
    about_scenario,
    read_scenario,
    scenario_path,
    shipped_scenarios,
)
from pymigrate.views.columns import aligned


@click.command(cls=Command)
@click.argument("name", required=False, shell_complete=complete.scenarios)
@option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(name: str | None, as_json: bool) -> None:
    """List the scenarios that ship, or print the one called NAME.

    `pymigrate boot NAME` boots one. You can also save what is printed, change it, and boot that.
    """
    if name:
        text = read_scenario(scenario_path(name)).decode(errors="replace")
        if as_json:
            print_json({"name": name, "text": text})
        else:
            click.echo(text, nl=False)
        return
    rows = {each: about_scenario(path) for each, path in shipped_scenarios().items()}
    if as_json:
        print_json([{"name": each, "about": about} for each, about in rows.items()])
        return
    for line in aligned([[each, about] for each, about in rows.items()], {0, 1}, "  "):
        click.echo(line.rstrip())
