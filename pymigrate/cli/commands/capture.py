"""``pymigrate capture``."""

from __future__ import annotations

import sys

import click

from pymigrate.cli.common import parse_number, say, shorten
from pymigrate.errors import ScenarioError
from pymigrate.units import parse_size


@click.command()
@click.argument("pids", nargs=-1, metavar="[PID]...")
@click.option("--root", type=click.Path(), default="/", help="A copied tree with proc and sys.")
@click.option("--memory", metavar="SIZE", help="Of each node of which no file says it.")
@click.option("--anonymize", is_flag=True, help="Replace comms, users, paths and cpusets.")
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help="Not stdout, but FILE.")
def command(
    pids: tuple[str, ...], root: str, memory: str | None, anonymize: bool, output: str | None
) -> None:
    """Write a scenario of this Linux host, or of a copied tree, with its processes.

    Without PID, of all processes whose memory may be read. Pages are placed by pagemap where that
    may be read (by root), else by the counts of numa_maps. What a scenario cannot have is said on
    stderr, and in the file.
    """
    from pymigrate.capture.capture import capture

    numbers = [parse_number(pid) for pid in pids]
    for pid, number in zip(pids, numbers, strict=True):
        if number is None or number < 1:
            raise click.BadParameter(f"{shorten(pid)} is not a pid", param_hint="PID")
    try:
        size = None if memory is None else parse_size(memory)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--memory") from None
    text, notes = capture(root, [number for number in numbers if number], anonymize, size)
    for note in notes:
        say(note)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        with open(output, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ScenarioError(f"cannot be written: {error.strerror}", output) from None
