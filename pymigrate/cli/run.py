"""``pymigrate run``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from pymigrate.errors import ScenarioError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymigrate.scenario.runner import Record

PROGRESS_STEPS = 200  # fewer steps are done before a progress bar could be read


@click.command()
@click.argument("scenario", metavar="SCENARIO")
@click.option("--json", "as_json", is_flag=True, help="Print the records as a JSON array.")
@click.option(
    "--kernel",
    type=click.Choice(["6.12", "6.1", "7.2"]),
    help="The kernel whose rules hold (default: what the scenario says).",
)
@click.option("--trace", is_flag=True, help="Add the migration tracepoints of each step.")
def command(scenario: str, as_json: bool, kernel: str | None, trace: bool) -> None:
    """Boot SCENARIO, execute its steps, and print the record of each.

    The machine is made for this command alone; a booted one is not touched.
    """
    records = _records(scenario, kernel, trace)
    if as_json:
        click.echo("[" + ",\n ".join(json.dumps(record) for record in records) + "]")
        return
    for number, record in enumerate(records, 1):
        click.echo(_line(number, record))


def _records(path: str, kernel: str | None, trace: bool) -> Iterator[Record]:
    from pymigrate.scenario.build import build
    from pymigrate.scenario.loader import load
    from pymigrate.scenario.runner import Runner

    scenario = load(path)
    try:
        machine = build(scenario, kernel)
        machine.events = [] if trace else None
        records = Runner(machine, scenario).run()
        if len(scenario.steps) >= PROGRESS_STEPS and sys.stderr and sys.stderr.isatty():
            from pymigrate.cli.render import progress

            records = progress(records, len(scenario.steps))
        yield from records
    except ScenarioError as error:
        raise ScenarioError(error.message, error.path or path, error.line, error.column) from None


def _line(number: int, record: Record) -> str:
    """A record for people: its number, the step, and what was answered."""
    fields = [
        f"{name}={value if isinstance(value, str | int) else json.dumps(value)}"
        for name, value in record.items()
        if name not in ("op", "trace") and value is not None
    ]
    traced = "".join(f"\n       {line}" for line in record.get("trace", ()))
    return " ".join([f"{number:4}", str(record["op"]), *fields]) + traced
