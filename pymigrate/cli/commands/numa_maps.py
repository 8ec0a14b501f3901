"""``pymigrate numa_maps``."""

from __future__ import annotations

import click

from pymigrate.cli.common import Options, common_options, find_task, print_json
from pymigrate.errors import KernelError
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.checks import check_access
from pymigrate.views.proc import numa_maps


@click.command()
@click.argument("pid")
@common_options(calls=True)
def command(options: Options, pid: str) -> None:
    """Print /proc/PID/numa_maps: the policy and the pages of each mapping, by node.

    PID may also be a task's name. --as names who reads it: EACCES for others' processes.
    """
    with options.session() as machine:
        rows = numa_maps.rows(machine, _readable(machine, options.uid, pid))
    if options.json:
        print_json([numa_maps.as_json(row) for row in rows])
    else:
        click.echo(numa_maps.format_rows(rows), nl=False)


def _readable(machine: Machine, uid: int, pid: str) -> Task:
    """The task, if *uid* may open the file. Mirrors mm_access() in proc_maps_open()."""
    task = find_task(machine, pid)
    try:
        check_access(machine.shell_of(uid), task)
    except KernelError as error:
        raise KernelError("EACCES", error.why) from None
    return task
