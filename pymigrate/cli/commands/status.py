"""``pymigrate status``."""

from __future__ import annotations

import os

import click

from pymigrate.cli.common import Options, common_options
from pymigrate.cli.helped import Command
from pymigrate.mm.state.machine import Machine
from pymigrate.session import load_state, scenario_path, state_path
from pymigrate.units import PAGE_SIZE, counted, format_size, sized
from pymigrate.views.columns import aligned


@click.command(cls=Command)
@common_options()
def command(options: Options) -> None:
    """Show which machine is booted: its scenario, kernel, state file, and what has happened.

    It boots nothing.
    """
    path = state_path(options.request())
    if not os.path.exists(path):
        scenario = scenario_path(options.scenario)
        facts: dict[str, object] = {"state": path, "booted": False, "scenario": scenario}
        text = f"nothing is booted yet; the next command boots {scenario}\n"
        options.show(facts, text)
        return
    machine, booted = load_state(path)
    memory = sum(node.nr_pages for node in machine.nodes.values()) * PAGE_SIZE
    facts = {
        "state": path,
        "booted": True,
        "scenario": booted.scenario,
        "kernel": machine.release.name,
        "nodes": len(machine.nodes),
        "memory": memory,
        "tasks": len(machine.processes),
        "now": machine.now,
        "last": machine.last_call or None,
        "left": sum(left.nr for left in machine.left),
        "moved": machine.counters["pgmigrate_success"],
    }
    options.show(facts, _text(machine, facts, memory))


def _text(machine: Machine, facts: dict[str, object], memory: int) -> str:
    left = f", which left {sized(int(str(facts['left'])))}" if facts["left"] else ""
    table = [
        ["scenario", str(facts["scenario"])],
        ["state", str(facts["state"])],
        ["kernel", f"Linux {machine.release.name}"],
        [
            "machine",
            f"{counted(len(machine.nodes), 'node')}, {format_size(memory)},"
            f" {counted(len(machine.processes), 'task')}",
        ],
        ["time", f"{machine.now / 1000:g} s since the boot"],
        ["moved", f"{sized(machine.counters['pgmigrate_success'])} so far"],
        [
            "last call",
            f"{machine.last_call}{left}" if machine.last_call else "none that moves pages",
        ],
    ]
    return "".join(f"{line.rstrip()}\n" for line in aligned(table, {0, 1}))
