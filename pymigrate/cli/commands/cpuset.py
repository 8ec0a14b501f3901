"""``pymigrate cpuset``."""

from __future__ import annotations

import click

from pymigrate.cli.common import Options, common_options, print_json
from pymigrate.cli.declared import TableGroup
from pymigrate.mm.state.machine import Machine

command = TableGroup(
    "cpuset",
    help="""Make and change cpusets: which nodes and CPUs a group of tasks may use.

    Tasks begin in one that has everything. Memory follows when a task is attached, or when the
    nodes change (on Linux 6.1: if --memory-migrate is on).
    """,
)


@command.command("list")
@common_options()
def list_cpusets(options: Options) -> None:
    """List the cpusets with their CPUs, nodes and tasks."""
    with options.session() as machine:
        rows = _rows(machine)
    if options.json:
        print_json(rows)
        return
    lines = [("CPUSET", "CPUS", "MEMS", "MIGRATE", "PIDS")]
    lines += [
        (
            str(row["name"]),
            str(row["cpus"]) or "-",
            str(row["mems"]) or "-",
            "yes" if row["memory_migrate"] else "no",
            " ".join(str(pid) for pid in pids) or "-",
        )
        for row in rows
        for pids in [row["pids"]]
        if isinstance(pids, list)
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        click.echo("  ".join([*cells, line[4]]))


def _rows(machine: Machine) -> list[dict[str, object]]:
    return [
        {
            "name": name or "/",
            "cpus": str(group.cpus),
            "mems": str(group.mems),
            "memory_migrate": group.memory_migrate,
            "pids": [task.pid for task in machine.tasks.values() if task.cpuset == name],
        }
        for name, group in machine.cpusets.items()
    ]
