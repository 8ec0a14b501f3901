"""``pymigrate balance``."""

from __future__ import annotations

from math import ceil

import click

from pymigrate.cli import waiting
from pymigrate.cli.call import system_call
from pymigrate.cli.common import Options, common_options, say
from pymigrate.cli.common import seconds as seconds_up_to
from pymigrate.cli.helped import Command, option
from pymigrate.cli.picture import cells_beside, text_of
from pymigrate.mm.clock.simulated_time import Balanced, balance
from pymigrate.mm.state.machine import Machine
from pymigrate.views.pictures import heatmap
from pymigrate.views.pictures.heatmap import Watcher
from pymigrate.views.proc import vmstat
from pymigrate.views.told import balance as view

DAY = 86400
_TIME = 13  # characters beside a moment


@click.command(cls=Command)
@option(
    "--seconds",
    type=seconds_up_to(DAY, may_be_0=False),
    required=True,
    help="How long tasks run: 2, 1.5s, 5min; at most a day.",
)
@option("--heatmap", "has_map", is_flag=True, help="Draw where memory lies, from moment to moment.")
@common_options(changes=True)
def command(options: Options, seconds: float, has_map: bool) -> None:
    """Let time pass: tasks use their memory as the scenario declares, and NUMA balancing acts.

    For each task it prints how often it scanned its memory, how many pages that made inaccessible,
    how many faults followed, how many of them were local, and how many pages migrated; then the
    node that the task prefers, and the period of its scans. The counters that changed come last.
    -v reports scan by scan. --heatmap draws each region that is accessed: how hot its parts are,
    and the nodes they are on, first, then after scans, and at the end.
    """
    with system_call(options, "balance") as call:
        machine = call.machine
        before = vmstat.rows(machine)
        ms = ceil(seconds * 1000)
        watcher = Watcher(machine, ms, cells_beside(_TIME, options.json)) if has_map else None
        start = machine.now

        def look(machine: Machine) -> None:
            waiting.tell(machine.now - start, ms)
            if watcher:
                watcher.look(machine)

        done = balance(machine, ms, look)
        after = vmstat.rows(machine)
        counters = {
            name: after[name] - before[name] for name in view.COUNTED if after[name] != before[name]
        }
        call.answer |= view.as_json(machine, done) | {"counted": counters}
        lines = [f"{name} +{nr}\n" for name, nr in counters.items()]
        call.text = view.format_rows(view.rows(machine, done)) + "".join(lines)
        if watcher:
            watcher.note(machine)
            call.answer["heatmap"] = heatmap.as_json(watcher.maps)
            call.drawn = text_of(heatmap.lines(watcher.maps))
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
