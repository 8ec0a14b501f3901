"""``pymigrate offline``."""

from __future__ import annotations

import click

from pymigrate.cli.commands.memory_blocks import change_blocks
from pymigrate.cli.common import NUMBERS, Options, common_options
from pymigrate.syscalls import memory_blocks


@click.command()
@click.argument("node", type=click.IntRange(min=0), required=False)
@click.option("--blocks", type=NUMBERS, help="Only these memory blocks, as in 2-3,7.")
@common_options(changes=True, calls=True)
def command(options: Options, node: int | None, blocks: list[int] | None) -> None:
    """Take the memory of NODE away, block by block (128 MiB); without NODE, list the blocks.

    What lies there moves to other nodes. A block with a page that cannot move stays.
    """
    change_blocks(options, "offline", memory_blocks.offline, node, blocks)
