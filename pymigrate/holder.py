"""Who has the machine of a state file while real programs run on it, and how others get it.

`pymigrate exec` keeps its machine in memory. Beside the state file stands a socket then, FILE.exec:
who wants the machine connects, is told when the file holds it, and gives it back by closing the
connection. What lies there without anybody listening was left behind by one that was killed, with
all its programs; FILE.tasks has their pids, and the directories that were made for them.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from pymigrate.errors import StoreError

SUFFIX, TASKS = ".exec", ".tasks"
PRIVATE = "pymigrate-"  # what the names of directories for private files begin with
LENT = b"1"
_NEW = ".new"  # what is not yet whole
_AGAIN = 0.05  # seconds until the holder, which may have missed a signal, is called again
_PEER = struct.Struct("3i")


@contextmanager
def borrowed(path: str) -> Iterator[list[int]]:
    """Have the machine of the state file *path* while the block runs, if another holds it.

    Gives the pids of tasks that nobody stands for any more. Raises StoreError.
    """
    while connection := _connect(path):
        with connection:
            if _is_lent(connection):
                yield []
                return
    gone = leftover(path)
    if not gone:
        forget(path)
    yield gone


def check_free(path: str) -> None:
    """Raise StoreError if real programs run on the machine of the state file *path*."""
    if connection := _connect(path):
        with connection:
            raise StoreError(f"is in use by `pymigrate exec`, process {peer(connection)}", path)


def holder_of(path: str) -> int:
    """The pid of who has the machine of the state file *path*; 0 if nobody has it."""
    if connection := _connect(path):
        with connection:
            return peer(connection)
    return 0


def note(path: str, pids: Collection[int], folders: Sequence[str]) -> None:
    """Write down what must go if this process is killed, at once or not at all. Raises OSError."""
    names = map(os.fsencode, folders)
    with open(path + TASKS + _NEW, "wb") as file:
        file.write(b"\0".join([b" ".join(b"%d" % pid for pid in sorted(pids)), *names]))
    os.replace(path + TASKS + _NEW, path + TASKS)


def leftover(path: str) -> list[int]:
    """The pids of a holder's programs that were killed with it; its private files are removed."""
    try:
        with open(path + TASKS, "rb") as file:
            pids, *folders = map(os.fsdecode, file.read().split(b"\0"))
        gone = [int(pid) for pid in pids.split()]
    except (OSError, ValueError):
        return []
    for folder in folders:
        if os.path.basename(folder).startswith(PRIVATE):
            from shutil import rmtree

            rmtree(folder, ignore_errors=True)
    return gone


def forget(path: str) -> None:
    """Remove what a holder leaves beside the state file. Raises StoreError."""
    for suffix in (SUFFIX, TASKS, TASKS + _NEW):
        try:
            os.unlink(path + suffix)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(f"cannot be removed: {error.strerror}", path + suffix) from None


@contextmanager
def address(path: str) -> Iterator[str]:
    """A short name for the socket of the state file *path*: an address has 107 bytes at most."""
    folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}{SUFFIX}"
    finally:
        os.close(folder)


def peer(connection: socket.socket) -> int:
    """The pid at the other end."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    pid: int = _PEER.unpack(data)[0]
    return pid


def _connect(path: str) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address(path) as name:
            connection.connect(name)
    except (ConnectionRefusedError, FileNotFoundError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        raise StoreError(f"is in use, and not to be had: {error.strerror}", path) from None
    return connection


def _is_lent(connection: socket.socket) -> bool:
    """Call the holder until it has stored the machine; False if it ends instead."""
    import signal

    holder = peer(connection)
    connection.settimeout(_AGAIN)
    while True:
        try:
            os.kill(holder, signal.SIGUSR1)
            return connection.recv(1) == LENT
        except TimeoutError:
            continue
        except OSError:
            return False
