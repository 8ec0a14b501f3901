"""``pymigrate online``."""

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
    """Give NODE the memory back that `offline` took; without NODE, list the blocks."""
    change_blocks(options, "online", memory_blocks.online, node, blocks)
