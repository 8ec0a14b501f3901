"""``pymigrate mbind``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pymigrate.cli.call import acting_as, find_range, system_call
from pymigrate.cli.common import SIZE, Options, common_options, find_task, shorten
from pymigrate.cli.mode import POLICY
from pymigrate.syscalls import mempolicy
from pymigrate.uapi import MPOL_MF_MOVE, MPOL_MF_MOVE_ALL, MPOL_MF_STRICT
from pymigrate.views.why import stayed

if TYPE_CHECKING:
    from pymigrate.arguments import ModeAndNodes


def _parse(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[int | None, ModeAndNodes]:
    """The length, if there is one, and the policy."""
    if len(values) > 2:
        ctx.fail(f"Got unexpected extra argument ({values[2]})")
    length = SIZE.convert(values[0], param, ctx) if len(values) == 2 else None
    return length, POLICY.convert(values[-1], param, ctx)


@click.command()
@click.argument("pid")
@click.argument("place", metavar="ADDR|REGION[+OFFSET[:LENGTH]]")
@click.argument(
    "length_and_policy",
    nargs=-1,
    required=True,
    callback=_parse,
    metavar="[LENGTH] MODE[=FLAGS][:NODES]",
)
@click.option("--move", is_flag=True, help="Move the process's own pages to where they belong.")
@click.option("--move-all", is_flag=True, help="Move shared pages too (needs CAP_SYS_NICE).")
@click.option("--strict", is_flag=True, help="Fail if a page lies elsewhere, or cannot be moved.")
@common_options(changes=True, calls=True, leaves=True)
def command(
    options: Options,
    pid: str,
    place: str,
    length_and_policy: tuple[int | None, ModeAndNodes],
    move: bool,
    move_all: bool,
    strict: bool,
) -> None:
    """Give LENGTH bytes of process PID's memory a policy, as if it called mbind itself.

    Without LENGTH, all of the region. MODE is default, preferred, bind, interleave, local,
    preferred-many or weighted-interleave (or as numa_maps prints it), FLAGS are static, relative,
    balancing: bind=static:0-1.
    """
    flags = MPOL_MF_STRICT * strict | MPOL_MF_MOVE * move | MPOL_MF_MOVE_ALL * move_all
    length, policy = length_and_policy
    with system_call(options, "mbind") as call:
        task = call.caller = find_task(call.machine, pid)
        addr, rest = find_range(call.machine, task, place)
        length = rest if length is None else length
        if length is None:
            raise click.BadParameter(f"{shorten(place)} has no length; expected LENGTH before MODE")
        if move or move_all:
            call.find_left = lambda _: stayed.mbind_rows(
                call.machine, task, addr, length, policy.nodes, move_all
            )
        with acting_as(task, options.uid):
            mempolicy.mbind(call.machine, task, addr, length, policy.mode, policy.nodes, flags)
