"""``pymigrate migratepages``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pymigrate.cli.call import Call, system_call
from pymigrate.cli.common import Options, common_options, find_task, say
from pymigrate.errors import KernelError
from pymigrate.mm.cred import Cap
from pymigrate.mm.queue_folios import node_pairs
from pymigrate.syscalls import migrate
from pymigrate.tools.nodestring import parse_nodestring
from pymigrate.views import stayed

if TYPE_CHECKING:
    from pymigrate.mm.machine import Machine, Task
    from pymigrate.nodemask import Nodemask


@click.command()
@click.argument("pid")
@click.argument("from_nodes")
@click.argument("to_nodes")
@common_options(changes=True, calls=True)
def command(options: Options, pid: str, from_nodes: str, to_nodes: str) -> None:
    """Move the pages of process PID from FROM_NODES to TO_NODES.

    PID may also be a task's name; 0 is the caller, who has no pages. Nodes are written as
    numactl's programs take them: 0,2-3, all, !1, +0. As with numactl's migratepages nothing is
    printed when the call succeeds, even if some pages stayed; -v says which and why.
    """
    with system_call(options, "migrate_pages") as call:
        old, new = _nodes(call.machine, from_nodes), _nodes(call.machine, to_nodes)
        task = call.shell if pid == "0" else find_task(call.machine, pid)
        try:
            call.answer["ret"] = migrate.migrate_pages(call.machine, call.shell, task, old, new)
        except KernelError as error:
            if error.errno == "ENOMEM":
                _explain(call, task, old, new, is_full=True)
            raise
        _explain(call, task, old, new, is_full=False)


def _nodes(machine: Machine, text: str) -> Nodemask:
    """The nodes of an argument; ends the command as numactl's programs do if it is wrong."""
    parsed = parse_nodestring(text, machine.memory_nodes, len(machine.nodes))
    if parsed.mask is None:
        if parsed.warning:
            click.echo(f"libnuma: Warning: {parsed.warning}", err=True)
        click.echo(f"<{text}> is invalid")
        raise click.exceptions.Exit(1)
    return parsed.mask


def _explain(call: Call, task: Task, old: Nodemask, new: Nodemask, is_full: bool) -> None:
    """Where that is asked for, say which pages stayed on nodes that were to be emptied, and why.

    A dry run prints it with the rest of its answer.
    """
    if not (call.options.verbose or call.options.dry_run):
        return
    rows = stayed.rows(
        call.machine,
        task,
        list(node_pairs(old, new)),
        move_all=call.shell.has(Cap.SYS_NICE),
        is_full=is_full,
    )
    verb = "would stay" if call.options.dry_run else "stayed"
    lines = stayed.format_rows(task, rows, verb)
    call.answer["stayed"] = [row._asdict() for row in rows]
    if call.options.dry_run:
        call.text += "".join(f"{line}\n" for line in lines)
    else:
        for line in lines:
            say(line)
