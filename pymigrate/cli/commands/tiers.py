"""``pymigrate tiers``."""

from __future__ import annotations

import click

from pymigrate.cli.common import Options, common_options
from pymigrate.cli.helped import Command, option
from pymigrate.views.told import memory_tiering


@click.command(cls=Command)
@option("--sysfs", is_flag=True, help="Print the files of sysfs instead, as grep does.")
@common_options()
def command(options: Options, sysfs: bool) -> None:
    """List the memory tiers, and where reclaim demotes the pages of each node.

    ADISTANCE is the abstract distance of a node's memory: the smaller, the faster; a tier spans
    128. TOP: nothing is promoted from there. PREFERRED are the nodes that demotion tries first,
    FALLBACK all nodes that it may use then.
    """
    with options.session() as machine:
        rows = memory_tiering.rows(machine)
        shown, text = memory_tiering.as_json(machine, rows), memory_tiering.format_rows(rows)
        if sysfs:
            files = memory_tiering.files(machine)
            shown["files"] = files
            text = "".join(f"{path}:{content}" for path, content in files.items())
    options.show(shown, text)
