"""``pymigrate trace``: another command, watched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pymigrate.cli.common import trace_options, with_options
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command, option

if TYPE_CHECKING:
    from pymigrate.views.told.fold import Wanted

_READERS = "changes nothing, so that there is nothing to trace"
_PROGRAMS = "is a program and prints what the real one does; expected a system call to trace"


@click.command(
    cls=Command, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@option("--stack", is_flag=True, help="Print how migrate_pages() was called instead.")
@with_options(trace_options()[1:])
@option("--folio", metavar="NAME", help="Only this folio, as the trace names it: heap+7.")
@option("--step", metavar="N,...", help="Only these steps, by the document's numbers.")
@option("--failed", is_flag=True, help="Only the steps at which a folio backed out.")
@option("--first", type=click.IntRange(min=1), metavar="N", help="Only the first N folios.")
@click.argument("name", metavar="COMMAND", shell_complete=complete.commands)
@click.argument("args", nargs=-1, type=click.UNPROCESSED, shell_complete=complete.arguments)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    name: str,
    args: tuple[str, ...],
    stack: bool,
    steps: bool,
    chrome: str | None,
    **limits: object,
) -> None:
    """Run COMMAND ARGS... with --trace: print what happens, in order.

    It prints the kernel's tracepoints as ftrace shows them; an event's time is its number, because
    the simulated machine has no clock. --steps adds the steps of each folio's migration with the
    numbers of the kernel's page_migration document, the kernel function that does each, and what
    it found; folios that go the same way one after the other are one line. --folio, --step,
    --failed and --first imply --steps. --stack prints the call chain as a debugger does, the
    innermost function first.
    """
    parent = ctx.parent
    assert parent is not None
    assert isinstance(parent.command, click.Group)
    _, found, _ = parent.command.resolve_command(parent, [name])
    assert found is not None
    is_traced = isinstance(found, click.Group) or any(p.name == "trace" for p in found.params)
    if not is_traced or name == "trace":
        from pymigrate.cli.program import ProgramCommand

        why = _PROGRAMS if isinstance(found, ProgramCommand) else _READERS
        raise click.UsageError(f"{name} {why}")
    wanted = _wanted(limits)
    steps = steps or wanted is not None
    is_told = chrome is None and (steps or not stack)
    given = {"trace": is_told, "steps": steps, "chrome": chrome, "stack": stack, "wanted": wanted}
    parent.obj = {**(parent.obj or {}), **given}
    with found.make_context(name, list(args), parent=parent) as inner:
        found.invoke(inner)


def _wanted(limits: dict[str, object]) -> Wanted | None:
    """What is to be told of the trace; None: all. Raises click.BadParameter."""
    if not any(limits.values()):
        return None
    from pymigrate.mm.engine.progress import STEPS
    from pymigrate.views.told.fold import Wanted

    steps = frozenset(str(limits["step"] or "").replace(" ", "").split(",")) - {""}
    for step in sorted(steps - set(STEPS)):
        numbers = ", ".join(STEPS)
        raise click.BadParameter(
            f"{step!r} is no step; expected some of {numbers}", param_hint="--step"
        )
    first = limits["first"]
    return Wanted(
        str(limits["folio"] or ""),
        bool(limits["failed"]),
        first if isinstance(first, int) else 0,
        steps,
    )
