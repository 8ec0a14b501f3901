"""What is asked of a plan: its words and options, and the answer."""

from __future__ import annotations

from collections.abc import Sequence

import click

from pymigrate.arguments import parse_mode
from pymigrate.cli.common import Decorators, find_task
from pymigrate.cli.help import complete
from pymigrate.cli.helped import option
from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Nodemask
from pymigrate.plan import goal
from pymigrate.plan.balance import make_balanced
from pymigrate.plan.chunked import make_chunked
from pymigrate.plan.goal import parse_rate, parse_time
from pymigrate.plan.plan import Goal, Limits, Plan, PlanError, make_plan
from pymigrate.records import NamedTuple
from pymigrate.tools.nodestring import RefusedError, parse_nodestring


def plan_options() -> Decorators:
    """The fields of a Question."""
    return [
        click.argument("pid", required=False, shell_complete=complete.tasks),
        option(
            "--to", metavar="NODES", shell_complete=complete.nodes, help="The nodes to move to."
        ),
        option(
            "--from",
            "source",
            metavar="NODES",
            shell_complete=complete.nodes,
            help="The nodes to move from (default: all others).",
        ),
        option(
            "--mbind",
            "policy",
            metavar="MODE[=FLAGS][:NODES]",
            shell_complete=complete.policies,
            help="Give all memory of PID a policy.",
        ),
        option(
            "--cpuset",
            metavar="NAME",
            shell_complete=complete.cpusets,
            help="Give a cpuset, not a process, the nodes --to.",
        ),
        option("--offline", type=int, metavar="NODE", help="Take this node's memory offline."),
        option("--balance", is_flag=True, help="Move each page to where `access:` uses it."),
        option(
            "--max-pause", metavar="TIME", help="Cut it into calls that take at most TIME: 20ms."
        ),
        option("--limit", metavar="SIZE/s", help="Move at most this much a second: 2GiB/s."),
    ]


class Question(NamedTuple):
    """What is to move, and where to, as the options say it."""

    pid: str | None
    to: str | None
    source: str | None
    policy: str | None
    cpuset: str | None
    offline: int | None
    balance: bool
    max_pause: str | None
    limit: str | None

    @property
    def limits(self) -> Limits:
        """The limits that are set. Raises BadParameter."""
        try:
            return Limits(parse_time(self.max_pause or "0us"), parse_rate(self.limit or "0/s"))
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

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
        _ = self.limits  # refuses those that are none


def planned(words: Sequence[str], machine: Machine) -> Plan:
    """The answer to a question of root's in *words*, as `pymigrate plan` takes them.

    Raises KernelError, PlanError.
    """
    command = click.Command("plan", params=[], add_help_option=False)
    for decorate in reversed(plan_options()):
        decorate(command)
    try:
        context = command.make_context("plan", [*words])
        question = Question(**context.params)
        question.check()
        return plan_of(machine, 0, question)
    except click.UsageError as error:
        raise PlanError(error.format_message()) from None


def plan_of(machine: Machine, uid: int, asked: Question) -> Plan:
    """The answer. Raises KernelError, PlanError, and click's errors for what is not there."""
    limits = asked.limits
    if asked.balance:
        tasks = [find_task(machine, asked.pid)] if asked.pid else machine.processes
        return make_balanced(machine, uid, tasks, limits)
    wanted = _goal(machine, uid, asked)
    return make_chunked(machine, wanted, limits) if limits.are_set else make_plan(machine, wanted)


def _goal(machine: Machine, uid: int, asked: Question) -> Goal:
    if asked.offline is not None:
        return goal.without_node(machine, uid, asked.offline)
    if asked.cpuset is not None:
        name = "" if asked.cpuset == "/" else asked.cpuset
        return goal.to_mems(machine, uid, name, _nodes(machine, "--to", str(asked.to)))
    task = machine.process_of(find_task(machine, str(asked.pid)))
    if asked.policy is not None:
        try:
            parsed = parse_mode(asked.policy)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--mbind") from None
        return goal.to_policy(machine, uid, task, parsed, asked.policy)
    old = None if asked.source is None else _nodes(machine, "--from", asked.source)
    return goal.to_nodes(machine, uid, task, old, _nodes(machine, "--to", str(asked.to)))


def _nodes(machine: Machine, name: str, value: str) -> Nodemask:
    """The nodes of the option *name*, as numactl's programs take them."""
    try:
        return parse_nodestring(value, machine.memory_nodes, len(machine.nodes))
    except RefusedError as refused:
        why = str(refused).strip() or "it names no nodes"
        raise click.BadParameter(why, param_hint=name) from None
