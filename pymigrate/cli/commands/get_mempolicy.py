"""``pymigrate get_mempolicy``."""

from __future__ import annotations

import click

from pymigrate.cli.call import find_range, system_call
from pymigrate.cli.common import Options, common_options, find_task
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command, option
from pymigrate.mm.state.policy import mode_with_flags
from pymigrate.syscalls import mempolicy
from pymigrate.uapi import (
    MODE_FLAG_TEXTS,
    MODE_TEXTS,
    MPOL_F_ADDR,
    MPOL_F_MEMS_ALLOWED,
    MPOL_F_NODE,
    words_of,
)


@click.command("get_mempolicy", cls=Command)
@click.argument("pid", shell_complete=complete.tasks)
@click.argument(
    "place", metavar="[ADDR|REGION[+OFFSET]]", required=False, shell_complete=complete.places
)
@option("--node", is_flag=True, help="The node of the page; or the next to interleave to.")
@option("--mems-allowed", is_flag=True, help="The nodes that the cpuset allows.")
@common_options(changes=True, calls=True)
def command(options: Options, pid: str, place: str | None, node: bool, mems_allowed: bool) -> None:
    """Print the policy of process PID, or of an address of it.

    The nodes are what get_mempolicy() answers: with a mode flag, the nodes that were asked for.
    --node with an address reads the page there, so an absent page is faulted in.
    """
    flags = MPOL_F_NODE * node | MPOL_F_ADDR * bool(place) | MPOL_F_MEMS_ALLOWED * mems_allowed
    with system_call(options, "get_mempolicy") as call:
        task = find_task(call.machine, pid)
        addr = find_range(call.machine, task, place)[0] if place else 0
        answer = mempolicy.get_mempolicy(call.machine, task, addr, flags)
        call.answer = {
            "mode": MODE_TEXTS[answer.mode],
            "mode_flags": words_of(answer.flags, MODE_FLAG_TEXTS),
            "nodes": str(answer.nodes),
        }
        text = mode_with_flags(answer.mode, answer.flags)
        text += f":{answer.nodes}" if answer.nodes else ""
        if mems_allowed:
            text = str(answer.nodes)
        if answer.node is not None:
            call.answer["node"] = answer.node
            text = str(answer.node)
        call.text = f"{text}\n"
