"""``pymigrate plan``."""

from __future__ import annotations

from typing import Any, NamedTuple

import click

from pymigrate.arguments import parse_mode
from pymigrate.cli.common import Options, common_options, find_task
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command
from pymigrate.cli.picture import changed, text_of
from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Nodemask
from pymigrate.plan import goal, text
from pymigrate.plan.balance import make_balanced
from pymigrate.plan.chunks import make_chunked
from pymigrate.plan.emit import emit
from pymigrate.plan.goal import parse_rate, parse_time
from pymigrate.plan.plan import Goal, Limits, Plan, make_plan
from pymigrate.tools.nodestring import RefusedError, parse_nodestring
from pymigrate.views.pictures import change


@click.command(cls=Command)
@click.argument("pid", required=False, shell_complete=complete.tasks)
@click.option("--to", metavar="NODES", shell_complete=complete.nodes, help="The nodes to move to.")
@click.option(
    "--from",
    "source",
    metavar="NODES",
    shell_complete=complete.nodes,
    help="The nodes to move from (default: all others).",
)
@click.option(
    "--mbind",
    "policy",
    metavar="POLICY:NODES",
    shell_complete=complete.policies,
    help="Give all memory of PID a policy.",
)
@click.option(
    "--cpuset",
    metavar="NAME",
    shell_complete=complete.cpusets,
    help="Give a cpuset, not a process, the nodes --to.",
)
@click.option("--offline", type=int, metavar="NODE", help="Take this node's memory offline.")
@click.option("--balance", is_flag=True, help="Move each page to where `access:` uses it.")
@click.option("--max-pause", metavar="TIME", help="Cut it into calls that take at most TIME: 20ms.")
@click.option("--limit", metavar="SIZE/s", help="Move at most this much a second: 2GiB/s.")
@click.option(
    "--emit",
    "language",
    type=click.Choice(["sh", "python", "json"]),
    help="Print what does it on the real host, instead of the answer.",
)
@click.option("--show", "pictured", is_flag=True, help="Draw it: before and after.")
@common_options(calls=True)
def command(
    options: Options,
    /,
    max_pause: str | None,
    limit: str | None,
    language: str | None,
    **asked: Any,
) -> None:
    """Say what moving memory would do: what moves, what stays, whether it fits, how long it takes.

    The pages of process PID go to the nodes --to, follow a policy, or go to where they are used
    (without PID: those of all processes). Nothing changes. Times are estimates by a model, printed
    as ranges from half to double.
    """
    question = Question(**asked)
    question.check()
    limits = _limits(max_pause, limit)
    with options.session() as machine:
        plan = _answer(machine, options, question, limits)
        if language is not None:
            if plan.refused:
                raise plan.refused
            click.echo(emit(machine, plan, language), nl=False)
            return
    answer, drawn = text.as_json(plan), ""
    if options.pictured:
        pids = plan.goal.pids
        stays = dict.fromkeys(pids, plan.frames)
        tasks = changed(machine, plan.after, pids, stays, options.json)
        answer["drawn"], drawn = change.as_json(tasks), text_of(change.lines(tasks))
    options.show(answer, text.format_plan(plan) + drawn)
    if plan.refused:
        raise click.exceptions.Exit(1)


class Question(NamedTuple):
    """What is to move, and where to, as the options say it."""

    pid: str | None
    to: str | None
    source: str | None
    policy: str | None
    cpuset: str | None
    offline: int | None
    balance: bool

    def check(self) -> None:
        """Raises UsageError for options that do not go together."""
        others = (self.policy, self.cpuset, self.offline, self.balance or None)
        asked = [what for what in others if what is not None]
        has_pid = self.pid is not None or self.balance
        if len(asked) > 1 or has_pid != (self.cpuset is None and self.offline is None):
            raise click.UsageError("expected one of PID, --cpuset NAME and --offline NODE")
        if (self.to is None) != bool(asked and self.cpuset is None):
            raise click.UsageError("expected --to NODES, or else --mbind, --offline or --balance")
        if self.source is not None and (asked or self.to is None):
            raise click.UsageError("--from goes with PID and --to")


def _answer(machine: Machine, options: Options, asked: Question, limits: Limits) -> Plan:
    if asked.balance:
        tasks = [find_task(machine, asked.pid)] if asked.pid else machine.processes
        return make_balanced(machine, options.uid, tasks, limits)
    wanted = _goal(machine, options.uid, asked)
    return make_chunked(machine, wanted, limits) if limits.are_set else make_plan(machine, wanted)


def _goal(machine: Machine, uid: int, asked: Question) -> Goal:
    if asked.offline is not None:
        return goal.without_node(machine, uid, asked.offline)
    if asked.cpuset is not None:
        name = "" if asked.cpuset == "/" else asked.cpuset
        return goal.to_mems(machine, uid, name, _nodes(machine, str(asked.to)))
    task = machine.process_of(find_task(machine, str(asked.pid)))
    if asked.policy is not None:
        try:
            parsed = parse_mode(asked.policy)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--mbind") from None
        return goal.to_policy(machine, uid, task, parsed, asked.policy)
    old = None if asked.source is None else _nodes(machine, asked.source)
    return goal.to_nodes(machine, uid, task, old, _nodes(machine, str(asked.to)))


def _limits(max_pause: str | None, limit: str | None) -> Limits:
    """The limits that the options set."""
    try:
        return Limits(parse_time(max_pause or "0us"), parse_rate(limit or "0/s"))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _nodes(machine: Machine, value: str) -> Nodemask:
    """The nodes of an option, as numactl's programs take them."""
    try:
        return parse_nodestring(value, machine.memory_nodes, len(machine.nodes))
    except RefusedError as refused:
        raise click.BadParameter(f"<{value}> is invalid: {refused.stderr.strip()}") from None
