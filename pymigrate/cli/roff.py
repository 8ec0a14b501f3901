"""Manual pages, in roff, from the commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence

import click

from pymigrate.cli.main import ENVIRONMENT, EXIT_CODES


def page(
    name: str, ctx: click.Context, version: str, summaries: Mapping[str, str], others: Sequence[str]
) -> str:
    """The manual page of the command of *ctx*, which is called *name*.

    *summaries* are those of the commands by their names; *others* the pages to see.
    """
    command = ctx.command
    summary = summaries.get(str(ctx.info_name), _summary(command))
    lines = [
        f'.TH {_quoted(name.upper())} 1 "" {_quoted(f"pymigrate {version}")} "pymigrate"',
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{_text(name)} \\- {_text(summary.rstrip('.'))}",
        ".SH SYNOPSIS",
        *_synopsis(ctx),
        ".SH DESCRIPTION",
        *_paragraphs(command),
        ".SH OPTIONS",
        *_options(ctx),
    ]
    if isinstance(command, click.Group):
        lines += [".SH COMMANDS"]
        lines += _commands(ctx, command) if ctx.parent else _definitions(summaries.items())
    exits = ((str(code), text) for code, text in EXIT_CODES.items())
    lines += [".SH EXIT STATUS", *_definitions(exits)]
    lines += [".SH ENVIRONMENT", *_definitions(ENVIRONMENT.items())]
    lines += [".SH SEE ALSO", *(f".BR {_text(other)} (1)," for other in others[:-1])]
    lines += [f".BR {_text(others[-1])} (1)"]
    return "\n".join(lines) + "\n"


def _summary(command: click.Command) -> str:
    """The first sentence of the help."""
    first = inspect.cleandoc(command.help or "").partition("\n\n")[0].replace("\n", " ")
    return first.partition(". ")[0]


def _synopsis(ctx: click.Context) -> list[str]:
    pieces = " ".join(ctx.command.collect_usage_pieces(ctx))
    return [f"\\fB{_text(ctx.command_path)}\\fR {_text(pieces)}"]


def _paragraphs(command: click.Command) -> Iterator[str]:
    for number, paragraph in enumerate(inspect.cleandoc(command.help or "").split("\n\n")):
        if number:
            yield ".PP"
        yield _text(paragraph.replace("\n", " "))


def _options(ctx: click.Context) -> Iterator[str]:
    options = (p for p in ctx.command.get_params(ctx) if isinstance(p, click.Option))
    records = (option.get_help_record(ctx) for option in options)
    return _definitions(record for record in records if record)


def _commands(ctx: click.Context, group: click.Group) -> Iterator[str]:
    """The commands of a group below the first, with all of their options."""
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None, "it is listed"
        inner = click.Context(command, info_name=name, parent=ctx)
        yield f".SS {_quoted(name)}"
        yield from _synopsis(inner)
        yield ".PP"
        yield from _paragraphs(command)
        yield from _options(inner)


def _definitions(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, text in pairs:
        yield ".TP"
        yield f"\\fB{_text(term)}\\fR"
        yield _text(text)


def _text(text: str) -> str:
    """*text* as roff prints it: no line of it is taken for a macro."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def _quoted(text: str) -> str:
    return '"' + _text(text).replace('"', "\\(dq") + '"'
