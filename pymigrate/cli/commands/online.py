"""``pymigrate online``."""

import click

from pymigrate.cli.commands.memory_blocks import blocks_command
from pymigrate.cli.helped import option
from pymigrate.syscalls.memory_blocks import ONLINE_TYPES, online

command = blocks_command(
    "online",
    online,
    "Bring NODE's memory back that `offline` took; without NODE, list the blocks.",
    [
        option(
            "--online-type",
            type=click.Choice(ONLINE_TYPES),
            help="What to write to their state files, which chooses the zone (default: what returns"
            " a block to its old one).",
        )
    ],
)
