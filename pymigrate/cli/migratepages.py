"""``pymigrate migratepages``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pymigrate.cli.common import Options, common_options, find_task, print_json, say
from pymigrate.errors import KernelError
from pymigrate.mm.queue_folios import node_pairs
from pymigrate.nodemask import Nodemask
from pymigrate.syscalls import migrate
from pymigrate.tools.nodestring import parse_nodestring
from pymigrate.views import changes, stayed

if TYPE_CHECKING:
    from pymigrate.mm.machine import Machine, Task


@click.command()
@click.argument("pid")
@click.argument("from_nodes")
@click.argument("to_nodes")
@common_options(changes=True)
def command(options: Options, pid: str, from_nodes: str, to_nodes: str) -> None:
    """Move the pages of process PID from FROM_NODES to TO_NODES.

    PID may also be a task's name. Nodes are written as numactl's programs take them: 0,2-3, all,
    !1, +0. As with numactl's migratepages nothing is printed when the call succeeds, even if some
    pages stayed; -v says which and why.
    """
    with options.session(write=True) as machine:
        old, new = _nodes(machine, from_nodes), _nodes(machine, to_nodes)
        before = changes.snapshot(machine) if options.dry_run or options.json else None
        answer: dict[str, object] = {"ret": -1, "errno": None}
        try:
            task = find_task(machine, pid)
            answer["ret"] = migrate.migrate_pages(machine, machine.shell, task, old, new)
        except KernelError as error:
            answer["errno"] = error.errno
            click.echo(f"migrate_pages: {error}", err=True)
            if options.verbose and error.why:
                say(error.why)
        if options.verbose and answer["errno"] in (None, "ENOMEM"):
            _explain(machine, task, old, new, answer["errno"] == "ENOMEM")
        if before:
            _report(options, answer, *changes.diff(before, machine))
    if answer["errno"]:
        raise click.exceptions.Exit(1)


def _nodes(machine: Machine, text: str) -> Nodemask:
    """The nodes of an argument; ends the command as numactl's programs do if it is wrong."""
    parsed = parse_nodestring(text, machine.memory_nodes, len(machine.nodes))
    if parsed.mask is None:
        if parsed.warning:
            click.echo(f"libnuma: Warning: {parsed.warning}", err=True)
        click.echo(f"<{text}> is invalid")
        raise click.exceptions.Exit(1)
    return parsed.mask


def _explain(machine: Machine, task: Task, old: Nodemask, new: Nodemask, is_full: bool) -> None:
    """Say which pages stayed on the nodes that were to be emptied."""
    sources = Nodemask.collect(source for source, _ in node_pairs(old, new))
    rows = stayed.rows(machine, task, sources, move_all=True, is_full=is_full)
    for line in stayed.format_rows(task, rows):
        say(line)


def _report(
    options: Options,
    answer: dict[str, object],
    moved: list[changes.Change],
    counted: dict[str, int],
) -> None:
    if options.json:
        print_json(answer | changes.as_json(moved, counted))
    else:
        click.echo(changes.format_diff(moved, counted), nl=False)
