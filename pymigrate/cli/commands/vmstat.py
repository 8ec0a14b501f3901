"""``pymigrate vmstat``."""

from __future__ import annotations

import click

from pymigrate.cli.common import TEXT_FILE, Options, common_options, parse_number, shorten
from pymigrate.mm.base.vmstat import MIGRATION
from pymigrate.views.proc import vmstat


@click.command()
@click.option("--migration", is_flag=True, help="Only the counters about page migration.")
@click.option(
    "--since",
    metavar="FILE",
    type=TEXT_FILE,
    help="Only what has changed since FILE was printed ('-': stdin), and by how much.",
)
@common_options()
def command(options: Options, migration: bool, since: str | None) -> None:
    """Print /proc/vmstat: every counter of Linux 6.12, in its order."""
    before = _parse(since) if since is not None else None
    with options.session() as machine:
        values = vmstat.rows(machine)
    if migration:
        values = {name: values[name] for name in MIGRATION}
    if before is not None:
        changes = {name: value - before.get(name, 0) for name, value in values.items()}
        values = {name: change for name, change in changes.items() if change}
    options.show(values, vmstat.format_rows(values))


def _parse(text: str) -> dict[str, int]:
    """The counters of a saved /proc/vmstat, or of --json."""
    if text.lstrip().startswith("{"):
        import json

        try:
            found = json.loads(text)
        except ValueError as error:
            raise click.BadParameter(f"is not JSON: {error}", param_hint="--since") from None
        found.pop("schema", None)
        text = "".join(f"{name} {value}\n" for name, value in found.items())
    counters = {}
    for line_number, line in enumerate(text.splitlines(), 1):
        name, _, value_text = line.partition(" ")
        value = parse_number(value_text)
        if value is None:
            raise click.BadParameter(
                f"line {line_number} is {shorten(line)}, expected NAME VALUE as vmstat prints it",
                param_hint="--since",
            )
        counters[name] = value
    return counters
