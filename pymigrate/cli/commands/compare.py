"""``pymigrate compare``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from pymigrate.cli.common import print_json, say
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command
from pymigrate.reading import read_file
from pymigrate.session import scenario_path

if TYPE_CHECKING:
    from pymigrate.compare.outcome import Outcome
    from pymigrate.compare.variants import Change, Variant


@click.command(cls=Command)
@click.argument("scenario", metavar="SCENARIO", shell_complete=complete.scenarios)
@click.option(
    "--policy", "policies", multiple=True, metavar="TASK=POLICY", help="Vary a task's mempolicy."
)
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    metavar="RELEASE",
    help="Vary the kernel whose rules apply.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY.KEY=VALUE",
    help="Vary any key of the scenario.",
)
@click.option("-j", "--jobs", type=click.IntRange(1), default=1, help="Run N variants at a time.")
@click.option("--shard", metavar="I/N", help="Run only part I of N.")
@click.option("--resume", metavar="FILE", help="Keep rows in FILE, and skip those that it has.")
@click.option("--json", "form", flag_value="json", help="Print the rows as JSON.")
@click.option("--jsonl", "form", flag_value="jsonl", help="Print each row as a line of JSON.")
@click.option("--csv", "form", flag_value="csv", help="Print the rows as CSV.")
def command(
    scenario: str,
    policies: tuple[str, ...],
    kernels: tuple[str, ...],
    settings: tuple[str, ...],
    jobs: int,
    shard: str | None,
    resume: str | None,
    form: str | None,
) -> None:
    """Run SCENARIO under variants, and compare what comes of each.

    An option that is repeated varies what it sets; several options multiply. The best local share,
    distance and time among the variants that were refused nothing are marked with `*`. Exits with
    1 if a variant has no machine.
    """
    from pymigrate.compare import variants as parts
    from pymigrate.scenario.read.loader import load

    path = scenario_path(scenario)
    load(path)  # it has to be right as it is
    text = read_file(path).decode("utf-8-sig")
    changes = [*_parsed(parts.policy, policies)]
    changes += _parsed(parts.setting, tuple(f"kernel={name}" for name in kernels))
    changes += _parsed(parts.setting, settings)
    variants = parts.sweep(changes)
    for task in parts.placed(text, variants):
        say(f"of {task} memory that says `pages` or `policy` lies as it says, whatever its policy")
    if shard:
        try:
            variants = parts.shard(variants, shard)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--shard") from None
    rows = _rows(text, variants, jobs, resume)
    _show(rows, form)
    if any(row.wrong is not None for row in rows):
        raise click.exceptions.Exit(1)


def _show(rows: list[Outcome], form: str | None) -> None:
    from pymigrate.compare.table import format_csv, format_rows

    if form == "json":
        print_json([row._asdict() for row in rows])
    elif form == "jsonl":
        for row in rows:
            print_json(row._asdict(), indent=None)
    else:
        click.echo(format_csv(rows) if form == "csv" else format_rows(rows), nl=False)


def _rows(text: str, variants: list[Variant], jobs: int, resume: str | None) -> list[Outcome]:
    """What comes of the variants, in their order."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from pymigrate.compare.done import Done
    from pymigrate.compare.sweep import outcomes

    try:
        done = Done(resume, text) if resume else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = getattr(error, "strerror", None) or "it holds no rows of this command"
        raise click.BadParameter(f"{resume} cannot be used: {why}", param_hint="--resume") from None
    # What is imported by now need not be imported again where processes can be copied.
    context = get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(jobs, context) if jobs > 1 else nullcontext() as executor:
        found = outcomes(text, variants, executor, done.names if done else ())
        rows = [*(done.rows if done else ()), *(done.kept(found) if done else found)]
    order = {variant.name: number for number, variant in enumerate(variants)}
    return sorted((row for row in rows if row.variant in order), key=lambda row: order[row.variant])


def _parsed(parse: Callable[[str], Change], texts: tuple[str, ...]) -> list[Change]:
    try:
        return [parse(text) for text in texts]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
