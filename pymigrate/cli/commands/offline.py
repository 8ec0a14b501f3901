"""``pymigrate offline``."""

from pymigrate.cli.commands.memory_blocks import blocks_command
from pymigrate.syscalls.memory_blocks import offline

command = blocks_command(
    "offline",
    offline,
    """Take NODE's memory offline, block by block (128 MiB); without NODE, list the blocks.

    Pages there move to other nodes. A block with a page that cannot move stays online.
    """,
    [],
)
