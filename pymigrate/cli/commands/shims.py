"""``pymigrate shims``."""

from __future__ import annotations

import os
import shlex

import click

from pymigrate.cli.common import Options, common_options
from pymigrate.cli.helped import Command
from pymigrate.cli.shim_files import NotAShimError, write_shims


@click.command(cls=Command)
@click.argument("folder", metavar="DIR")
@common_options(json=False)
def command(options: Options, folder: str) -> None:
    """Write the programs into DIR, for scripts: migratepages, numactl, numastat, ps, ...

    A script that finds DIR first on its PATH uses the simulated machine: the one that --state and
    --scenario name, or else PYMIGRATE_STATE and PYMIGRATE_SCENARIO when the script runs.

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
