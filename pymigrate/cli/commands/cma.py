"""``pymigrate cma``."""

from __future__ import annotations

import click

from pymigrate.cli.call import system_call
from pymigrate.cli.common import NAME, SIZE, Options, common_options
from pymigrate.syscalls import cma
from pymigrate.views.proc import cma as view


@click.group()
def command() -> None:
    """Allocate memory in one piece from what a node keeps for CMA."""


@command.command()
@click.argument("name", type=NAME)
@click.argument("size", type=SIZE)
@click.option("--node", type=click.IntRange(min=0), help="Whose area.  [default: the first]")
@common_options(changes=True, calls=True)
def alloc(options: Options, name: str, size: int, node: int | None) -> None:
    """Allocate SIZE bytes, to be called NAME; prints the physical address.

    What lies there moves to other memory of the node; clean pages of files are dropped.
    """
    with system_call(options, "cma") as call:
        found = cma.alloc(call.machine, call.shell, name, size, node)
        address = view.address(call.machine, found.start)
        call.answer["address"] = f"{address:#x}"
        call.text = f"{address:#x}\n"


@command.command()
@click.argument("name", type=NAME)
@common_options(changes=True, calls=True)
def release(options: Options, name: str) -> None:
    """Give back what is called NAME."""
    with system_call(options, "cma") as call:
        cma.release(call.machine, call.shell, name)


@command.command("list")
@common_options(changes=True, calls=True)
def list_areas(options: Options) -> None:
    """List the areas, and what is allocated of them."""
    with system_call(options, "cma") as call:
        rows = view.rows(call.machine)
        call.answer["rows"] = [row._asdict() for row in rows]
        call.text = view.format_rows(rows)
