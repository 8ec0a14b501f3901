"""``--meanwhile``: an access of another task in the middle of a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from pymigrate.cli.call import find_range
from pymigrate.cli.common import find_task, shorten
from pymigrate.interface.made import Access
from pymigrate.mm.state.machine import Machine
from pymigrate.units import PAGE_SHIFT


def meanwhile_option() -> Callable[[Any], Any]:
    """Another task's access in the middle of a call; access_of() reads it."""
    return click.option(
        "--meanwhile",
        nargs=3,
        metavar="PID ADDR|REGION[+OFFSET] read|write",
        help="Let that process access the page as soon as it is unmapped.",
    )


def access_of(machine: Machine, value: tuple[str, str, str] | None) -> Access | None:
    """The access that --meanwhile asks for. Raises click.BadParameter."""
    if value is None:
        return None
    who, place, way = value
    if way not in ("read", "write"):
        raise click.BadParameter(f"{shorten(way)} is neither read nor write")
    task = find_task(machine, who)
    return Access(task, find_range(machine, task, place)[0] >> PAGE_SHIFT, way == "write")
