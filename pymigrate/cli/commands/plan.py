"""``pymigrate plan``."""

from __future__ import annotations

from typing import Any

import click

from pymigrate.cli.asked import Question, plan_of, plan_options
from pymigrate.cli.common import Options, common_options, with_options
from pymigrate.cli.helped import Command, option
from pymigrate.cli.picture import changed, text_of
from pymigrate.plan import text
from pymigrate.plan.emit import emit
from pymigrate.plan.plan import Plan
from pymigrate.views.pictures import change

_SMALL = 6  # mappings that are drawn without being asked for


@click.command(cls=Command)
@with_options(plan_options())
@option(
    "--emit",
    "language",
    type=click.Choice(["sh", "python", "json"]),
    help="Print what does it on the real host, instead of the answer.",
)
@option(
    "--show/--no-show",
    "show",
    default=None,
    help="Draw it, before and after, or do not (default: if it is small).",
)
@common_options(calls=True)
def command(
    options: Options,
    /,
    language: str | None,
    show: bool | None,
    **asked: Any,
) -> None:
    """Say what moving memory would do: what moves, what stays, whether it fits, how long it takes.

    The pages of process PID go to the nodes --to, follow a policy, or go to where they are used
    (without PID: those of all processes). Nothing changes. Times are estimates by a model, printed
    as ranges from half to double.
    """
    question = Question(**asked)
    question.check()
    with options.session() as machine:
        plan = plan_of(machine, options.uid, question)
        if language is not None:
            if plan.refused:
                raise plan.refused
            click.echo(emit(machine, plan, language), nl=False)
            return
    answer, drawn = text.as_json(plan), ""
    if show is None:
        show = not options.json and 0 < _nr_mappings(plan) <= _SMALL
        if not show and _nr_mappings(plan):
            drawn = f"({_nr_mappings(plan)} mappings before and after: --show draws them)\n"
    if show:
        pids = plan.goal.pids
        stays = dict.fromkeys(pids, plan.frames)
        tasks = changed(machine, plan.after, pids, stays, options.json)
        answer["drawn"], drawn = change.as_json(tasks), text_of(change.lines(tasks))
    options.show(answer, text.format_plan(plan) + drawn)
    if plan.refused:
        raise click.exceptions.Exit(1)


def _nr_mappings(plan: Plan) -> int:
    """How many mappings something happens to, or of how many something stays."""
    moves = {(move.pid, move.mapping) for move in plan.moves}
    return len(moves | {(left.pid, left.mapping) for left in plan.stays})
