"""``pymigrate soft_offline``."""

from __future__ import annotations

import click

from pymigrate.cli.bad_pages import ADDRESS, offline
from pymigrate.cli.common import Options, common_options
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command, option
from pymigrate.syscalls.memory_failure import SOFT


@click.command(cls=Command)
@click.argument("pid", required=False, shell_complete=complete.tasks)
@click.argument(
    "place", metavar="ADDR|REGION[+OFFSET[:LENGTH]]", required=False, shell_complete=complete.places
)
@option("--address", type=ADDRESS, help="The page at this physical address instead.")
@common_options(changes=True, calls=True)
def command(options: Options, pid: str | None, place: str | None, address: int | None) -> None:
    """Take a page out of use before it goes bad; print how much is out of use.

    Its contents move elsewhere. Without LENGTH it is one page.
    """
    offline(options, "soft_offline", SOFT, pid, place, address)
