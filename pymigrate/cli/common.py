"""What commands share: their options, how they open the machine, and how a PID is written."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from pymigrate.arguments import ModeAndNodes, is_name, parse_mode, parse_name
from pymigrate.arguments import find_task as find_task
from pymigrate.arguments import shorten as shorten
from pymigrate.cli.help import complete
from pymigrate.cli.helped import CommonOption, any_file, option
from pymigrate.errors import KernelError, PymigrateError
from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Bitmap, Cpumask, Nodemask
from pymigrate.reading import read_file
from pymigrate.records import NamedTuple
from pymigrate.session import Request, command_line, session
from pymigrate.units import parse_seconds, parse_size

if TYPE_CHECKING:
    from pymigrate.views.told.fold import Wanted

# Of what --json prints, see docs/json.md: raised when a key is removed or means something else.
JSON_SCHEMA = 1

P = ParamSpec("P")
T = TypeVar("T")


class Options(NamedTuple):
    """The options that a command has in common with others, called as click's parameters are."""

    scenario: str | None = None
    state: str | None = None
    ephemeral: bool = False
    dry_run: bool = False
    pictured: bool = False
    verbose: bool = False
    json: bool = False
    uid: int = 0
    trace: bool = False
    steps: bool = False
    chrome: str | None = None
    stack: bool = False
    wanted: Wanted | None = None
    quiet: bool = False
    fails_if_left: bool = False

    def request(self, write: bool = False) -> Request:
        """What they say of the machine."""
        name = command_line(sys.argv[1:])
        return Request(self.scenario, self.state, self.ephemeral, self.dry_run, write, name)

    def session(
        self, write: bool = False, *, ledger: bool = False
    ) -> AbstractContextManager[Machine]:
        """The machine, as a transaction; with its whole *ledger* if that is wanted."""
        return session(self.request(write)._replace(ledger=ledger), lambda text: say(text))

    def show(self, value: Mapping[str, object] | Sequence[object], text: str) -> None:
        """Print *value* as JSON if that is wanted, else *text*."""
        if self.json:
            print_json(value)
        else:
            click.echo(text, nl=False)


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
            given: dict[str, Any] = {
                name: kwargs.pop(name, None) or before.get(name) or default
                for name, default in Options._field_defaults.items()
            }
            for name in ("scenario", "state"):
                given[name] = given[name] or os.environ.get(f"PYMIGRATE_{name.upper()}") or None
            return function(Options(**given), *args, **kwargs)

        return with_options(_options(changes, json, calls, leaves, strict))(command)

    return decorate


Decorators = list[Callable[[Any], Any]]  # click's


def with_options(options: Decorators) -> Callable[[T], T]:
    """Give a command *options*, in their order."""

    def decorate(command: T) -> T:
        for give in reversed(options):
            command = give(command)
        return command

    return decorate


def trace_options() -> Decorators:
    """How a command is watched."""
    return [
        _flag("--trace", help="Print the kernel's tracepoints, as ftrace does."),
        _flag("--steps", help="Trace the steps of each folio's migration, too."),
        _option("--chrome", metavar="FILE", help="Write the trace to FILE for ui.perfetto.dev."),
    ]


def _options(changes: bool, json: bool, calls: bool, leaves: bool, strict: bool) -> Decorators:
    options = [
        _option(
            "--scenario",
            shell_complete=complete.scenarios,
            metavar="FILE",
            help="The scenario: a file, or one's name.",
        ),
        _option(
            "--state",
            shell_complete=any_file,
            metavar="FILE",
            help="The file of the booted machine.",
        ),
        _flag("--ephemeral", help="Boot a machine for this command alone."),
    ]
    if changes:
        said = "which pages stayed and why, and" if leaves else "more, and"
        options += [
            _flag("--dry-run", help="Show what would change, and change nothing."),
            _flag("--show", "pictured", help="With --dry-run: draw memory before and after."),
            _flag("-v", "--verbose", help=f"Say {said} how long it took."),
        ]
    if leaves:
        said = "Say nothing of pages that stayed, or of why calls fail."
        options.append(_flag("-q", "--quiet", help=said))
    if strict:
        options.append(_flag("--strict", "fails_if_left", help="Exit with 4 if pages stayed."))
    if changes:
        options += trace_options()
    if calls:
        user = click.IntRange(min=0)
        said = "The user who makes the call (default: 0, root)."
        options.append(_option("--as", "uid", type=user, metavar="UID", help=said))
    if json:
        options.append(_flag("--json", help="Print JSON."))
    return options


def _option(*names: str, **how: Any) -> Callable[[Any], Any]:
    """An option that commands have in common."""
    return option(*names, cls=CommonOption, **how)


def _flag(*names: str, help: str) -> Callable[[Any], Any]:
    return _option(*names, is_flag=True, help=help)


class Parsed(click.ParamType[T]):
    """What a function makes of a word. Its ValueError ends the command as a usage error."""

    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self.name, self.parse = name, parse

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> T:
        """Parse it; a wrong one ends the command as a usage error."""
        try:
            return self.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _parse_name(text: str) -> str:
    """A name for a task, a region or a cpuset, as scenarios have them."""
    try:
        return parse_name(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _parse_cpuset_name(text: str) -> str:
    """The name of a cpuset to be made: names with slashes between them."""
    if not all(is_name(part) for part in text.split("/")):
        expected = "expected letters, digits, _ and -, and / before one that lies in another"
        raise click.BadParameter(f"{shorten(text)} is not a name; {expected}")
    return text


def _list_of(kind: type[Bitmap]) -> Callable[[str], str]:
    """What checks a text that names numbers as the kernel takes it, and leaves it as it is."""

    def check(text: str) -> str:
        if not kind.is_parselist(text):
            kind.parse(text)
        return text

    return check


def _parse_policy(text: str) -> ModeAndNodes:
    """A policy MODE[=FLAGS][:NODES], as numa_maps prints it."""
    try:
        return parse_mode(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _machine_text(text: str) -> str:
    """The scenario that a machine in one line stands for."""
    from pymigrate.scenario.text.shorthand import scenario_text

    return scenario_text(text)


def _read_text(path: str) -> str:
    """The contents of a text file, or of stdin for "-"."""
    try:
        return read_file(0 if path == "-" else path).decode()
    except (OSError, ValueError) as error:
        reason = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
        reason = getattr(error, "strerror", None) or reason
        raise ValueError(f"{shorten(path)} cannot be read: {reason}") from None


def write_text(path: str, text: str, option: str) -> None:
    """Write the file that *option* names. Raises click.BadParameter if that cannot be done."""
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise click.BadParameter(
            f"{shorten(path)} cannot be written: {reason}", param_hint=option
        ) from None


SIZE = Parsed("size", parse_size)


def seconds(high: int, *, may_be_0: bool = True) -> Parsed[float]:
    """The type of an option that says how long, at most *high* seconds."""

    def parse(text: str) -> float:
        value = parse_seconds(text)
        if not (0 <= value <= high and (may_be_0 or value)):
            least = "0 to" if may_be_0 else "more than 0, at most"
            raise ValueError(f"is {value:g}, expected {least} {high}")
        return value

    return Parsed("time", parse)


NODEMASK, CPUMASK = Parsed("nodes", Nodemask.parse), Parsed("CPUs", Cpumask.parse)
NODE_LIST, CPU_LIST = Parsed("nodes", _list_of(Nodemask)), Parsed("CPUs", _list_of(Cpumask))
NUMBERS = Parsed("numbers", lambda text: list(Bitmap.parse(text)))
MACHINE_NODES = Parsed("nodes", _machine_text)
NAME, POLICY = Parsed("name", _parse_name), Parsed("policy", _parse_policy)
CPUSET_NAME = Parsed("name", _parse_cpuset_name)
TEXT_FILE = Parsed("file", _read_text)
_NUMBER = r"-?[0-9]{1,20}"


def parse_number(text: str) -> int | None:
    """A decimal number of at most 20 digits; None if *text* is none."""
    return int(text) if re.fullmatch(_NUMBER, text) else None


def say(text: str) -> None:
    """One line for the user, on stderr."""
    click.echo(f"pymigrate: {text}", err=True)


def failure(error: PymigrateError | click.ClickException) -> dict[str, object]:
    """What --json prints of a call that was refused, or of a command that could not make one."""
    if isinstance(error, KernelError):
        return {"ret": -1, "errno": error.name, "why": error.why or None}
    text = str(error) if isinstance(error, PymigrateError) else error.format_message()
    return {"ret": -1, "errno": None, "why": text}


def print_json(value: Mapping[str, object] | Sequence[object], indent: int | None = 2) -> None:
    """*value* as JSON on stdout, with the version of its form; a list is what `rows` holds.

    Without *indent* it is one line.
    """
    import json

    body = value if isinstance(value, Mapping) else {"rows": value}
    click.echo(json.dumps({"schema": JSON_SCHEMA, **body}, indent=indent))
