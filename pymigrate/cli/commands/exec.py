"""``pymigrate exec``."""

from __future__ import annotations

import click

from pymigrate.cli import host
from pymigrate.cli.common import Options, common_options
from pymigrate.session import session


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("argv", metavar="COMMAND [ARGS]...", nargs=-1, required=True)
@common_options(json=False)
def command(options: Options, argv: tuple[str, ...]) -> None:
    """Run a real COMMAND, such as a script, that finds the simulated machine's programs.

    numactl, numastat, migratepages, memhog, migspeed, pidof, pgrep and ps are then first on its
    PATH. The exit code is the command's.
    """
    asked = options.request()
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
            code = host.execute(argv, environ)
    raise click.exceptions.Exit(code)
