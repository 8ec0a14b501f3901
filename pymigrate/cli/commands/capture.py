"""``pymigrate capture``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pymigrate.cli.common import parse_number, say, seconds, shorten
from pymigrate.cli.helped import Command, any_file, option
from pymigrate.errors import ScenarioError
from pymigrate.units import counted, parse_size

if TYPE_CHECKING:
    from pymigrate.capture.tree import Tree


_YEAR = 365 * 86400


@click.command(cls=Command)
@click.argument("pids", nargs=-1, metavar="[PID]...")
@option(
    "--root",
    shell_complete=any_file,
    metavar="PATH",
    default="/",
    help="Read a copied tree with proc and sys.",
)
@option(
    "--numa-maps", shell_complete=any_file, metavar="FILE", help="Read the text of a numa_maps."
)
@option(
    "--hardware",
    shell_complete=any_file,
    metavar="FILE",
    help="With --numa-maps: what numactl -H prints.",
)
@option("--memory", metavar="SIZE", help="The memory of nodes whose files do not say.")
@option(
    "--heat",
    shell_complete=any_file,
    metavar="FILE",
    help="Declare accesses by what perf or damo recorded, or by a bitmap of idle pages.",
)
@option(
    "--heat-time",
    type=seconds(_YEAR, may_be_0=False),
    metavar="TIME",
    help="With --heat: how long it was recorded, if the file does not say.",
)
@option("--gather", is_flag=True, help="Print a script that copies such a tree.")
@option("--anonymize", is_flag=True, help="Replace comms, users, paths and cpusets.")
@option(
    "-o",
    "--output",
    shell_complete=any_file,
    metavar="FILE",
    help="Write to FILE instead of stdout.",
)
def command(
    pids: tuple[str, ...],
    root: str,
    memory: str | None,
    gather: bool,
    anonymize: bool,
    output: str | None,
    heat_time: float | None,
    **texts: str | None,
) -> None:
    """Write a scenario of this Linux host, or of a copied tree, with its processes.

    Without PID it takes all processes whose memory may be read. Pages are placed by pagemap if that
    may be read (by root), else by the counts of numa_maps. Whatever a scenario cannot express is
    reported on stderr and in the file. The script of --gather needs a POSIX shell, but no Python.
    """
    numbers = [_pid(pid) for pid in pids]
    if gather:
        from pymigrate.capture.gather import SCRIPT

        _write(SCRIPT, output)
        return
    from pymigrate.capture.capture import capture

    try:
        size = None if memory is None else parse_size(memory)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--memory") from None
    heat = texts["heat"]
    if heat is None and heat_time is not None:
        raise click.UsageError("--heat-time goes with --heat")
    recorded = None if heat is None else (heat, heat_time)
    tree, notes = _tree(root, texts["numa_maps"], texts["hardware"], size, numbers)
    text, more = capture(tree, numbers, anonymize, size, notes, recorded)
    for note in _folded(more):
        say(note)
    _write(text, output)


def _folded(notes: list[str]) -> list[str]:
    """Notes for a terminal: the many settings that are not taken over are one line."""
    from pymigrate.capture.settings import NOT_TAKEN

    left = [note for note in notes if NOT_TAKEN not in note]
    if nr := sum(note.count(",") + 1 for note in notes if NOT_TAKEN in note):
        left.append(f"{counted(nr, 'setting')} not taken over; the scenario names them")
    return left


def _tree(
    root: str, numa_maps: str | None, hardware: str | None, memory: int | None, pids: list[int]
) -> tuple[Tree | str, list[str]]:
    """What is captured, and notes of what it does not tell."""
    if numa_maps is None:
        if hardware is not None:
            raise click.UsageError("--hardware goes with --numa-maps")
        return root, []
    if root != "/" or len(pids) > 1:
        raise click.UsageError("--numa-maps is of one process, and goes without --root")
    from pymigrate.capture.texts import DEFAULT_PID, text_tree

    return text_tree(numa_maps, hardware, memory, pids[0] if pids else DEFAULT_PID)


def _pid(text: str) -> int:
    number = parse_number(text)
    if number is None or number < 1:
        raise click.BadParameter(f"{shorten(text)} is not a pid", param_hint="PID")
    return number


def _write(text: str, output: str | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    try:
        with open(output, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ScenarioError(f"cannot be written: {error.strerror}", output) from None
