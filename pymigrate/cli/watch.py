"""``--trace``, ``--steps``, ``--chrome``: a call that is watched while it moves pages."""

from __future__ import annotations

from collections.abc import Iterable

import click

from pymigrate.cli.common import shorten
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.tally import Tally
from pymigrate.views.told import trace


def watch_of(trace: bool, steps: bool, chrome: str | None, times: bool) -> Watch:
    """What is to be noted, for these options, and, if *times*, what takes time."""
    is_traced = trace or steps or chrome
    return Watch([] if is_traced else None, steps, Tally() if times else None)


def write_chrome(machine: Machine, path: str, parts: Iterable[trace.Part]) -> None:
    """Write a trace file. Raises click.BadParameter if that cannot be done."""
    import json

    text = json.dumps(trace.chrome(machine, parts), separators=(",", ":"))
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{text}\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise click.BadParameter(
            f"{shorten(path)} cannot be written: {reason}", param_hint="--chrome"
        ) from None
