"""A command that is a system call: who calls, what is refused, and what a dry run says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from pymigrate.cli.common import Options, print_json, say, shorten
from pymigrate.errors import KernelError
from pymigrate.units import PAGE_SHIFT, parse_size
from pymigrate.views import changes

if TYPE_CHECKING:
    from pymigrate.mm.machine import Machine, Task


# Without 0x it begins with a digit, for a region's name does not.
_ADDRESS = re.compile(r"(?:0[xX](?=[0-9a-fA-F])|(?=[0-9]))0*([0-9a-fA-F]{0,16})")


@dataclass(slots=True)
class Call:
    """A call in the making: its machine, and what is to be printed of its answer."""

    machine: Machine
    options: Options
    answer: dict[str, object] = field(default_factory=dict)  # for --json
    text: str = ""  # for people

    @property
    def shell(self) -> Task:
        """Who calls: the shell, as the user that --as names."""
        shell = self.machine.shell
        shell.uid = self.options.uid
        return shell


@contextmanager
def system_call(options: Options, name: str) -> Iterator[Call]:
    """Open the machine for one call. A KernelError is reported as `NAME: text`, exit code 1.

    What the refused call did before it was refused is kept, as by the kernel.
    """
    refused: KernelError | None = None
    with options.session(write=True) as machine:
        before = changes.snapshot(machine) if options.dry_run else None
        call = Call(machine, options)
        try:
            yield call
        except KernelError as error:
            refused = error
        moved = changes.diff(before, machine) if before else None
    if refused:
        click.echo(f"{name}: {refused}", err=True)
        if options.verbose and refused.why:
            say(refused.why)
    if options.json:
        answer = {"ret": -1 if refused else 0, "errno": refused.errno if refused else None}
        print_json(answer | call.answer | (changes.as_json(*moved) if moved else {}))
    else:
        text = call.text + (changes.format_diff(*moved) if moved else "")
        click.echo(text, nl=False)
    if refused:
        raise click.exceptions.Exit(1)


@contextmanager
def acting_as(task: Task, uid: int) -> Iterator[Task]:
    """Let *task* make a call with the credentials of *uid*."""
    own = task.uid, task.caps
    task.uid, task.caps = uid, None
    try:
        yield task
    finally:
        task.uid, task.caps = own


def find_range(machine: Machine, task: Task, text: str) -> tuple[int, int | None]:
    """The address and length in bytes of `ADDR|REGION[+OFFSET[:LENGTH]]`.

    Without a length, a region's range ends with the region; an address has none (None). Raises
    click.BadParameter.
    """
    place, _, rest = text.partition("+")
    offset_text, _, length_text = rest.partition(":")
    try:
        offset = parse_size(offset_text) if offset_text else 0
        length = parse_size(length_text) if length_text else None
    except ValueError as error:
        raise click.BadParameter(f"{shorten(text)}: {error}") from None
    addr = parse_address(place)
    if addr is not None:
        return addr + offset, length
    try:
        region = machine.region(task.name, place)
    except KernelError:
        known = ", ".join(sorted({name for _, name in machine.regions})) or "none"
        raise click.BadParameter(
            f"{shorten(place)} is neither an address nor a region;"
            f" expected 0x... or one of: {known}"
        ) from None
    size = region.nr << PAGE_SHIFT
    if offset > size:
        raise click.BadParameter(f"{shorten(text)} begins beyond the end of the region")
    return (region.start << PAGE_SHIFT) + offset, length if length is not None else size - offset


def parse_address(text: str) -> int | None:
    """An address in hex (with or without 0x, as numa_maps prints it); None if it is none."""
    match = _ADDRESS.fullmatch(text)
    return int(match[1] or "0", 16) if match else None
