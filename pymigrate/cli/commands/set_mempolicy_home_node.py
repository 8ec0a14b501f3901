"""``pymigrate set_mempolicy_home_node``."""

from __future__ import annotations

import click

from pymigrate.cli.call import find_range, system_call
from pymigrate.cli.common import SIZE, Options, common_options, find_task
from pymigrate.syscalls import mempolicy


@click.command("set_mempolicy_home_node")
@click.argument("pid")
@click.argument("place", metavar="ADDR|REGION[+OFFSET]")
@click.argument("length", type=SIZE)
@click.argument("node", type=int)
@common_options(changes=True, calls=True)
def command(options: Options, pid: str, place: str, length: int, node: int) -> None:
    """Let the bind and preferred-many policies of a range begin their search at NODE."""
    with system_call(options, "set_mempolicy_home_node") as call:
        task = find_task(call.machine, pid)
        addr, _ = find_range(call.machine, task, place)
        mempolicy.set_mempolicy_home_node(call.machine, task, addr, length, node)
