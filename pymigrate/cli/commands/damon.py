"""``pymigrate damon``."""

from __future__ import annotations

import click

from pymigrate.cli.call import find_range, system_call
from pymigrate.cli.common import SIZE, Options, common_options, find_task
from pymigrate.mm.reclaim.damon import Action, Kind, Scheme
from pymigrate.syscalls.damon import apply_to_node, apply_to_range
from pymigrate.units import PAGE_SHIFT

_ACTIONS = [action.value for action in Action]
_KINDS = [kind.value for kind in Kind]
_WHOLE = 1 << 47  # bytes of addresses


@click.command()
@click.argument("action", type=click.Choice(_ACTIONS))
@click.argument("target", type=int)
@click.option("--node", type=int, metavar="N", help="The memory of node N.")
@click.option("--task", "pid", metavar="PID", help="The memory of process PID.")
@click.option("--at", "place", metavar="ADDR|REGION[+OFFSET[:LENGTH]]", help="That part of it.")
@click.option("--quota", type=SIZE, help="At most so much; the hottest first, or the coldest.")
@click.option("--exclude", type=click.Choice(_KINDS), multiple=True, help="Filter pages out.")
@common_options(changes=True, calls=True)
def command(
    options: Options,
    action: str,
    target: int,
    node: int | None,
    pid: str | None,
    place: str | None,
    quota: int | None,
    exclude: tuple[str, ...],
) -> None:
    """Apply a scheme of DAMON's: move the memory of a region to node TARGET.

    ACTION is migrate_hot or migrate_cold; without --quota they do the same. Pages are young (hot)
    if they were used since they were last looked at, else old. What node TARGET has no room for
    stays, and so does what lies there already. Prints how many pages moved.
    """
    if (node is None) == (pid is None) or (place is not None and pid is None):
        raise click.UsageError("Expected either --node, or --task with or without --at.")
    kinds = frozenset(Kind(kind) for kind in exclude)
    pages = None if quota is None else -(-quota >> PAGE_SHIFT)
    scheme = Scheme(Action(action), target, pages, kinds)
    with system_call(options, "damon") as call:
        machine, shell = call.machine, call.shell
        if node is not None:
            nr = apply_to_node(machine, shell, scheme, node)
        else:
            task = find_task(machine, pid or "")
            addr, length = find_range(machine, task, place) if place else (0, _WHOLE)
            if length is None:
                raise click.BadParameter(f"{place!r} has no length; expected ADDR+OFFSET:LENGTH")
            nr = apply_to_range(machine, shell, scheme, task, addr, length)
        call.answer["migrated"] = nr
        call.text = f"{nr} pages migrated\n"
