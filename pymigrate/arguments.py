"""What commands and programs are given: a task, a place in its memory, a policy."""

from __future__ import annotations

import re

from pymigrate.errors import KernelError
from pymigrate.mm.state.machine import Machine, regions_of
from pymigrate.mm.state.task import Task
from pymigrate.nodemask import Nodemask
from pymigrate.records import NamedTuple
from pymigrate.tools.strtoul import strtoul, to_signed
from pymigrate.uapi import MODE_FLAG_TEXTS, MODE_FLAGS, MODE_TEXTS, MODES
from pymigrate.units import PAGE_SHIFT, parse_size

# Without 0x it begins with a digit, for a region's name does not.
_ADDRESS = r"(?:0[xX](?=[0-9a-fA-F])|(?=[0-9]))0*([0-9a-fA-F]{0,16})"
_NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"
_DIGITS, _PLAIN_LENGTH = frozenset("0123456789"), 16
# By numa_maps's names, and by those of the manual pages.
_FLAGS = {**MODE_FLAG_TEXTS, **MODE_FLAGS}
_MODES = {**{text: int(mode) for mode, text in MODE_TEXTS.items()}, **MODES}


class ModeAndNodes(NamedTuple):
    """The arguments that a system call takes for a policy."""

    mode: int  # with mode flags
    nodes: Nodemask


def is_name(text: str) -> bool:
    """Whether *text* may be what a task or a region is called, as scenarios have it."""
    return re.fullmatch(_NAME, text) is not None


def parse_name(text: str) -> str:
    """*text*, a name for a task or a region. Raises ValueError."""
    if not is_name(text):
        raise ValueError(f"{shorten(text)} is not a name; expected letters, digits, _ and -")
    return text


def find_task(machine: Machine, who: str) -> Task:
    """The task that a PID argument means: a number as the C library reads it, or a name.

    A name is the scenario's, or else a comm that just one task has. Raises KernelError ESRCH, which
    lists the tasks if several have the comm.
    """
    number, rest = strtoul(who)
    if who and not rest:
        return machine.task(to_signed(number, 32))
    try:
        return machine.task(who)
    except KernelError:
        named = [task for task in machine.tasks.values() if task.comm == who]
        if not named:
            raise KernelError(
                "ESRCH", f"there is no process called {who}{_nearest(machine, who)}"
            ) from None
    if len(named) > 1:
        listed = ", ".join(f"{task.pid} {task.name}" for task in named)
        raise KernelError(
            "ESRCH", f"{who} is ambiguous: {len(named)} processes are called so: {listed}"
        )
    return named[0]


def _nearest(machine: Machine, who: str) -> str:
    """The task whose name or comm is most like *who*, as the end of a sentence."""
    from difflib import get_close_matches

    known = {name: task for task in machine.tasks.values() for name in (task.name, task.comm)}
    near = get_close_matches(who, known, 1)
    return f"; nearest is {near[0]}" if near else ""


def find_range(machine: Machine, task: Task, text: str) -> tuple[int, int | None]:
    """The address and length in bytes of `ADDR|REGION[+OFFSET[:LENGTH]]`.

    A region is the task's, or was its parents'. Without a length, a region's range ends with the
    region; an address has none (None). Raises ValueError.
    """
    place, _, rest = text.partition("+")
    offset_text, _, length_text = rest.partition(":")
    try:
        offset = parse_size(offset_text) if offset_text else 0
        length = parse_size(length_text) if length_text else None
    except ValueError as error:
        raise ValueError(f"{shorten(text)}: {error}") from None
    addr = parse_address(place)
    if addr is not None:
        return addr + offset, length
    regions = regions_of(machine, task)
    if place not in regions:
        known = ", ".join(sorted(regions)) or "none"
        raise ValueError(
            f"{shorten(place)} is neither an address nor a region of process {task.pid};"
            f" expected 0x... or one of: {known}"
        )
    region = regions[place]
    size = region.nr << PAGE_SHIFT
    if offset > size:
        raise ValueError(f"{shorten(text)} begins beyond the end of the region")
    return (region.start << PAGE_SHIFT) + offset, length if length is not None else size - offset


def parse_address(text: str) -> int | None:
    """An address in hex (with or without 0x, as numa_maps prints it); None if it is none."""
    if len(text) <= _PLAIN_LENGTH and text[:1] in _DIGITS and text.isalnum() and text.isascii():
        try:
            return int(text, 16)  # what the expression says of nearly all, in half the time
        except ValueError:
            return None
    match = re.fullmatch(_ADDRESS, text)
    return int(match[1] or "0", 16) if match else None


def parse_mode(value: str) -> ModeAndNodes:
    """A policy MODE[=FLAGS][:NODES], as numa_maps prints it. Raises ValueError.

    >>> parse_mode("bind=static:0-1")
    ModeAndNodes(mode=32770, nodes=Nodemask('0-1'))
    """
    text, _, nodes_text = value.partition(":")
    name, _, flags_text = text.partition("=")
    mode = _MODES.get(name.strip())
    if mode is None:
        from difflib import get_close_matches

        near = get_close_matches(name, _MODES, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{name!r} is not a mode; expected one of {', '.join(_MODES)}{hint}")
    for flag in flags_text.split("|") if flags_text else []:
        if flag not in _FLAGS:
            raise ValueError(f"{flag!r} is not a mode flag; expected one of {', '.join(_FLAGS)}")
        mode |= _FLAGS[flag]
    return ModeAndNodes(mode, Nodemask.parse(nodes_text))


def shorten(text: str, width: int = 60) -> str:
    """*text* in quotes, cut so that a message stays a line."""
    shown = repr(text[:width])
    return f"{shown}..." if len(text) > width else shown
