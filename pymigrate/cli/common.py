"""What commands share: their options, how they open the machine, and how a PID is written."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import click

from pymigrate.arguments import find_task as find_task
from pymigrate.arguments import shorten as shorten
from pymigrate.nodemask import Bitmap, Cpumask, Nodemask
from pymigrate.session import Request, Session
from pymigrate.units import parse_size

# Of what --json prints, see docs/json.md: raised when a key is removed or means something else.
JSON_SCHEMA = 1

P = ParamSpec("P")
T = TypeVar("T")


class Options(NamedTuple):
    """The options that a command has in common with others."""

    scenario: str | None
    state: str | None
    ephemeral: bool
    dry_run: bool = False
    verbose: bool = False
    json: bool = False
    uid: int = 0
    trace: bool = False
    steps: bool = False
    chrome: str | None = None
    quiet: bool = False
    strict: bool = False

    def request(self, write: bool = False) -> Request:
        """What they say of the machine."""
        return Request(self.scenario, self.state, self.ephemeral, self.dry_run, write)

    def session(self, write: bool = False) -> Session:
        """The machine, as a transaction."""
        return Session(self.request(write), lambda text: say(text))


def common_options(
    *,
    changes: bool = False,
    json: bool = True,
    calls: bool = False,
    leaves: bool = False,
    strict: bool = False,
) -> Callable[[Callable[Concatenate[Options, P], T]], Callable[P, T]]:
    """Give a command the common options; it gets them as its first argument.

    *leaves*: it may leave pages behind; *strict*: that can be made a failure. Options may also
    stand before the command's name, where they have less weight; the environment has least.
    """

    def decorate(function: Callable[Concatenate[Options, P], T]) -> Callable[P, T]:
        @wraps(function)
        def command(*args: P.args, **kwargs: P.kwargs) -> T:
            before: dict[str, Any] = click.get_current_context().obj or {}  # the group's options

            def taken(name: str) -> Any:  # what click made of an option
                return kwargs.pop(name, None) or before.get(name)

            options = Options(
                taken("scenario") or os.environ.get("PYMIGRATE_SCENARIO") or None,
                taken("state") or os.environ.get("PYMIGRATE_STATE") or None,
                bool(taken("ephemeral")),
                bool(taken("dry_run")),
                bool(taken("verbose")),
                bool(taken("as_json")),
                taken("uid") or 0,
                bool(taken("trace")),
                bool(taken("trace_steps")),
                taken("chrome"),
                bool(taken("quiet")),
                bool(taken("fails_if_left")),
            )
            return function(options, *args, **kwargs)

        for option in reversed(_options(changes, json, calls, leaves, strict)):
            command = option(command)
        return command

    return decorate


Decorators = list[Callable[[Any], Any]]  # click's


def trace_options() -> Decorators:
    """How a command is watched."""
    return [
        click.option("--trace", is_flag=True, help="Print what happened, as ftrace does."),
        click.option(
            "--steps", "trace_steps", is_flag=True, help="Trace the steps of each folio too."
        ),
        click.option("--chrome", metavar="FILE", help="Write the trace for ui.perfetto.dev."),
    ]


def _options(changes: bool, json: bool, calls: bool, leaves: bool, strict: bool) -> Decorators:
    options: Decorators = [
        click.option("--scenario", type=click.Path(), metavar="FILE", help="The scenario."),
        click.option(
            "--state", type=click.Path(), metavar="FILE", help="The file of the booted machine."
        ),
        click.option("--ephemeral", is_flag=True, help="Boot a machine for this command alone."),
    ]
    if changes:
        said = (
            "which pages stayed and why, and which rule refused" if leaves else "which rule refused"
        )
        options += [
            click.option("--dry-run", is_flag=True, help="Do all of it, say so, keep nothing."),
            click.option("-v", "--verbose", is_flag=True, help=f"Say {said}."),
        ]
    if leaves:
        quiet = click.option("-q", "--quiet", is_flag=True, help="Do not say that pages stayed.")
        options.append(quiet)
    if strict:
        text = "Exit with 4 if pages stayed."
        options.append(click.option("--strict", "fails_if_left", is_flag=True, help=text))
    if changes:
        options += trace_options()
    if calls:
        options.append(
            click.option(
                "--as",
                "uid",
                type=click.IntRange(min=0),
                metavar="UID",
                help="The user who makes the call (default: 0, root, who may do everything).",
            )
        )
    if json:
        options.append(click.option("--json", "as_json", is_flag=True, help="Print JSON."))
    return options


class _Sized(click.ParamType[int]):
    """A size such as 64MiB, as bytes."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Parse it; a wrong one ends the command as a usage error."""
        try:
            return parse_size(value if isinstance(value, int) else str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Masked(click.ParamType[Bitmap]):
    """A set of nodes or CPUs in the kernel's list format."""

    def __init__(self, kind: type[Bitmap]) -> None:
        self.kind, self.name = kind, f"{kind.noun}s"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Bitmap:
        """Parse it; a wrong one ends the command as a usage error."""
        if isinstance(value, Bitmap):
            return value
        try:
            return self.kind.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Numbers(click.ParamType[list[int]]):
    """Numbers in the kernel's list format."""

    name = "numbers"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[int]:
        """Parse it; a wrong one ends the command as a usage error."""
        try:
            return list(Bitmap.parse(str(value)))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Named(click.ParamType[str]):
    """A name for a task, a region or a cpuset, as scenarios have them."""

    name = "name"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Check it; a wrong one ends the command as a usage error."""
        if not _NAME.fullmatch(str(value)):
            self.fail(f"{shorten(str(value))} is not a name; expected letters, digits, _ and -")
        return str(value)


class _TextFile(click.ParamType[str]):
    """The contents of a text file, or of stdin for "-"."""

    name = "file"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Read it; what cannot be read ends the command as a usage error."""
        path = str(value)
        try:
            with open(0 if path == "-" else path, "rb") as file:
                return file.read().decode()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            self.fail(f"{shorten(path)} cannot be read: {reason}", param, ctx)


SIZE, NODEMASK, CPUMASK = _Sized(), _Masked(Nodemask), _Masked(Cpumask)
NAME, NUMBERS, TEXT_FILE = _Named(), _Numbers(), _TextFile()
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_NUMBER = re.compile(r"-?[0-9]{1,20}")


def parse_number(text: str) -> int | None:
    """A decimal number of at most 20 digits; None if *text* is none."""
    return int(text) if _NUMBER.fullmatch(text) else None


def say(text: str) -> None:
    """One line for the user, on stderr."""
    click.echo(f"pymigrate: {text}", err=True)


def print_json(value: Mapping[str, object] | Sequence[object]) -> None:
    """*value* as JSON on stdout, with the version of its form; a list is what `rows` holds."""
    import json

    body = value if isinstance(value, Mapping) else {"rows": value}
    click.echo(json.dumps({"schema": JSON_SCHEMA, **body}, indent=2))
