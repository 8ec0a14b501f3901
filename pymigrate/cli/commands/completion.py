"""``pymigrate completion``."""

from __future__ import annotations

import click

from pymigrate.cli.helped import Command

VARIABLE = "_PYMIGRATE_COMPLETE"  # click's way to ask a program what could be meant


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print a script that completes commands, options and files in SHELL.

    bash and zsh: eval "$(pymigrate completion bash)" in ~/.bashrc or ~/.zshrc. fish: pymigrate
    completion fish > ~/.config/fish/completions/pymigrate.fish.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, "click has each of them"
    root = ctx.find_root().command
    source = kind(root, {}, "pymigrate", VARIABLE)
    click.echo(source.source_template % source.source_vars(), nl=False)
