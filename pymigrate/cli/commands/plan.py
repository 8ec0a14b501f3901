"""``pymigrate plan``."""

from __future__ import annotations

import click

from pymigrate.arguments import parse_mode
from pymigrate.cli.common import Options, common_options, find_task
from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Nodemask
from pymigrate.plan import goal, text
from pymigrate.plan.balance import make_balanced
from pymigrate.plan.chunks import make_chunked
from pymigrate.plan.emit import emit
from pymigrate.plan.goal import parse_rate, parse_time
from pymigrate.plan.plan import Goal, Limits, make_plan
from pymigrate.tools.nodestring import RefusedError, parse_nodestring


@click.command()
@click.argument("pid", required=False)
@click.option("--to", metavar="NODES", help="Where the pages are to go.")
@click.option("--from", "source", metavar="NODES", help="Which go (default: all others).")
@click.option("--mbind", "policy", metavar="POLICY:NODES", help="Give all its memory a policy.")
@click.option("--cpuset", metavar="NAME", help="Not a process: let a cpuset have the nodes --to.")
@click.option("--offline", type=int, metavar="NODE", help="Take this node's memory away.")
@click.option("--balance", is_flag=True, help="Each page to where it is used, by `access:`.")
@click.option("--max-pause", metavar="TIME", help="Cut it into calls that take no longer: 20ms.")
@click.option("--limit", metavar="SIZE/s", help="Move no more than that in a second: 2GiB/s.")
@click.option(
    "--emit",
    "language",
    type=click.Choice(["sh", "python", "json"]),
    help="Print what does it on the real host, instead of the answer.",
)
@common_options(calls=True)
def command(
    options: Options,
    pid: str | None,
    to: str | None,
    source: str | None,
    policy: str | None,
    cpuset: str | None,
    offline: int | None,
    balance: bool,
    max_pause: str | None,
    limit: str | None,
    language: str | None,
) -> None:
    """Say what moving memory would do: what moves, what stays, whether it fits, how long it takes.

    The pages of process PID go to the nodes --to, follow a policy, or go to where they are used
    (without PID: those of all); nothing is changed. Times
    are estimated by a model and printed as ranges, from half to double.
    """
    asked = [what for what in (policy, cpuset, offline, balance or None) if what is not None]
    has_pid = pid is not None or balance
    if len(asked) > 1 or has_pid != (cpuset is None and offline is None):
        raise click.UsageError("expected one of PID, --cpuset NAME and --offline NODE")
    if (to is None) != (policy is not None or offline is not None or balance):
        raise click.UsageError("expected --to NODES, or else --mbind, --offline or --balance")
    if source is not None and (asked or to is None):
        raise click.UsageError("--from goes with PID and --to")
    limits = _limits(max_pause, limit)
    with options.session() as machine:
        if balance:
            tasks = [find_task(machine, pid)] if pid else machine.processes
            plan = make_balanced(machine, options.uid, tasks, limits)
        else:
            wanted = _goal(machine, options, pid, to, source, policy, cpuset, offline)
            plan = (
                make_chunked(machine, wanted, limits)
                if limits.are_set
                else make_plan(machine, wanted)
            )
        if language is not None:
            if plan.refused:
                raise plan.refused
            click.echo(emit(machine, plan, language), nl=False)
            return
    options.show(text.as_json(plan), text.format_plan(plan))
    if plan.refused:
        raise click.exceptions.Exit(1)


def _goal(
    machine: Machine,
    options: Options,
    pid: str | None,
    to: str | None,
    source: str | None,
    policy: str | None,
    cpuset: str | None,
    offline: int | None,
) -> Goal:
    """What the options ask for."""
    if offline is not None:
        return goal.without_node(machine, options.uid, offline)
    if cpuset is not None:
        name = "" if cpuset == "/" else cpuset
        return goal.to_mems(machine, options.uid, name, _nodes(machine, str(to)))
    task = machine.process_of(find_task(machine, str(pid)))
    if policy is not None:
        try:
            parsed = parse_mode(policy)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--mbind") from None
        return goal.to_policy(machine, options.uid, task, parsed, policy)
    old = None if source is None else _nodes(machine, source)
    return goal.to_nodes(machine, options.uid, task, old, _nodes(machine, str(to)))


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
