"""Traced threads and processes: what is known of each, and its registers and memory."""

from __future__ import annotations

from collections.abc import Callable

from pymigrate.errors import KernelError
from pymigrate.native import abi, libc
from pymigrate.native.sync import Memory
from pymigrate.records import field, record

PATH_MAX = 4096
_CHUNK = 512  # bytes that are read of a text at once, up to their multiple

# What is done with the result of a call when it ends; the answer takes its place, if it is one.
AtEnd = Callable[[int], "int | None"]


@record
class Thread:
    """A traced thread. The simulated task of its tid stands for it."""

    tid: int
    process: Process
    at_end: AtEnd | None = None  # of the call that it is in
    changed: list[tuple[int, int]] = field(default_factory=list)  # registers to be put back
    is_stopped: bool = False  # with its process, by a signal
    held: list[int] | None = None  # signals that come while it repeats a call
    sp: int = 0  # the stack pointer at its last stop at a call

    # memory

    def read(self, addr: int, length: int) -> bytes:
        """*length* bytes of its memory. Raises KernelError EFAULT."""
        data = libc.read_memory(self.tid, addr, length)
        if len(data) != length:
            raise KernelError("EFAULT", f"{addr:#x} cannot be read")
        return data

    def write(self, addr: int, data: bytes) -> None:
        """Write *data* into its memory. Raises KernelError EFAULT."""
        if libc.write_memory(self.tid, addr, data) != len(data):
            raise KernelError("EFAULT", f"{addr:#x} cannot be written")

    def text(self, addr: int) -> str:
        """The string at *addr*, bytes that are no UTF-8 as surrogates.

        Raises KernelError EFAULT, ENAMETOOLONG.
        """
        found, at, peek = b"", addr, self.process.memory.peek
        while len(found) < PATH_MAX:
            part, end, _ = peek(self.tid, at, _CHUNK - at % _CHUNK).partition(b"\0")
            found += part
            if end and len(found) < PATH_MAX:
                return found.decode("utf-8", "surrogateescape")
            if not part:
                raise KernelError("EFAULT", f"{at:#x} cannot be read")
            at += len(part)
        raise KernelError("ENAMETOOLONG", "a path has at most 4095 bytes")

    # registers

    def answer(self, value: int) -> None:
        """Let the call that it has stopped at be skipped, and return *value*."""
        libc.set_register(self.tid, abi.CALL, -1)
        libc.set_register(self.tid, abi.RETURNED, value)

    def change_argument(self, number: int, old: int, new: int) -> None:
        """Let the call have another argument; its register is put back when the call ends."""
        register = abi.ARGUMENTS[number]
        libc.set_register(self.tid, register, new)
        self.changed.append((register, old))

    def change_path(self, number: int, old: int, path: str) -> None:
        """Let the call have another path, which is written below the stack.

        Raises KernelError EFAULT if the program may not read the old one, ENOMEM where there is no
        room for the new one.
        """
        self.read(old, 1)
        data = path.encode("utf-8", "surrogateescape") + b"\0"
        at = (self.sp - abi.RED_ZONE - len(data)) & ~15
        if libc.write_memory(self.tid, at, data) != len(data):
            raise KernelError("ENOMEM", "the stack has no room for the path of a simulated file")
        self.change_argument(number, old, at)

    def ended(self, value: int) -> None:
        """Finish the call that has returned *value*."""
        for register, old in self.changed:
            if register != abi.RETURNED:  # which the call has changed anyway
                libc.set_register(self.tid, register, old)
        self.changed = []
        at_end, self.at_end = self.at_end, None
        if at_end is not None:
            result = at_end(value)
            if result is not None:
                libc.set_register(self.tid, abi.RETURNED, result)


@record
class Process:
    """A traced process."""

    pid: int
    memory: Memory
    threads: dict[int, Thread] = field(default_factory=dict)
    is_begun: bool = True  # it runs a program; the first one's process becomes that only later
    is_new: bool = True  # nothing of its memory was looked at since it was executed
    is_looked_at: bool = False  # somebody has, or may have, asked for what it has touched
    borrows: int = 0  # the process whose memory it uses until it executes: vfork, posix_spawn
    forked_from: Process | None = None  # whose memory it is to have a copy of, and has none yet
    forks: list[Process] = field(default_factory=list)  # that have no copy of its memory yet
    is_followed: bool = False  # it may have files open of which each read or write matters
    is_dumpable: bool = True
    is_finished: bool = False  # it is about to end, and nothing more of its memory counts
    has_ended: bool = False  # its task is gone, and it will be

    def add(self, tid: int) -> Thread:
        """A new thread."""
        thread = self.threads[tid] = Thread(tid, self)
        return thread
