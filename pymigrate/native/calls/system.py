"""Calls that tell of the system as a whole, or of a process, and are no calls on its memory."""

from __future__ import annotations

import struct

from pymigrate.errors import ERRNO, KernelError
from pymigrate.native import abi
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World

Args = tuple[int, ...]
# Of struct sysinfo: total, free, shared and buffer memory, then swap; and the unit of all of them.
_MEMORY, _MEMORY_AT, _UNIT_AT = struct.Struct("=6Q"), 32, 104


def prctl(world: World, thread: Thread, args: Args) -> int | None:
    """prctl(option, value): whether others may look at the process is the machine's affair."""
    option, value = args[0] & 0xFFFFFFFF, args[1]
    process = thread.process
    if option == abi.PR_GET_DUMPABLE:
        return int(process.is_dumpable)
    if option != abi.PR_SET_DUMPABLE:
        return None
    if value not in (0, 1):
        raise KernelError("EINVAL", f"{value} is neither 0 nor 1")
    process.is_dumpable = world.task(thread).is_dumpable = bool(value)
    return 0


def set_ids(world: World, thread: Thread, _: Args) -> None:
    """setuid() and its like, of groups too."""
    thread.at_end = world.check_dumpable(thread)


def exit_group(world: World, thread: Thread, _: Args) -> int | None:
    """exit_group(status): who has touched more than there is does not come to it."""
    refused = thread.process.memory.refused
    before = len(refused)
    world.finish(thread)
    if len(refused) == before:
        return None
    return -ERRNO["EINTR"]  # by the signal, which comes first


def sysinfo(world: World, thread: Thread, args: Args) -> None:
    """sysinfo(info): the host's, but for the memory."""

    def told(result: int) -> None:
        if result:
            return
        from pymigrate.views.proc.meminfo import meminfo  # few programs need it

        world.sync_all()
        kb = meminfo(world.machine)
        names = ("MemTotal", "MemFree", "Shmem", "Buffers", "SwapTotal", "SwapFree")
        thread.write(args[0] + _MEMORY_AT, _MEMORY.pack(*(kb[name] << 10 for name in names)))
        thread.write(args[0] + _UNIT_AT, struct.pack("=I", 1))

    thread.at_end = told
