"""Which file a path means to a traced thread: one of the simulated machine, or the host's."""

from __future__ import annotations

import os
from functools import cache
from stat import S_ISLNK
from typing import TYPE_CHECKING

from pymigrate.native import abi
from pymigrate.native.calls.private import inside_of
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World

if TYPE_CHECKING:
    from pymigrate.native.calls.walk import Place

_SIMULATED = ("/proc", "/sys")


def resolve(
    world: World, thread: Thread, dirfd: int, text: str, follow: bool = True
) -> Place | None:
    """What *text* means to a thread, from its directory *dirfd*; None for the host's.

    Raises KernelError ENOENT, ENOTDIR, ELOOP for what is not there.
    """
    if not text:
        return None
    base, rest = text, ""
    if text[0] != "/":
        found = _directory(thread, dirfd)
        if found is None:
            return None
        base, rest = found, f"/{text}"
    inside = inside_of(world, base)
    path = (base if inside is None else inside) + rest
    if inside is None and not _begins(path) and not _leads_there(path):
        return None
    from pymigrate.native.calls.walk import walk  # most paths are the host's

    return walk(world, thread, path, follow, inside is not None)


def _directory(thread: Thread, dirfd: int) -> str | None:
    dirfd &= 0xFFFFFFFF
    name = "cwd" if dirfd == abi.AT_FDCWD else f"fd/{dirfd}"
    try:
        # Of a thread: one may have a directory of its own.
        return os.readlink(f"/proc/{thread.tid}/{name}")
    except OSError:
        return None


def _begins(path: str) -> bool:
    head = path[:6]
    return head.startswith(("/proc/", "/sys/")) or path in _SIMULATED


def _leads_there(path: str) -> bool:
    """Whether links of the host, or ``..``, lead from *path* to what is simulated."""
    if path.startswith("/dev/"):
        return False  # its links to /proc/self mean what the host says
    if not os.access(path, os.F_OK, follow_symlinks=False):  # it tells so without an exception
        return _may_hold(path.rstrip("/").rpartition("/")[0]) and _begins_really(path)
    try:
        found = os.lstat(path)
    except OSError:
        return _begins_really(path)
    if S_ISLNK(found.st_mode) and not path.endswith("/"):
        return _may_hold(path) and _begins_really(path)
    return _is_below(found.st_dev) and _begins_really(path)


def _begins_really(path: str) -> bool:
    return _begins(f"{os.path.realpath(path)}/")


def _may_hold(path: str) -> bool:
    """Whether *path* lies in a file system of /proc or /sys, or cannot be found."""
    try:
        return _is_below(os.stat(path or "/").st_dev)
    except OSError:
        return True


@cache
def _is_below(device: int) -> bool:
    """Whether a file system is mounted at, or below, /proc or /sys."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        mounts = [line.split(None, 5) for line in file]
    numbers = {number for _, _, number, _, place, _ in mounts if _begins(f"{place}/")}
    return f"{os.major(device)}:{os.minor(device)}" in numbers
