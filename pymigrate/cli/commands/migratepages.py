"""``pymigrate migratepages``."""

from __future__ import annotations

import click

from pymigrate.cli.call import access_of, meanwhile_option, system_call
from pymigrate.cli.common import Options, common_options, find_task, print_json
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command
from pymigrate.interface import noted
from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls import migrate
from pymigrate.tools.nodestring import RefusedError, parse_nodestring
from pymigrate.views.why import stayed


@click.command(cls=Command)
@click.argument("pid", shell_complete=complete.tasks)
@click.argument("from_nodes", shell_complete=complete.nodes)
@click.argument("to_nodes", shell_complete=complete.nodes)
@meanwhile_option()
@common_options(changes=True, calls=True, leaves=True, strict=True)
def command(
    options: Options,
    pid: str,
    from_nodes: str,
    to_nodes: str,
    meanwhile: tuple[str, str, str] | None,
) -> None:
    """Move the pages of process PID from FROM_NODES to TO_NODES.

    PID may be a task's name; 0 is the caller, who has no pages. Nodes are written as numactl's
    programs take them: 0,2-3, all, !1, +0. Like numactl's migratepages it prints nothing on stdout
    if the call succeeds, even if pages stayed; a line on stderr then says so, and with -v which and
    why.
    """
    with system_call(options, "migrate_pages") as call:
        old, new = (_nodes(call.machine, text, options.json) for text in (from_nodes, to_nodes))
        task = call.shell if pid == "0" else find_task(call.machine, pid)
        call.noted.find_left = lambda stays: stayed.rows(call.machine, task, stays)
        with noted.meanwhile(call.machine, access_of(call.machine, meanwhile), call.answer):
            call.answer["ret"] = migrate.migrate_pages(call.machine, call.shell, task, old, new)


def _nodes(machine: Machine, text: str, is_json: bool) -> Nodemask:
    """The nodes of an argument; ends the command as numactl's programs do if it is wrong."""
    try:
        return parse_nodestring(text, machine.memory_nodes, len(machine.nodes))
    except RefusedError as refused:
        click.echo(refused.stderr, err=True, nl=False)
        message = f"<{text}> is invalid"
        if is_json:
            print_json({"ret": -1, "errno": None, "why": message})
        else:
            click.echo(message)
        raise click.exceptions.Exit(1) from None
