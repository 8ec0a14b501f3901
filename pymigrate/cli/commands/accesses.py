"""``pymigrate accesses``."""

from __future__ import annotations

from itertools import islice

import click

from pymigrate.cli.common import Options, common_options, find_task
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command, option
from pymigrate.views.told import accesses


@click.command(cls=Command)
@click.argument("pid", required=False, shell_complete=complete.tasks)
@option("--log", is_flag=True, help="Print the remote pages as ADDRESS NODE, hottest first.")
@option("--top", type=click.IntRange(min=1), metavar="N", help="With --log: print at most N pages.")
@common_options()
def command(options: Options, pid: str | None, log: bool, top: int | None) -> None:
    """Show how far tasks reach with the accesses that their scenario declares.

    LOCAL/s counts accesses a second to memory on the node that the task runs on, REMOTE/s those
    to other nodes, and ABSENT/s those to pages that were never touched; DISTANCE is their mean.
    --log prints PID's remote pages as a profiler would log them, each with the node that uses it,
    for `pymigrate move_pages PID --from-file`.
    """
    if log and pid is None:
        raise click.UsageError("--log needs a PID")
    if top and not log:
        raise click.UsageError("--top needs --log")
    with options.session() as machine:
        if log:
            pages = list(islice(accesses.remote_pages(machine, find_task(machine, str(pid))), top))
            shown: list[dict[str, object]] = [
                {"address": f"{page.addr:#x}", "node": page.node, "rate": round(page.rate, 3)}
                for page in pages
            ]
            text = "".join(f"{page.addr:x} {page.node}\n" for page in pages)
        else:
            rows = accesses.rows(machine)
            if pid is not None:
                task = find_task(machine, pid)
                rows = [row for row in rows if row.pid == task.pid]
            shown = [accesses.as_json(row) for row in rows]
            text = accesses.format_rows(rows)
    options.show(shown, text)
