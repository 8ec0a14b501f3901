"""Commands that are programs of the simulated machine, which most of their words are for."""

from __future__ import annotations

import os
from typing import Any

import click

from pymigrate.cli import host
from pymigrate.cli.common import SIZE, Options, common_options
from pymigrate.cli.helped import Command, option


class ProgramCommand(Command):
    """A command whose own options stand before all of the program's arguments."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Its own options end with the first word that is none; the rest is the program's."""
        own = {name: param for param in self.get_params(ctx) for name in param.opts}
        at = 0
        while at < len(args):
            name, has_value, _ = args[at].partition("=")
            param = own.get(name)
            if not isinstance(param, click.Option):
                break
            at += 1 if param.is_flag or has_value else 2
        return super().parse_args(ctx, [*args[:at], "--", *args[at:]])


def program_command(name: str, text: str, *, runs: bool = False) -> click.Command:
    """The command for a program; *runs*: it may become a real command, with a task of its own."""

    def function(options: Options, argv: tuple[str, ...], size: int | None = None) -> None:
        if size is None and (given := os.environ.get("PYMIGRATE_SIZE")):
            size = SIZE.convert(given, None, click.get_current_context())
        code = host.run([name, *argv], options.request(), options.uid, size)
        raise click.exceptions.Exit(code)

    decorated: Any = common_options(json=False, calls=True)(function)
    if runs:
        said = "What the task of a real command touches.  [default: 16MiB]"
        decorated = option("--size", type=SIZE, help=said)(decorated)
    decorated = click.argument("argv", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)(
        decorated
    )
    return click.command(name, cls=ProgramCommand, help=text)(decorated)
