"""``pymigrate hard_offline``."""

from __future__ import annotations

import click

from pymigrate.cli.bad_pages import ADDRESS, offline
from pymigrate.cli.common import Options, common_options
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command, option
from pymigrate.syscalls.memory_failure import HARD


@click.command(cls=Command)
@click.argument("pid", required=False, shell_complete=complete.tasks)
@click.argument(
    "place", metavar="ADDR|REGION[+OFFSET[:LENGTH]]", required=False, shell_complete=complete.places
)
@option("--address", type=ADDRESS, help="The page at this physical address instead.")
@common_options(changes=True, calls=True)
def command(options: Options, pid: str | None, place: str | None, address: int | None) -> None:
    """Let a page go bad; print how much is out of use.

    Its contents are lost, and whoever uses it is killed. Without LENGTH it is one page.
    """
    offline(options, "hard_offline", HARD, pid, place, address)
