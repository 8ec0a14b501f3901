"""``pymigrate online``."""

from pymigrate.cli.commands.memory_blocks import blocks_command
from pymigrate.syscalls.memory_blocks import online

command = blocks_command(
    "online",
    online,
    "Bring NODE's memory back that `offline` took; without NODE, list the blocks.",
)
