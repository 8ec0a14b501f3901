"""``pymigrate shims``."""

from __future__ import annotations

import os
import shlex
import sys

import click

from pymigrate.cli import host
from pymigrate.cli.common import Options, common_options
from pymigrate.tools.programs import PROGRAMS

_CODE = (
    "import sys; sys.path.append({root!r}); from pymigrate.cli.shim import main; main()"
    "  # pymigrate.cli.shim"
)


class NotAShimError(Exception):
    """Where a shim is to be written there is something else."""


@click.command()
@click.argument("folder", metavar="DIR")
@common_options(json=False)
def command(options: Options, folder: str) -> None:
    """Write the programs into DIR, for scripts: migratepages, numactl, numastat, ps, ...

    A script that finds DIR first on its PATH uses the simulated machine. Which one, --state and
    --scenario say, or else PYMIGRATE_STATE and PYMIGRATE_SCENARIO when the script runs.

    Prints what a shell may evaluate: eval "$(pymigrate shims DIR)".
    """
    if options.ephemeral:
        raise click.UsageError("shims need a machine that is kept; expected no --ephemeral")
    ctx = click.get_current_context()
    before = ctx.obj or {}
    named = {
        "PYMIGRATE_STATE": ctx.params.get("state") or before.get("state"),
        "PYMIGRATE_SCENARIO": ctx.params.get("scenario") or before.get("scenario"),
    }
    try:
        write_shims(folder, {name: path for name, path in named.items() if path})
    except NotAShimError as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.UsageError(f"{folder} cannot be written: {error.strerror}") from None
    click.echo(f"PATH={shlex.quote(os.path.abspath(folder))}:$PATH; export PATH")


def write_shims(folder: str, named: dict[str, str] | None = None) -> None:
    """Write a shim for each program; *named* are paths for variables that are not set.

    Raises NotAShimError if something else has the name of one, OSError.
    """
    os.makedirs(folder, exist_ok=True)
    paths = {name: os.path.join(folder, name) for name in PROGRAMS}
    for path in paths.values():
        if os.path.lexists(path) and not host.is_shim(path):
            raise NotAShimError(f"{path} is no shim; expected a directory without one")
    for name, path in paths.items():
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(_shim(name, named or {}))
        os.chmod(f"{path}.new", 0o755)
        os.replace(f"{path}.new", path)


def _shim(name: str, named: dict[str, str]) -> str:
    """The text of a shim, which needs no more than /bin/sh and this Python."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    lines = ["#!/bin/sh"]
    for variable, path in named.items():
        quoted = shlex.quote(os.path.abspath(path))
        lines.append(f'[ -n "${variable}" ] || export {variable}={quoted}')
    code = shlex.quote(_CODE.format(root=root))
    lines.append(f'exec {shlex.quote(sys.executable)} -P -c {code} {name} "$@"')
    return "\n".join(lines) + "\n"
