"""Manual pages, in roff, from the commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence

import click

from pymigrate.cli.examples import EXAMPLES, guide_of
from pymigrate.cli.helped import option_sections, words_of
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
    ]
    for title, records in option_sections(ctx).items():
        lines += [f".SH {title.upper()}", *_definitions(records)]
    if isinstance(command, click.Group):
        lines += [".SH COMMANDS"]
        lines += _commands(ctx, command) if ctx.parent else _definitions(summaries.items())
    if ctx.parent:
        lines += [".SH EXAMPLES", *_examples(ctx)]
    exits = ((str(code), text) for code, text in EXIT_CODES.items())
    lines += [".SH EXIT STATUS", *_definitions(exits)]
    lines += [".SH ENVIRONMENT", *_definitions(ENVIRONMENT.items())]
    if ctx.parent:
        guide = guide_of(words_of(ctx))
        lines += [".SH GUIDE", f"\\fBpymigrate help {guide}\\fR"]
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
        for records in option_sections(inner).values():
            yield from _definitions(records)
        yield ".PP"
        yield "Examples:"
        yield from _examples(inner)


def _examples(ctx: click.Context) -> Iterator[str]:
    yield from (".PP", ".nf", *map(_text, EXAMPLES[words_of(ctx)]), ".fi")


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
