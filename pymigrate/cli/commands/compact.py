"""``pymigrate compact``."""

from __future__ import annotations

import click

from pymigrate.cli.call import system_call
from pymigrate.cli.common import Options, common_options
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command, option
from pymigrate.mm.state.machine import Machine
from pymigrate.syscalls.compact import compact
from pymigrate.units import sized
from pymigrate.views.pictures import zone_picture
from pymigrate.views.pictures.show import plain_text


@click.command(cls=Command)
@click.argument("node", type=click.IntRange(min=0), required=False, shell_complete=complete.nodes)
@option(
    "--order",
    type=click.IntRange(1, 10),
    metavar="N",
    help="Stop when a block of 2^N pages is free, as kcompactd.",
)
@common_options(changes=True, calls=True)
def command(options: Options, node: int | None, order: int | None) -> None:
    """Compact the memory of NODE, or of all nodes: move pages to the end of each zone.

    Without --order it does what a write to /sys/devices/system/node/nodeN/compact does, or to
    vm.compact_memory. -v draws the pageblocks of each zone before and after.
    """
    with system_call(options, "compact") as call:
        machine = call.machine
        counts = _free_blocks(machine)
        drawn = (
            _picture(machine, node) if options.verbose and node in (None, *machine.nodes) else ""
        )
        runs = compact(machine, call.shell, node, order)
        after = _free_blocks(machine)
        zones: list[dict[str, object]] = []
        for run in runs:
            old, new = counts[run.node, run.zone], after[run.node, run.zone]
            result = run.result.name.lower()
            free = {"free_blocks_before": old, "free_blocks": new}
            zones.append({**run._asdict(), "result": result, **free})
            call.text += (
                f"node {run.node}, zone {run.zone}: {result}, {sized(run.moved)} moved,"
                f" 2MiB blocks free: {old} -> {new}\n"
            )
        call.answer["zones"] = zones
        if options.verbose:
            after_text = _picture(machine, node, has_legend=True)
            call.text = f"before:\n{drawn}\nafter:\n{after_text}\n{call.text}"


def _free_blocks(machine: Machine) -> dict[tuple[int, str], int]:
    return {
        (zone.node, zone.zone): zone.free_blocks
        for nid in machine.nodes
        for zone in zone_picture.rows(machine, nid)
    }


def _picture(machine: Machine, node: int | None, has_legend: bool = False) -> str:
    nodes = sorted(machine.nodes) if node is None else [node]
    zones = [zone for nid in nodes for zone in zone_picture.rows(machine, nid)]
    lines = [*zone_picture.lines(zones), *(zone_picture.legend(zones) if has_legend else ())]
    return plain_text(lines)
