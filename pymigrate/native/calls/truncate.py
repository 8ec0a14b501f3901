"""Files that become shorter, and holes in them: what is mapped of them goes, as it does here."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from pymigrate.errors import KernelError, UnsupportedError
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.native import abi
from pymigrate.native.calls.paths import resolve
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World
from pymigrate.syscalls import files

Args = tuple[int, ...]
_Change = Callable[[Machine, Task, AddressSpace], None]


def ftruncate(world: World, thread: Thread, args: Args) -> None:
    """ftruncate(fd, length), once the host has done it."""
    _truncate(world, thread, descriptor(thread, args[0]), args[1])


def truncate(world: World, thread: Thread, args: Args) -> None:
    """truncate(path, length), once the host has done it."""
    place = resolve(world, thread, abi.AT_FDCWD, thread.text(args[0]))
    if place is not None and place.entry is not None:
        raise UnsupportedError(f"{place.path} cannot be truncated by its name yet")
    _truncate(world, thread, _named(thread, abi.AT_FDCWD, thread.text(args[0])), args[1])


def opened(world: World, thread: Thread, dirfd: int, path: str) -> None:
    """open(path, O_TRUNC) of a file of the host, once the host has done it."""
    _truncate(world, thread, _named(thread, dirfd, path), 0)


def fallocate(world: World, thread: Thread, args: Args) -> None:
    """fallocate(fd, mode, offset, len): a hole, once the host has punched it."""
    path = descriptor(thread, args[0])
    if not args[1] & abi.FALLOC_FL_PUNCH_HOLE:
        if world.objects and (space := space_at(world, path)) and space.is_hugetlb:
            raise UnsupportedError("fallocate() of huge pages cannot be simulated yet")
        return
    offset, length, punch = *args[2:4], files.fallocate_punch_hole
    _follow(world, thread, path, lambda m, t, space: punch(m, t, space, offset, length))


def _truncate(world: World, thread: Thread, path: str, length: int) -> None:
    if world.objects and (space := space_at(world, path)):
        files.check_size(space, length)
    _follow(world, thread, path, lambda m, t, space: files.ftruncate(m, t, space, length))


def _follow(world: World, thread: Thread, path: str, change: _Change) -> None:
    """Let *change* happen to the file at *path*, if somebody maps what is known of it."""
    if not world.machine.spaces or space_at(world, path) is None:
        return
    world.sync_all(thread)

    def changed(result: int) -> None:
        space = space_at(world, path) if result >= 0 else None
        if space is None:
            return
        with suppress(KernelError):
            change(world.machine, world.task(thread), space)
        for process in world.processes.values():
            process.memory.changed()

    thread.at_end = changed


def descriptor(thread: Thread, fd: int) -> str:
    """Where pymigrate finds the file that a thread has open as *fd*."""
    return f"/proc/{thread.tid}/fd/{fd & 0xFFFFFFFF}"


def _named(thread: Thread, dirfd: int, path: str) -> str:
    """Where pymigrate finds what *path* means to a thread, from its directory *dirfd*."""
    if path.startswith("/"):
        return path
    is_here = dirfd & 0xFFFFFFFF == abi.AT_FDCWD
    return f"{f'/proc/{thread.tid}/cwd' if is_here else descriptor(thread, dirfd)}/{path}"


def space_at(world: World, path: str) -> AddressSpace | None:
    """The object of the file at *path*, if a process is known to have mapped it."""
    try:
        inode = os.stat(path).st_ino
    except OSError:
        return None
    found = [space for space in world.machine.spaces.values() if space.inode == inode]
    if not found:
        return None
    names = {os.path.realpath(path)}
    with suppress(OSError):
        names.add(os.readlink(path))  # a descriptor's says also what has no name any more
    return next((space for space in found if space.name in names), None)
