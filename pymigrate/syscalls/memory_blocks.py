"""Writes to /sys/devices/system/memory/memoryN/state: offline and online."""

from collections.abc import Callable, Sequence
from functools import partial

from pymigrate.errors import KernelError
from pymigrate.mm.offline.memory_hotplug import (
    MemoryBlock,
    memory_blocks,
    offline_pages,
    online_pages,
)
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.records import NamedTuple
from pymigrate.syscalls.checks import check_root, system_call

ONLINE_TYPES = ("online", "online_kernel", "online_movable")


class Outcome(NamedTuple):
    """What became of a write to a memory block's state; no *error*: it was done."""

    number: int
    error: KernelError | None


@system_call
def offline(
    machine: Machine, caller: Task, nid: int, numbers: Sequence[int] | None = None
) -> list[Outcome]:
    """Take memory blocks of node *nid* away, or all that are online, one after the other.

    One that fails does not keep the next from being tried. Raises KernelError EACCES, ENOENT.
    """
    return _write(machine, caller, nid, numbers, offline_pages, is_online=True)


@system_call
def online(
    machine: Machine,
    caller: Task,
    nid: int,
    numbers: Sequence[int] | None = None,
    online_type: str | None = None,
) -> list[Outcome]:
    """Give memory blocks of node *nid* back, or all that are offline, one after the other.

    *online_type* is what is written, one of ONLINE_TYPES; None writes what brings a block back to
    its zone. One that fails does not keep the next from being tried.
    Raises KernelError EACCES, EINVAL for another word, ENOENT.
    """
    if online_type is not None and online_type not in ONLINE_TYPES:
        raise KernelError("EINVAL", f"{online_type!r} is no state of a memory block")
    return _write(
        machine,
        caller,
        nid,
        numbers,
        partial(online_pages, online_type=online_type),
        is_online=False,
    )


def _write(
    machine: Machine,
    caller: Task,
    nid: int,
    numbers: Sequence[int] | None,
    change: Callable[[Machine, MemoryBlock], None],
    is_online: bool,
) -> list[Outcome]:
    check_root(caller, "only root may take memory away, or give it back")
    known = {block.number: block for block in memory_blocks(machine, nid)}
    if not known:
        raise KernelError("ENOENT", f"node {nid} has no memory blocks")
    if numbers is None:
        numbers = [number for number, block in known.items() if block.is_online == is_online]
    wrong = [number for number in numbers if number not in known]
    if wrong:
        blocks = f"{min(known)}-{max(known)}"
        raise KernelError("ENOENT", f"memory block {wrong[0]} is not of node {nid}, but {blocks}")
    return [Outcome(number, _try(machine, known[number], change)) for number in numbers]


def _try(
    machine: Machine, block: MemoryBlock, change: Callable[[Machine, MemoryBlock], None]
) -> KernelError | None:
    try:
        change(machine, block)
    except KernelError as error:
        return error
    return None
