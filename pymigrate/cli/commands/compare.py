"""``pymigrate compare``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from pymigrate.cli.asked import planned
from pymigrate.cli.common import print_json, say
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command, option
from pymigrate.errors import PymigrateError
from pymigrate.mm.state.machine import Machine
from pymigrate.reading import read_file
from pymigrate.session import load_state, scenario_path
from pymigrate.store.store import is_state_file

if TYPE_CHECKING:
    from pymigrate.comparison.outcome import Outcome, Planned
    from pymigrate.comparison.variants import Variant


@click.command(cls=Command)
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, shell_complete=complete.scenarios
)
@option(
    "--policy", "policies", multiple=True, metavar="TASK=POLICY", help="Vary a task's mempolicy."
)
@option(
    "--kernel",
    "kernels",
    multiple=True,
    metavar="RELEASE",
    help="Vary the kernel whose rules apply.",
)
@option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY.KEY=VALUE",
    help="Vary any key of the scenario.",
)
@option(
    "--plan",
    "plans",
    multiple=True,
    metavar="'ARGS'",
    help="Vary the plan that is looked at: the arguments of `pymigrate plan`.",
)
@option(
    "-j", "--jobs", type=click.IntRange(1), default=1, metavar="N", help="Run N variants at a time."
)
@option("--shard", metavar="I/N", help="Run only part I of N.")
@option("--resume", metavar="FILE", help="Keep rows in FILE, and skip those that it has.")
@option("--json", "form", flag_value="json", help="Print the rows as JSON.")
@option("--jsonl", "form", flag_value="jsonl", help="Print each row as a line of JSON.")
@option("--csv", "form", flag_value="csv", help="Print the rows as CSV.")
def command(
    files: tuple[str, ...],
    policies: tuple[str, ...],
    kernels: tuple[str, ...],
    settings: tuple[str, ...],
    plans: tuple[str, ...],
    **how: Any,
) -> None:
    """Run scenarios under variants, and compare what comes of each.

    A FILE is a scenario, whose steps are run, or a state file, whose machine is shown as it is. An
    option that is repeated varies what it sets in each scenario; several options multiply. With
    --plan a row is what a plan would come to behind the steps. The best local share, distance, time
    and pause, and the fewest pages that stay, among the variants that were refused nothing are
    marked with `*`. Exits with 1 if a variant has no machine.
    """
    from pymigrate.comparison import variants as parts

    try:
        changes = parts.changes_of(policies, kernels, settings)
        asked = {words: partial(planned, shlex.split(words)) for words in plans}
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    texts, machines = _read(files)
    if changes and not texts:
        raise click.UsageError(
            "a state file is as it is: options vary scenarios, and there is none"
        )
    variants: list[Variant] = []
    for name in [*machines, *texts]:
        variants += parts.sweep(changes if name in texts else (), name, [*asked])
    for name, text in texts.items():
        for task in parts.placed(text, [each for each in variants if each.scenario == name]):
            where = f"{name}: " if name else ""
            say(
                f"{where}of {task} memory that says `pages` or `policy` lies as it says, "
                "whatever its policy"
            )
    if how["shard"]:
        try:
            variants = parts.shard(variants, how["shard"])
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--shard") from None
    rows = [
        _of_state(machines[each.scenario], each, asked.get(each.plan))
        for each in variants
        if each.scenario in machines
    ]
    left = [each for each in variants if each.scenario in texts]
    if left:
        rows += _rows(texts, left, asked, how["jobs"], how["resume"])
    _show(rows, how["form"])
    if any(row.wrong is not None for row in rows):
        raise click.exceptions.Exit(1)


def _read(files: tuple[str, ...]) -> tuple[dict[str, str], dict[str, Machine]]:
    """The texts of the scenarios, a sole one without a name, and the machines of the states."""
    from pymigrate.scenario.read.loader import load

    texts, states = {}, {}
    names = [*dict.fromkeys(files)]
    for name in names:
        if is_state_file(name):
            states[name] = load_state(name)[0]
            continue
        path = scenario_path(name)
        load(path)  # it has to be right as it is
        texts[name if len(names) > 1 else ""] = read_file(path).decode("utf-8-sig")
    return texts, states


def _of_state(machine: Machine, variant: Variant, ask: Planned | None) -> Outcome:
    """The row of a machine as it is, or of a plan for it."""
    from pymigrate.comparison.outcome import Outcome, after_plan, found

    if ask is None:
        return found(machine, variant.name)
    try:
        return after_plan(ask(machine), variant.name)
    except PymigrateError as error:
        return Outcome(variant.name, wrong=str(error))


def _show(rows: list[Outcome], form: str | None) -> None:
    from pymigrate.comparison.table import format_csv, format_rows

    if form == "json":
        print_json([row._asdict() for row in rows])
    elif form == "jsonl":
        for row in rows:
            print_json(row._asdict(), indent=None)
    else:
        click.echo(format_csv(rows) if form == "csv" else format_rows(rows), nl=False)


def _rows(
    texts: dict[str, str],
    variants: list[Variant],
    plans: Mapping[str, Planned],
    jobs: int,
    resume: str | None,
) -> list[Outcome]:
    """What comes of the variants, in their order."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from pymigrate.comparison.done import Done
    from pymigrate.comparison.sweep import outcomes

    try:
        done = Done(resume, texts, variants) if resume else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = getattr(error, "strerror", None) or "it holds no rows of this command"
        raise click.BadParameter(f"{resume} cannot be used: {why}", param_hint="--resume") from None
    # What is imported by now need not be imported again where processes can be copied.
    context = get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(jobs, context) if jobs > 1 else nullcontext() as executor:
        names = done.names if done else set()
        found = outcomes(texts, variants, executor, names, plans)
        coming = done.kept(found) if done else found
        rows = [*(done.rows if done else ()), *_shown(coming, len(variants) - len(names))]
    order = {variant.name: number for number, variant in enumerate(variants)}
    return sorted(rows, key=lambda row: order[row.variant])


def _shown(rows: Iterator[Outcome], total: int) -> Iterator[Outcome]:
    """*rows*, with a bar on a terminal that says how many are there."""
    if total < 2 or not (sys.stderr and sys.stderr.isatty()):
        return rows
    from pymigrate.cli.render import progress

    return progress(rows, total, "variants")
