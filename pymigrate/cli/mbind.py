"""``pymigrate mbind``."""

from __future__ import annotations

import click

from pymigrate.cli.call import acting_as, find_range, system_call
from pymigrate.cli.common import SIZE, Options, common_options, find_task
from pymigrate.cli.mode import POLICY, ModeAndNodes
from pymigrate.syscalls import mempolicy
from pymigrate.syscalls.migrate import MPOL_MF_MOVE, MPOL_MF_MOVE_ALL, MPOL_MF_STRICT


@click.command()
@click.argument("pid")
@click.argument("place", metavar="ADDR|REGION[+OFFSET]")
@click.argument("length", type=SIZE)
@click.argument("policy", type=POLICY, metavar="MODE[=FLAGS][:NODES]")
@click.option("--move", is_flag=True, help="Move the process's own pages to where they belong.")
@click.option("--move-all", is_flag=True, help="Move shared pages too (needs CAP_SYS_NICE).")
@click.option("--strict", is_flag=True, help="Fail if a page lies elsewhere, or cannot be moved.")
@common_options(changes=True, calls=True)
def command(
    options: Options,
    pid: str,
    place: str,
    length: int,
    policy: ModeAndNodes,
    move: bool,
    move_all: bool,
    strict: bool,
) -> None:
    """Give LENGTH bytes of process PID's memory a policy, as if it called mbind itself.

    MODE is default, preferred, bind, interleave, local, preferred-many or weighted-interleave (or
    as numa_maps prints it), FLAGS are static, relative, balancing: bind=static:0-1.
    """
    flags = MPOL_MF_STRICT * strict | MPOL_MF_MOVE * move | MPOL_MF_MOVE_ALL * move_all
    with system_call(options, "mbind") as call:
        task = find_task(call.machine, pid)
        addr, _ = find_range(call.machine, task, place)
        with acting_as(task, options.uid):
            mempolicy.mbind(call.machine, task, addr, length, policy.mode, policy.nodes, flags)
