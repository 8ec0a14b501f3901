"""``pymigrate boot``."""

from __future__ import annotations

import click

from pymigrate.cli.common import MACHINE_NODES, TEXT_FILE, Options, common_options
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command, option
from pymigrate.session import boot, boot_inline
from pymigrate.units import PAGE_SIZE, counted, format_size


@click.command(cls=Command)
@click.argument(
    "scenario_file", metavar="[SCENARIO]", required=False, shell_complete=complete.scenarios
)
@option(
    "--nodes",
    "text",
    type=MACHINE_NODES,
    metavar="NODES",
    help="Not SCENARIO but these nodes, as in 4x384GiB:16,2x512GiB@cxl.",
)
@option("--run", "runs_steps", is_flag=True, help="Run the scenario's steps too.")
@option("--check", "is_checked", is_flag=True, help="Say whether it boots, and keep nothing.")
@common_options()
def command(
    options: Options,
    scenario_file: str | None,
    text: str | None,
    runs_steps: bool,
    is_checked: bool,
) -> None:
    """Boot SCENARIO afresh, replacing what was booted before.

    SCENARIO is a file, - for stdin, or the name of a scenario that ships (see `pymigrate
    scenarios`). Without it, --scenario or $PYMIGRATE_SCENARIO says which, else it is the built-in
    machine of two nodes. Commands that name no machine then work on this one. `pymigrate init`
    writes what --nodes boots.
    """
    if scenario_file and text:
        raise click.UsageError("SCENARIO and --nodes exclude each other.")
    about = (text or "").partition("about: ")[2].partition("\n")[0]
    named = about or scenario_file or options.scenario
    if scenario_file == "-":
        text, named = TEXT_FILE.convert("-", None, None), "stdin"
    request = options._replace(scenario=scenario_file or options.scenario).request(write=True)
    request = request._replace(ephemeral=request.ephemeral or is_checked)
    if text:
        machine, booted = boot_inline(request, text, runs_steps)
    else:
        machine, booted = boot(request, runs_steps)
    memory = sum(node.nr_pages for node in machine.nodes.values()) * PAGE_SIZE
    facts = {
        "scenario": booted.scenario,
        "kernel": booted.kernel,
        "nodes": len(machine.nodes),
        "memory": memory,
        "tasks": len(machine.tasks),
    }
    done = "can boot" if is_checked else "booted"
    told = (
        f"{done} {named or booted.scenario}: Linux {booted.kernel},"
        f" {counted(len(machine.nodes), 'node')}, {format_size(memory)},"
        f" {counted(len(machine.tasks), 'task')}\n"
    )
    options.show(facts, told)
