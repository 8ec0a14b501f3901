"""``pymigrate report``."""

from __future__ import annotations

import json
from math import ceil
from typing import TYPE_CHECKING, Any

import click

from pymigrate.cli.asked import Question, plan_of, plan_options
from pymigrate.cli.commands.balance import DAY
from pymigrate.cli.common import TEXT_FILE, Options, common_options, with_options, write_text
from pymigrate.cli.common import seconds as seconds_up_to
from pymigrate.cli.helped import Command, option
from pymigrate.mm.clock.simulated_time import balance
from pymigrate.mm.state.machine import Machine
from pymigrate.store.codec import copy_machine
from pymigrate.views.pictures.heatmap import Heatmap, Watcher

if TYPE_CHECKING:
    from pymigrate.comparison.outcome import Outcome


@click.command(cls=Command)
@click.argument("out", metavar="OUT.html")
@with_options(plan_options())
@option(
    "--compare",
    "rows",
    type=TEXT_FILE,
    metavar="FILE",
    help="Variants side by side: what `compare --json` has printed ('-': stdin).",
)
@option(
    "--seconds",
    type=seconds_up_to(DAY, may_be_0=False),
    help="Draw where memory lies while so much time passes, too.",
)
@common_options(calls=True, json=False)
def command(
    options: Options, /, out: str, rows: str | None, seconds: float | None, **asked: Any
) -> None:
    """Write a report to OUT.html: the machine, and what a plan would do to it.

    The page is one file that needs no network and no scripts: what moves, what stays and why,
    whether it fits, how long it takes, the counters with their meaning, the nodes, and the
    processes to scale. Without a plan it shows the machine alone. The plan's options are those of
    `plan`, and it exits with 1 for a plan that is refused.
    """
    try:
        from pymigrate.report.report import headline, render
    except ModuleNotFoundError as error:
        raise click.UsageError(
            f"a report needs {error.name}: pip install 'pymigrate-numa[report]'"
        ) from None
    question = Question(**asked)
    is_asked = any(value is not None and value is not False for value in question)
    if is_asked:
        question.check()
    outcomes = _outcomes(rows) if rows is not None else []
    with options.session() as machine:
        plan = plan_of(machine, options.uid, question) if is_asked else None
        page = render(machine, plan, outcomes, _maps(machine, seconds) if seconds else ())
    write_text(out, page, "OUT.html")
    click.echo(f"{out}: {headline(plan)}" if plan else out)
    if plan and plan.refused:
        raise click.exceptions.Exit(1)


def _maps(machine: Machine, seconds: float) -> list[Heatmap]:
    """What time makes of a copy of the machine."""
    from pymigrate.report.report import CELLS

    copy, ms = copy_machine(machine), ceil(seconds * 1000)
    watcher = Watcher(copy, ms, CELLS)
    balance(copy, ms, watcher.look)
    watcher.note(copy)
    return watcher.maps


def _outcomes(text: str) -> list[Outcome]:
    """The rows of a comparison. Raises BadParameter for anything else."""
    from pymigrate.comparison.outcome import Outcome

    try:
        return [Outcome(**row) for row in json.loads(text)["rows"]]
    except (ValueError, KeyError, TypeError):
        message = "it does not hold what `pymigrate compare --json` prints"
        raise click.BadParameter(message, param_hint="--compare") from None
