"""Files that have a number for each page: a program is given what it reads, as it reads it.

Its private file is empty. Before a read, what the read is to find is put into it, and is taken out
again when no read is under way; the host reads it, and moves the position.
"""

from __future__ import annotations

import os
import re
import struct
from contextlib import suppress

from pymigrate.errors import KernelError
from pymigrate.mm.state.task import Cap
from pymigrate.native import abi
from pymigrate.native.calls.private import answered_path
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World
from pymigrate.views.entries import Binary
from pymigrate.views.proc import pagemap
from pymigrate.views.tree import is_of_pages

Args = tuple[int, ...]
_AT_OFFSET = frozenset({abi.PREAD64, abi.PREADV, abi.PREADV2})
_VECTORS = frozenset({abi.READV, abi.PREADV, abi.PREADV2})
CALLS = frozenset({abi.READ, abi.MMAP}) | _AT_OFFSET | _VECTORS
_MAX_VECTOR = 1024
_CHUNK = 1 << 20  # bytes that are made at once
_OF_TASK = re.compile(r"/proc/(\d+)/(?:task/(\d+)/)?pagemap")


def is_made_of_pages(path: str) -> bool:
    """Whether the simulated file at *path* is such a file."""
    return is_of_pages(path.lstrip("/"))


def opens(world: World, thread: Thread, path: str, private: str) -> None:
    """A thread opens the file at *path*, for which *private* stands. Raises KernelError EACCES."""
    caller = world.note_credentials(thread)
    if caller.uid and not _OF_TASK.fullmatch(path):
        raise KernelError("EACCES", f"{path} belongs to root")
    shows_frames = bool(caller.capabilities & Cap.SYS_ADMIN)
    world.reading[os.stat(private).st_ino] = [shows_frames, 0]


def at_entry(world: World, thread: Thread, args: Args, nr: int) -> None:
    """A call begins that may read: let its file hold what it is to find.

    Raises KernelError EINVAL for half a record, ENODEV for mmap().
    """
    fd = args[4 if nr == abi.MMAP else 0] & 0xFFFFFFFF
    path = answered_path(world, thread, fd)
    if path is None or not is_made_of_pages(path):
        return
    if nr == abi.MMAP:
        if args[3] & abi.MAP_ANONYMOUS:
            return
        raise KernelError("ENODEV", f"{path} cannot be mapped")
    own = f"/proc/{thread.tid}/fd/{fd}"
    state = world.reading.get(os.stat(own).st_ino)
    if state is None:
        return
    world.sync_all()
    file = _file(world, path, shows_frames=bool(state[0]))
    if file is None:
        return
    offset = _offset(thread, fd, args, nr)
    _fill(own, file, offset, _length(thread, args, nr))
    state[1] += 1
    thread.at_end = lambda _: _ended(own, state)


def _file(world: World, path: str, shows_frames: bool) -> Binary | None:
    """What stands behind *path*; None if its task has ended."""
    machine = world.machine
    if path == "/proc/kpagecount":
        return pagemap.kpagecount(machine)
    if path == "/proc/kpageflags":
        return pagemap.kpageflags(machine)
    match = _OF_TASK.fullmatch(path)
    task = machine.tasks.get(int(match[2] or match[1])) if match else None
    return pagemap.pagemap(machine, task, shows_frames) if task else None


def _fill(own: str, file: Binary, offset: int, length: int) -> None:
    """Put *length* bytes from *offset* on into the private file."""
    data = file.read(offset, min(length, _CHUNK))
    os.chmod(own, 0o644)
    fd = os.open(own, os.O_WRONLY | os.O_CLOEXEC)
    try:
        while data:
            os.pwrite(fd, data, offset)
            offset, length = offset + len(data), length - len(data)
            data = file.read(offset, min(length, _CHUNK)) if length else b""
    finally:
        os.close(fd)
        os.chmod(own, 0o444)


def _ended(own: str, state: list[int]) -> None:
    """A read has ended: unless another is under way, the file is empty again."""
    state[1] -= 1
    if not state[1]:
        with suppress(OSError):
            os.chmod(own, 0o644)
            os.truncate(own, 0)
            os.chmod(own, 0o444)


def _offset(thread: Thread, fd: int, args: Args, nr: int) -> int:
    """Where a read begins: where it says, or else at the descriptor's position."""
    if nr in _AT_OFFSET and not (nr == abi.PREADV2 and args[3] == (1 << 64) - 1):
        return args[3]
    with open(f"/proc/{thread.tid}/fdinfo/{fd}", encoding="ascii", errors="replace") as file:
        return int(file.readline().split()[1])  # "pos:"


def _length(thread: Thread, args: Args, nr: int) -> int:
    if nr not in _VECTORS:
        return args[2]
    data = thread.read(args[1], 16 * min(args[2], _MAX_VECTOR))
    return sum(length for _, length in struct.iter_unpack("=QQ", data))
