"""``pymigrate exec``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, TextIO

import click

from pymigrate.cli import host
from pymigrate.cli.common import Options, common_options, trace_options, with_options
from pymigrate.cli.helped import Command, option
from pymigrate.errors import UnsupportedError
from pymigrate.mm.state.scope import UNWATCHED, Watch
from pymigrate.session import Request, scenario_path, session, state_path

if TYPE_CHECKING:
    from pymigrate.mm.state.machine import Machine
    from pymigrate.views.told import trace


@click.command(
    cls=Command, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("argv", metavar="COMMAND [ARGS]...", nargs=-1, required=True)
@option("--shims", is_flag=True, help="Only put simulated programs on PATH, on any system.")
@option("-v", "--verbose", is_flag=True, help="Say which system calls were answered.")
@option("--summary", is_flag=True, help="Say at the end what has changed.")
@option("--calls", metavar="FILE", help="Write the answered calls to FILE, a line of JSON each.")
@with_options(trace_options())
@common_options(json=False)
def command(
    options: Options, argv: tuple[str, ...], shims: bool, summary: bool, calls: str | None
) -> None:
    """Run a real COMMAND, such as a script, on the simulated machine.

    Its NUMA system calls and what it reads and writes below /proc and /sys are the simulated
    machine's, for all its children, too; and other commands see it as a process there. This needs
    Linux on x86-64; on arm64 it is untested. The exit code is the command's.

    With --shims, COMMAND only finds the simulated numactl, numastat, migratepages, memhog,
    migspeed, pidof, pgrep and ps first on its PATH; the host answers everything else.
    """
    asked = options.request()
    if shims:
        raise click.exceptions.Exit(_run_with_shims(asked, argv))
    inside = os.environ.get(host.INSIDE)
    if inside:
        _run_inside(asked, inside, argv)
    from pymigrate.native.support import check_support

    check_support()
    from pymigrate.native import report, start

    watch, write = UNWATCHED, report.keep_nothing
    if options.trace or options.steps or options.chrome:
        options, watch = _watched(options)
        write = partial(_write_trace, options)
    file = _opened(calls) if calls else None
    told = report.Options(options.verbose, summary, file, watch, write)
    request = _with_state(asked)
    path, folders = _with_programs(os.environ.get("PATH", os.defpath))
    environ = host.environment(request, path)
    environ.pop("PYMIGRATE_TASK", None)
    environ[host.INSIDE] = environ["PYMIGRATE_STATE"]
    if asked.ephemeral:
        folders.append(os.path.dirname(environ["PYMIGRATE_STATE"]))
    start.run(request, argv, environ, told, folders)


def _with_programs(path: str) -> tuple[str, list[str]]:
    """A PATH that finds the simulated programs where the host has none; directories made for it."""
    from pymigrate.tools.programs import PROGRAMS

    if all(host.find_command(name, path) for name in PROGRAMS):
        return path, []
    from tempfile import mkdtemp

    from pymigrate.cli.shim_files import write_shims

    folder = mkdtemp(prefix="pymigrate-")
    write_shims(folder)
    os.chmod(folder, 0o755)
    return f"{path}{os.pathsep}{folder}", [folder]


def _opened(path: str) -> TextIO:
    """A file to be written line by line, so that what was written is there at any moment."""
    try:
        return open(path, "w", buffering=1, encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise click.BadParameter(
            f"{path} cannot be written: {reason}", param_hint="--calls"
        ) from None


# What few runs need is imported when they do, so that programs start fast.


def _watched(options: Options) -> tuple[Options, Watch]:
    """What is to be noted of folios, and the options with a path that holds everywhere."""
    from pymigrate.cli.call import watch_of, write_chrome
    from pymigrate.mm.state.machine import Machine

    if options.chrome:
        write_chrome(Machine(), options.chrome, [])  # it can be written
        options = options._replace(chrome=os.path.abspath(options.chrome))
    return options, watch_of(options.trace, options.steps, options.chrome, times=False)


def _write_trace(options: Options, machine: Machine, parts: Sequence[trace.Part]) -> None:
    """Print what was traced, beside what the command prints, or write it into a file."""
    from pymigrate.cli.call import write_chrome
    from pymigrate.views.told import trace

    if options.chrome:
        write_chrome(machine, options.chrome, parts)
    if options.trace or (options.steps and not options.chrome):
        text = "".join(trace.format_ftrace(machine, part) for part in parts)
        click.echo(text, nl=False, err=True)


def _with_state(request: Request) -> Request:
    """The request with absolute paths; a machine for one command alone gets a file for that."""
    scenario = os.path.abspath(scenario_path(request.scenario)) if request.scenario else None
    if request.ephemeral:
        from tempfile import mkdtemp

        state = os.path.join(mkdtemp(prefix="pymigrate-"), "state.db")
    else:
        state = os.path.abspath(state_path(request))
    return request._replace(scenario=scenario, state=state)


def _run_inside(request: Request, inside: str, argv: tuple[str, ...]) -> None:
    """A command inside another: it is traced already."""
    if request.ephemeral or os.path.abspath(state_path(request)) != inside:
        raise UnsupportedError("exec cannot run on another machine inside of an exec")
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        host.say(f"{argv[0]}: {error.strerror}")
        raise click.exceptions.Exit(127 if isinstance(error, FileNotFoundError) else 126) from None


def _run_with_shims(asked: Request, argv: tuple[str, ...]) -> int:
    """Run a command that finds the simulated machine's programs; the exit code is the command's."""
    with host.kept(asked) as request:
        with session(request, host.quiet if asked.ephemeral else host.say):
            pass  # it is booted, and can be used
        with host.shims_on_path() as path:
            try:
                found = host.find_command(argv[0], path)
            except PermissionError:
                raise click.UsageError(f"{argv[0]}: Permission denied") from None
            if found is None:
                raise click.UsageError(f"{argv[0]}: No such file or directory")
            environ = host.environment(request, path)
            environ.pop("PYMIGRATE_TASK", None)
            return host.execute(argv, environ)
