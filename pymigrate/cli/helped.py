"""Commands whose --help has examples, their own options before the common ones, and a guide."""

from __future__ import annotations

import click


class CommonOption(click.Option):
    """An option that many commands have; --help lists these last."""


class Command(click.Command):
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


class Group(click.Group):
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
