"""``pymigrate cma``."""

from __future__ import annotations

from pymigrate.cli.call import system_call
from pymigrate.cli.common import Options, common_options
from pymigrate.cli.declared import TableGroup
from pymigrate.views.proc import cma as view

command = TableGroup("cma", help="Allocate memory in one piece from what a node keeps for CMA.")


@command.command("list")
@common_options(changes=True, calls=True)
def list_areas(options: Options) -> None:
    """List the areas, and what is allocated of them."""
    with system_call(options, "cma") as call:
        rows = view.rows(call.machine)
        call.answer["rows"] = [row._asdict() for row in rows]
        call.text = view.format_rows(rows)
