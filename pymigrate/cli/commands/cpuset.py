"""``pymigrate cpuset``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pymigrate.cli.call import Call, system_call
from pymigrate.cli.common import (
    CPUMASK,
    NAME,
    NODEMASK,
    Options,
    common_options,
    find_task,
    print_json,
)
from pymigrate.syscalls import cpuset
from pymigrate.views.why import stayed

if TYPE_CHECKING:
    from pymigrate.mm.state.machine import Machine
    from pymigrate.mm.state.task import Task
    from pymigrate.nodemask import Cpumask, Nodemask


@click.group()
def command() -> None:
    """Make and change cpusets: which nodes and CPUs a group of tasks may use.

    Tasks begin in one that has everything. Memory follows when a task is attached, or when the
    nodes change (on Linux 6.1: if --memory-migrate is on).
    """


@command.command()
@click.argument("name", type=NAME)
@click.option("--cpus", type=CPUMASK, required=True, help="Its CPUs, as in 0-3,5.")
@click.option("--mems", type=NODEMASK, required=True, help="Its nodes, as in 0-1.")
@click.option("--memory-migrate", is_flag=True, help="Let memory follow (Linux 6.1 only).")
@common_options(changes=True, calls=True)
def create(
    options: Options, name: str, cpus: Cpumask, mems: Nodemask, memory_migrate: bool
) -> None:
    """Make cpuset NAME."""
    with system_call(options, "cpuset") as call:
        cpuset.create(call.machine, call.shell, name, cpus, mems, memory_migrate)


@command.command("set")
@click.argument("name")
@click.option("--cpus", type=CPUMASK, help="Its CPUs.")
@click.option("--mems", type=NODEMASK, help="Its nodes.")
@click.option("--memory-migrate/--no-memory-migrate", default=None, help="Linux 6.1 only.")
@common_options(changes=True, calls=True, leaves=True, strict=True)
def change(
    options: Options,
    name: str,
    cpus: Cpumask | None,
    mems: Nodemask | None,
    memory_migrate: bool | None,
) -> None:
    """Change cpuset NAME; policies of its tasks are rebound, and their memory follows."""
    with system_call(options, "cpuset") as call:
        _watch_memory(call, "" if name == "/" else name)
        cpuset.change(
            call.machine, call.shell, "" if name == "/" else name, cpus, mems, memory_migrate
        )


@command.command()
@click.argument("name")
@click.argument("pid")
@common_options(changes=True, calls=True, leaves=True, strict=True)
def attach(options: Options, name: str, pid: str) -> None:
    """Move process PID into cpuset NAME ('/': where all tasks begin), with its memory."""
    with system_call(options, "cpuset") as call:
        task = find_task(call.machine, pid)
        _watch_memory(call, task.cpuset, task)
        cpuset.attach_task(call.machine, call.shell, task, "" if name == "/" else name)


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


def _watch_memory(call: Call, name: str, task: Task | None = None) -> None:
    """Look, after the call, for pages that did not follow: of *task*, or all tasks of a cpuset."""
    machine = call.machine
    if name not in machine.cpusets:
        return
    old = machine.cpusets[name].old_mems
    tasks = [task] if task else [t for t in machine.tasks.values() if t.cpuset == name]
    call.find_left = lambda _: stayed.cpuset_rows(machine, tasks, old)


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
