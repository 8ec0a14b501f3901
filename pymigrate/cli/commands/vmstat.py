"""``pymigrate vmstat``."""

from __future__ import annotations

import click

from pymigrate.cli.common import TEXT_FILE, Options, common_options, parse_number, shorten
from pymigrate.cli.helped import Command, option
from pymigrate.mm.base.vmstat import MIGRATION
from pymigrate.views.proc import vmstat

TYPE_CHECKING = False  # the one of typing
if TYPE_CHECKING:
    from pymigrate.views.told.ledger import By

_ALL = ""  # what --explain is without a name


@click.command(cls=Command)
@option("--migration", is_flag=True, help="Print only the counters of page migration.")
@option(
    "--since",
    metavar="FILE",
    type=TEXT_FILE,
    help="Print what changed since FILE was printed ('-': stdin).",
)
@option(
    "--explain",
    metavar="[NAME]",
    is_flag=False,
    flag_value=_ALL,
    help="Say what a counter counts, or all, and in which function.",
)
@option(
    "--by",
    type=click.Choice(["reason", "task", "command"]),
    help="What has raised each counter, since boot or --since: reasons of migrations, or who.",
)
@common_options()
def command(
    options: Options, migration: bool, since: str | None, explain: str | None, by: By | None
) -> None:
    """Print /proc/vmstat: every counter of Linux 6.12, in its order."""
    if explain is not None:
        if since is not None or by is not None:
            other = "--since" if by is None else "--by"
            raise click.UsageError(f"--explain and {other} exclude each other.")
        _explain(options, explain, migration)
        return
    before = _parse(since) if since is not None else None
    if by is not None:
        _tell_raisers(options, by, before, migration)
        return
    with options.session() as machine:
        values = vmstat.rows(machine)
    if migration:
        values = {name: values[name] for name in MIGRATION}
    if before is not None:
        changes = {name: value - before.get(name, 0) for name, value in values.items()}
        values = {name: change for name, change in changes.items() if change}
    options.show(values, vmstat.format_rows(values))


def _tell_raisers(options: Options, by: By, before: dict[str, int] | None, migration: bool) -> None:
    """Print what has raised each counter."""
    from pymigrate.views.told import ledger

    with options.session(ledger=True) as machine:
        try:
            rows = ledger.shares(machine, by, before)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--since") from None
    if migration:
        rows = [row for row in rows if row.counter in MIGRATION]
    options.show([ledger.as_json(row, by) for row in rows], ledger.format_rows(rows))


def _explain(options: Options, name: str, migration: bool) -> None:
    """Print what one counter is, or each of them."""
    from pymigrate.views.told import counters

    known = counters.counters()
    if name != _ALL and name not in known:
        from difflib import get_close_matches

        near = get_close_matches(name, known, 1)
        hint = f"; nearest is {near[0]}" if near else ""
        raise click.BadParameter(
            f"there is no counter {shorten(name)}{hint}", param_hint="--explain"
        )
    names = [name] if name != _ALL else MIGRATION if migration else list(known)
    rows = [known[each] for each in names]
    options.show([counters.as_json(row) for row in rows], counters.format_rows(rows))


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
