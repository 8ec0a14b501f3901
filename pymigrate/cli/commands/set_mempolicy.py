"""``pymigrate set_mempolicy``."""

from __future__ import annotations

import click

from pymigrate.arguments import ModeAndNodes
from pymigrate.cli.call import system_call
from pymigrate.cli.common import Options, common_options, find_task
from pymigrate.cli.mode import POLICY
from pymigrate.syscalls import mempolicy


@click.command("set_mempolicy")
@click.argument("pid")
@click.argument("policy", type=POLICY, metavar="MODE[=FLAGS][:NODES]")
@common_options(changes=True, calls=True)
def command(options: Options, pid: str, policy: ModeAndNodes) -> None:
    """Replace the policy of process PID, as if it called set_mempolicy itself.

    It decides where pages go that are faulted in from now on; none is moved.
    """
    with system_call(options, "set_mempolicy") as call:
        task = find_task(call.machine, pid)
        mempolicy.set_mempolicy(call.machine, task, policy.mode, policy.nodes)
