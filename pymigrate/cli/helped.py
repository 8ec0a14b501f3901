"""Commands whose --help has examples, their own options before the common ones, and a guide."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])


class Option(click.Option):
    """An option whose help is written as it is shown.

    click would load a library to dedent it, which takes longer than what most commands do.
    """

    def __init__(self, *args: Any, help: str | None = None, **how: Any) -> None:
        """*help* is of one line."""
        super().__init__(*args, **how)
        self.help = help


class CommonOption(Option):
    """An option that many commands have; --help lists these last."""


def option(*names: str, cls: type[Option] = Option, **how: Any) -> Callable[[F], F]:
    """Give a command an option; see click.option()."""
    return click.option(*names, cls=cls, **how)


def any_file(_ctx: click.Context, _param: object, word: str) -> list[CompletionItem]:
    """What a shell is offered for a file; click.Path() would look for translations at once."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(word, type="file")]


class WithHelp(click.Command):
    """What has --help, of which nothing is loaded that it does not show."""

    _own_help: Option | None = None

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """The option --help, which is made once."""
        if self._own_help is None:
            self._own_help = Option(
                self.get_help_option_names(ctx),
                help="Show this message and exit.",
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_show_help,
            )
        return self._own_help


def _show_help(ctx: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if is_asked and not ctx.resilient_parsing:
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


class Command(WithHelp):
    """A command of pymigrate's."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What it does, and examples."""
        super().format_help_text(ctx, formatter)
        _write_examples(ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Its own options, then those that it has in common with others."""
        for title, records in option_sections(ctx).items():
            with formatter.section(title):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Where there is more to read."""
        _write_guide(ctx, formatter)


class Group(WithHelp, click.Group):
    """A command that has commands."""

    command_class = Command

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What they are, and examples."""
        super().format_help_text(ctx, formatter)
        _write_examples(ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands: a group has no options of its own."""
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands, each with its whole first sentence."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl([(name, first_sentence(each)) for name, each in commands.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Where there is more to read."""
        _write_guide(ctx, formatter)


def first_sentence(command: click.Command | None) -> str:
    """The first sentence of a command's help."""
    text = (command.help or "") if command else ""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".") + "."


def option_sections(ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
    """The help records of a command's options, its own and then the common ones, by title."""
    found: dict[str, list[tuple[str, str]]] = {"Options": [], "Common options": []}
    for param in ctx.command.get_params(ctx):
        record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
        is_common = isinstance(param, CommonOption) or "--help" in param.opts
        if record:
            found["Common options" if is_common else "Options"].append(record)
    return {title: records for title, records in found.items() if records}


def words_of(ctx: click.Context) -> str:
    """What stands behind `pymigrate` for a command."""
    return ctx.command_path.partition(" ")[2]


def _write_examples(ctx: click.Context, formatter: click.HelpFormatter) -> None:
    from pymigrate.cli.examples import EXAMPLES

    lines = EXAMPLES.get(words_of(ctx), ())
    if lines:
        formatter.write("\nExamples:\n")
    for line in lines:
        formatter.write(f"  {line}\n")


def _write_guide(ctx: click.Context, formatter: click.HelpFormatter) -> None:
    from pymigrate.cli.examples import guide_of

    if words := words_of(ctx):
        formatter.write(f"\nGuide: pymigrate help {guide_of(words)}\n")
