"""What `offline` and `online` have in common: which blocks, and what became of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import click

from pymigrate.cli.call import Call, system_call
from pymigrate.cli.common import NUMBERS, Decorators, Options, common_options, with_options
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command, option
from pymigrate.nodemask import Bitmap
from pymigrate.syscalls.memory_blocks import Outcome
from pymigrate.views.sysfs import memory_blocks


def blocks_command(
    name: str, change: Callable[..., list[Outcome]], text: str, more: Decorators
) -> click.Command:
    """The command that makes *change*, and tells what became of each block; or lists all.

    *more* are options of its own, which *change* takes behind the machine, the caller, the node and
    the numbers of blocks.
    """

    @click.command(name, cls=Command, help=text)
    @click.argument(
        "node", type=click.IntRange(min=0), required=False, shell_complete=complete.nodes
    )
    @option("--blocks", type=NUMBERS, help="Only these memory blocks, as in 2-3,7.")
    @with_options(more)
    @common_options(changes=True, calls=True)
    def command(
        options: Options, /, node: int | None, blocks: list[int] | None, **how: str | None
    ) -> None:
        if node is None and (blocks, *how.values()) != (None,) * (1 + len(how)):
            raise click.UsageError("an option for memory blocks needs a NODE")
        with system_call(options, name) as call:
            if node is None:
                rows = memory_blocks.rows(call.machine)
                call.answer["blocks"] = [row._asdict() for row in rows]
                call.text = memory_blocks.format_rows(rows)
                return
            _tell(call, change(call.machine, call.shell, node, blocks, **how), name)

    return command


def _tell(call: Call, outcomes: list[Outcome], done: str) -> None:
    """Print what became of each block. Raises the first KernelError."""
    call.answer["blocks"] = [
        {"block": number, "errno": error.name if error else None} for number, error in outcomes
    ]
    told = [(number, f"{error}: {error.why}" if error else done) for number, error in outcomes]
    for text, group in groupby(told, key=lambda pair: pair[1]):
        numbers = [number for number, _ in group]
        call.text += f"memory{Bitmap.collect(numbers)}: {text}\n"
    for _, error in outcomes:
        if error:
            raise error
