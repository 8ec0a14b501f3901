"""``pymigrate reclaim``."""

from __future__ import annotations

import click

from pymigrate.cli.call import system_call
from pymigrate.cli.common import SIZE, Options, common_options, find_task
from pymigrate.syscalls.reclaim import cpuset_tasks, reclaim


@click.command()
@click.argument("size", type=SIZE)
@click.option("--node", type=int, metavar="N", help="Only from node N.")
@click.option("--task", "pid", metavar="PID", help="Only what process PID maps.")
@click.option("--cpuset", "group", metavar="NAME", help="Only what the tasks of a cpuset map.")
@common_options(changes=True, calls=True)
def command(
    options: Options, size: int, node: int | None, pid: str | None, group: str | None
) -> None:
    """Reclaim SIZE bytes, as a write to memory.reclaim does; prints how much it was.

    With demotion_enabled, pages go to the next lower memory tier (see `pymigrate tiers`). Without,
    or in the last tier, clean page cache is dropped, and all else stays, for there is no swap.
    What was used since it was last looked at goes last.
    """
    if pid is not None and group is not None:
        raise click.UsageError("--task and --cpuset exclude each other.")
    with system_call(options, "reclaim") as call:
        tasks = None
        if pid is not None:
            tasks = [find_task(call.machine, pid)]
        elif group is not None:
            tasks = cpuset_tasks(call.machine, "" if group == "/" else group)
        nr = reclaim(call.machine, call.shell, size, node, tasks)
        call.answer["reclaimed"] = nr
        call.text = f"{nr} pages reclaimed\n"
