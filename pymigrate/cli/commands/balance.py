"""``pymigrate balance``."""

from __future__ import annotations

from math import ceil

import click

from pymigrate.cli.call import system_call
from pymigrate.cli.common import Options, common_options, say
from pymigrate.cli.helped import Command
from pymigrate.mm.clock.simulated_time import Balanced, balance
from pymigrate.mm.state.machine import Machine
from pymigrate.views.proc import vmstat
from pymigrate.views.told import balance as view

DAY = 86400


@click.command(cls=Command)
@click.option(
    "--seconds",
    type=float,
    required=True,
    help="How long tasks run; at most a day.",
)
@common_options(changes=True)
def command(options: Options, seconds: float) -> None:
    """Let time pass: tasks use their memory as the scenario declares, and NUMA balancing acts.

    For each task it prints how often it scanned its memory, how many pages that made inaccessible,
    how many faults followed, how many of them were local, and how many pages migrated; then the
    node that the task prefers, and the period of its scans. The counters that changed come last.
    -v reports scan by scan.
    """
    if not 0 < seconds <= DAY:
        message = f"is {seconds:g}, expected more than 0, at most {DAY}"
        raise click.BadParameter(message, param_hint="--seconds")
    with system_call(options, "balance") as call:
        machine = call.machine
        before = vmstat.rows(machine)
        done = balance(machine, ceil(seconds * 1000))
        after = vmstat.rows(machine)
        counters = {
            name: after[name] - before[name] for name in view.COUNTED if after[name] != before[name]
        }
        call.answer |= view.as_json(machine, done) | {"counted": counters}
        lines = [f"{name} +{nr}\n" for name, nr in counters.items()]
        call.text = view.format_rows(view.rows(machine, done)) + "".join(lines)
        _remark(machine, done, options.verbose)


def _remark(machine: Machine, done: Balanced, is_verbose: bool) -> None:
    """Say on stderr why nothing may have happened, and what else did."""
    if not done.tasks:
        say("no task declares its accesses (`access:` in the scenario), so that none has run")
    elif not machine.numa_balancing:
        say("numa_balancing is 0, so that nothing was scanned; `pymigrate sysctl numa_balancing=1`")
    for ended in done.ended:
        say(f"{ended.signal} has ended the accesses of {ended.task} to {ended.region}")
    if is_verbose:
        for line in view.format_scans(machine, done.scans):
            say(line)
