"""``pymigrate trace``: another command, watched."""

from __future__ import annotations

import click

from pymigrate.cli.common import trace_options, with_options
from pymigrate.cli.helped import Command
from pymigrate.cli.program import ProgramCommand

_READERS = "changes nothing, so that there is nothing to trace"
_PROGRAMS = "is a program and prints what the real one does; expected a system call to trace"


@click.command(
    cls=Command, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@with_options(trace_options()[1:])
@click.argument("name", metavar="COMMAND")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(
    ctx: click.Context, name: str, args: tuple[str, ...], steps: bool, chrome: str | None
) -> None:
    """Run COMMAND ARGS... with --trace: print what happens, in order.

    It prints the kernel's tracepoints as ftrace shows them; an event's time is its number, because
    the simulated machine has no clock. --steps adds the documented steps of each folio's migration,
    with what each found; --chrome FILE writes a file for ui.perfetto.dev instead.
    """
    parent = ctx.parent
    assert parent is not None
    assert isinstance(parent.command, click.Group)
    _, found, _ = parent.command.resolve_command(parent, [name])
    assert found is not None
    is_traced = isinstance(found, click.Group) or any(p.name == "trace" for p in found.params)
    if not is_traced or name == "trace":
        why = _PROGRAMS if isinstance(found, ProgramCommand) else _READERS
        raise click.UsageError(f"{name} {why}")
    given = {"trace": chrome is None, "steps": steps, "chrome": chrome}
    parent.obj = {**(parent.obj or {}), **given}
    with found.make_context(name, list(args), parent=parent) as inner:
        found.invoke(inner)
