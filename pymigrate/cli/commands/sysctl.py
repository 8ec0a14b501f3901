"""``pymigrate sysctl``."""

from __future__ import annotations

import click

from pymigrate.cli.call import system_call
from pymigrate.cli.common import Options, common_options
from pymigrate.cli.help import complete
from pymigrate.cli.helped import Command
from pymigrate.syscalls import sysctl


@click.command(cls=Command)
@click.argument("setting", metavar="NAME[=VALUE]", required=False, shell_complete=complete.settings)
@common_options(changes=True, calls=True)
def command(options: Options, setting: str | None) -> None:
    """Print or change a setting of the kernel; without NAME, print all.

    NAME is numa_balancing, demotion_enabled, thp, nr_hugepages, drop_caches, compact_memory,
    weighted_interleave/nodeN (a node's weight), one of NUMA balancing's settings, ... Longer names
    (vm.drop_caches, /sys/...) work, too.
    """
    name, has_value, value = (setting or "").partition("=")
    with system_call(options, "sysctl") as call:
        if has_value:
            sysctl.write(call.machine, call.shell, name, value)
        elif name:
            call.answer["value"] = sysctl.read(call.machine, name)
            call.text = f"{call.answer['value']}\n"
        else:
            values = sysctl.read_all(call.machine)
            call.answer["values"] = values
            call.text = "".join(f"{name} = {value}\n" for name, value in values.items())
