"""``pymigrate run``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from pymigrate.cli.call import watch_of, write_chrome
from pymigrate.cli.common import say, trace_options, with_options, write_text
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command, option
from pymigrate.errors import ScenarioError
from pymigrate.mm.base.release import RELEASES
from pymigrate.mm.state.machine import watching
from pymigrate.records import NamedTuple
from pymigrate.session import scenario_path
from pymigrate.views.told import balance, cost
from pymigrate.views.told import stack as stacks
from pymigrate.views.told import trace as traces

if TYPE_CHECKING:
    from pymigrate.mm.state.events import Event
    from pymigrate.mm.state.events import Step as Told
    from pymigrate.mm.state.machine import Machine
    from pymigrate.scenario.record import Record
    from pymigrate.scenario.spec.runner import Step
    from pymigrate.views.told.fold import Wanted

PROGRESS_STEPS = 200  # fewer steps are done before a progress bar could be read


# What stands below a record's line, or is its beginning.
_MORE = ("op", "balanced", "ended", "estimated", "failed", "scans", "tasks", "trace", "why")


class Watched(NamedTuple):
    """How the steps are watched."""

    trace: bool
    steps: bool
    chrome: str | None
    times: bool
    stack: bool
    wanted: Wanted | None
    is_recorded: bool  # in the form of the recorded cases


@click.command(cls=Command)
@click.argument("scenario", metavar="SCENARIO", shell_complete=complete.scenarios)
@option("--json", "as_json", is_flag=True, help="Print the records as a JSON array.")
@option("-v", "--verbose", is_flag=True, help="Estimate the time of each migration.")
@option(
    "--kernel",
    type=click.Choice(list(RELEASES)),
    help="The kernel whose rules apply (default: the scenario's).",
)
@option("--junit", metavar="FILE", help="Write what the steps expect as a JUnit report.")
@with_options(trace_options())
def command(
    scenario: str,
    as_json: bool,
    verbose: bool,
    kernel: str | None,
    junit: str | None,
    trace: bool,
    steps: bool,
    chrome: str | None,
) -> None:
    """Boot SCENARIO, run its steps, and print the record of each.

    The machine exists for this command only; a booted one is not touched. --trace adds the
    migration tracepoints to the records. Exits with 1 if something is not as a step expects.
    """
    given = click.get_current_context().obj or {}  # by `pymigrate trace`
    chrome = chrome or given.get("chrome")
    steps = steps or bool(given.get("steps"))
    is_traced = trace or bool(given.get("trace")) or (steps and not chrome)
    stack, wanted = bool(given.get("stack")), given.get("wanted")
    watched = Watched(is_traced, steps, chrome, as_json or verbose, stack, wanted, as_json)
    done: list[Record] = []
    for record in _records(scenario, kernel, watched):
        done.append(record)
        if not as_json:
            click.echo(_line(len(done), record))
    if as_json:
        click.echo("[" + ",\n ".join(json.dumps(record) for record in done) + "]")
    elif not done:
        say(f"{os.path.basename(scenario)} has no steps")
    if junit:
        from pymigrate.cli.junit import report

        write_text(junit, report(os.path.basename(scenario), done), "--junit")
    if any(record.get("failed") for record in done):
        raise click.exceptions.Exit(1)


def _records(path: str, kernel: str | None, watched: Watched) -> Iterator[Record]:
    from pymigrate.scenario.boot.build import build
    from pymigrate.scenario.read.loader import load
    from pymigrate.scenario.spec.runner import Runner

    path = scenario_path(path)
    scenario = load(path)
    parts: list[traces.Part] = []
    try:
        machine = build(scenario, kernel)
        runner = Runner(machine)
        steps: Iterable[Step] = scenario.steps
        if len(scenario.steps) >= PROGRESS_STEPS and sys.stderr and sys.stderr.isatty():
            from pymigrate.cli.render import progress

            steps = progress(steps, len(scenario.steps), "steps")
        for number, step in enumerate(steps, 1):
            watch = watch_of(*watched[:5])
            with watching(machine, watch):
                record = runner.step(step)
            if watched.chrome:
                actor = traces.Actor(f"{number} {record['op']}", number, 0)
                events = traces.wanted_of(machine, watch.events or (), watched.wanted)
                parts.append(traces.Part(actor, events))
            if "trace" in record:
                record["trace"] = _traced(machine, watch.events or (), watched)
                if not (watched.trace or watched.stack):
                    del record["trace"]
            if time := cost.taken(machine, watch.tally):
                record["estimated"] = cost.as_json(time)
            yield record
        if watched.chrome:
            write_chrome(machine, watched.chrome, parts)
    except ScenarioError as error:
        raise ScenarioError(error.message, error.path or path, error.line, error.column) from None


def _traced(machine: Machine, events: Sequence[Event | Told], watched: Watched) -> list[str]:
    """What a record has of its step's trace."""
    found = stacks.format_stacks(events).splitlines() if watched.stack else []
    if not watched.trace:
        return found
    kept = traces.wanted_of(machine, events, watched.wanted)
    if watched.steps:
        return found + (traces.all_lines if watched.is_recorded else traces.folded_lines)(
            machine, kept
        )
    return found + (traces.recorded_lines if watched.is_recorded else traces.lines)(machine, kept)


def _line(number: int, record: Record) -> str:
    """A record for people: its number, the step, and what was answered."""
    fields = [
        f"{name}={_shown(name, value)}"
        for name, value in record.items()
        if name not in _MORE and value is not None
    ]
    more = [_reach(task) for task in record.get("tasks", ())]
    if "balanced" in record:
        more += balance.format_lines(record)
    if "estimated" in record:
        more.append(cost.format_line(cost.from_json(record["estimated"])))
    more += record.get("trace", ())
    more += [f"expected {text}" for text in record.get("failed", ())]
    below = "".join(f"\n       {line}" for line in more)
    why = f": {record['why']}" if record.get("why") else ""
    return " ".join([f"{number:4}", str(record["op"]), *fields]) + why + below


def _shown(name: str, value: object) -> str:
    """A value on a record's line, where a line break would end it."""
    if name == "calls" and isinstance(value, list):  # of a driver
        return ", ".join(f"{call}({page}) {answer}".rstrip() for call, page, answer in value)
    if isinstance(value, str | int):
        return json.dumps(value) if "\n" in str(value) else str(value)
    return json.dumps(value)


def _reach(task: dict[str, Any]) -> str:
    """What an `accesses` step says of a task."""
    absent = f", {task['absent']:.0f} to absent pages" if task["absent"] else ""
    return (
        f"{task['task']} on node {task['node']}: {task['local']:.0f} local,"
        f" {task['remote']:.0f} remote accesses/s{absent}, mean distance {task['distance']:.1f}"
    )
