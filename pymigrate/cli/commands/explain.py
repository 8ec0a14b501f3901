"""``pymigrate explain``."""

from __future__ import annotations

import click

from pymigrate.cli.call import find_range
from pymigrate.cli.common import Options, common_options, find_task, print_json
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command, option
from pymigrate.mm.state.machine import Machine
from pymigrate.syscalls.checks import checked_range
from pymigrate.views.why import explain, stayed
from pymigrate.views.why.reasons import REASONS


@click.command(cls=Command)
@click.argument("pid", required=False, shell_complete=complete.tasks)
@click.argument(
    "place",
    metavar="[ADDR|REGION[+OFFSET[:LENGTH]]]",
    required=False,
    shell_complete=complete.places,
)
@option(
    "--to",
    type=int,
    metavar="NODE",
    shell_complete=complete.nodes,
    help="The node to move to (default: any other).",
)
@option("--last", is_flag=True, help="Say why pages of the last command stayed.")
@common_options(calls=True)
def command(
    options: Options, pid: str | None, place: str | None, to: int | None, last: bool
) -> None:
    """Say for each run of pages of process PID what would keep it from moving, and the cure.

    It answers for migratepages, called by the user of --as, and says where other calls differ.
    """
    if last == (pid is not None) or (last and to is not None):
        raise click.UsageError("expected PID or --last")
    with options.session() as machine:
        if pid is None:
            _explain_last(options, machine)
        else:
            _explain(options, machine, pid, place, to)


def _explain(
    options: Options, machine: Machine, pid: str, place: str | None, to: int | None
) -> None:
    task = find_task(machine, pid)
    question = explain.Question(machine.shell_of(options.uid), to)
    if place:
        addr, length = find_range(machine, task, place)
        a, b = checked_range(addr, 1 if length is None else length)
        question = question._replace(a=a, b=b)
    refused = explain.refusals(machine, task, question)
    verdicts = explain.rows(machine, task, question)
    shown = {
        "pid": task.pid,
        "refused": [each._asdict() for each in refused],
        "runs": [explain.as_json(row) for row in verdicts],
    }
    options.show(shown, explain.format_rows(task, refused, verdicts))


def _explain_last(options: Options, machine: Machine) -> None:
    left = machine.left
    if options.json:
        rows = [
            shown | {"shows": REASONS[row.why].shows, "cure": REASONS[row.why].cure}
            for row, shown in zip(left, stayed.as_json(left), strict=True)
        ]
        print_json({"call": machine.last_call or None, "stayed": rows})
        return
    if not machine.last_call:
        click.echo("no command has moved pages yet")
    elif not left:
        click.echo(f"{machine.last_call} left no page behind")
    for line in [*stayed.format_rows(left), *explain.legend([row.why for row in left])]:
        click.echo(line)
