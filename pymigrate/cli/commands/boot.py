"""``pymigrate boot``."""

from __future__ import annotations

import click

from pymigrate.cli.common import Options, common_options
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command
from pymigrate.session import boot
from pymigrate.units import PAGE_SIZE, counted, format_size


@click.command(cls=Command)
@click.argument(
    "scenario_file", metavar="[SCENARIO]", required=False, shell_complete=complete.scenarios
)
@click.option("--run", "runs_steps", is_flag=True, help="Run the scenario's steps too.")
@common_options()
def command(options: Options, scenario_file: str | None, runs_steps: bool) -> None:
    """Boot SCENARIO afresh, replacing what was booted before.

    SCENARIO is a file, or the name of a scenario that ships (see `pymigrate scenarios`). Without
    it, --scenario or $PYMIGRATE_SCENARIO says which, else it is the built-in machine of two nodes.
    """
    if scenario_file:
        options = options._replace(scenario=scenario_file)
    machine, booted = boot(options.request(write=True), runs_steps)
    memory = sum(node.nr_pages for node in machine.nodes.values()) * PAGE_SIZE
    facts = {
        "scenario": booted.scenario,
        "kernel": booted.kernel,
        "nodes": len(machine.nodes),
        "memory": memory,
        "tasks": len(machine.tasks),
    }
    text = (
        f"booted {options.scenario or booted.scenario}: Linux {booted.kernel},"
        f" {counted(len(machine.nodes), 'node')}, {format_size(memory)},"
        f" {counted(len(machine.tasks), 'task')}\n"
    )
    options.show(facts, text)
