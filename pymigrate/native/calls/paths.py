"""Which file a path means to a traced thread: one of the simulated machine, or the host's."""

from __future__ import annotations

import os
from functools import cache
from stat import S_ISLNK
from typing import NamedTuple

from pymigrate.errors import KernelError
from pymigrate.native import abi
from pymigrate.native.calls.overlay import Overlay
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World
from pymigrate.views.entries import Dir, Entry, File, Link

_SIMULATED = ("/proc", "/sys")
_MAX_LINKS = 40
_DELETED = " (deleted)"


class Place(NamedTuple):
    """Where a path leads; *entry* is None for what is the host's.

    *must_be_named*: the program named it from one of its private directories, which does not hold
    what is the host's.
    """

    path: str
    entry: Entry | None
    must_be_named: bool
    overlay: Overlay


def resolve(
    world: World, thread: Thread, dirfd: int, text: str, follow: bool = True
) -> Place | None:
    """What *text* means to a thread, from its directory *dirfd*; None for the host's.

    Raises KernelError ENOENT, ENOTDIR, ELOOP for what is not there.
    """
    if not text:
        return None
    path, is_private = text, False
    if not text.startswith("/"):
        base = _directory(thread, dirfd)
        if base is None:
            return None
        inside = inside_of(world, base)
        path = f"{base if inside is None else inside}/{text}"
        is_private = inside is not None
    elif (inside := inside_of(world, text)) is not None:
        path, is_private = inside, True
    if not is_private and not _begins(path) and not _leads_there(path):
        return None
    return _Walk(world, thread).walk(path, follow)._replace(must_be_named=is_private)


def inside_of(world: World, path: str) -> str | None:
    """The simulated path of a private file or directory; None if it is none."""
    if not path.startswith(world.root):
        return None
    return path.removeprefix(world.root).removesuffix(_DELETED) or "/"


def answered_path(world: World, thread: Thread, fd: int) -> str | None:
    """The simulated path of an open descriptor; None if it is not of an answered file."""
    try:
        return inside_of(world, os.readlink(f"/proc/{thread.tid}/fd/{fd & 0xFFFFFFFF}"))
    except OSError:
        return None


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
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return _may_hold(path.rstrip("/").rpartition("/")[0]) and _begins_really(path)
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


class _Walk:
    """A walk along a path, as the kernel's, over what is simulated and what is the host's."""

    def __init__(self, world: World, thread: Thread) -> None:
        self.world, self.thread = world, thread
        self.overlay = Overlay(world, thread)
        self.names: list[str] = []
        self.entries: list[Entry | None] = [self.overlay.root]
        self.parts: list[str] = []
        self.links = 0

    def walk(self, path: str, follow: bool) -> Place:
        """Where *path*, which is absolute, leads."""
        self.parts = path.split("/")[::-1]
        while self.parts:
            part = self.parts.pop()
            here = self.entries[-1]
            if isinstance(here, File) and part:
                raise KernelError("ENOTDIR", f"{self._here()} is no directory")
            if part in ("", "."):
                continue
            if part == "..":
                if self.names:
                    self.names.pop()
                    self.entries.pop()
                continue
            self._step(part, follow)
        return Place(self._here() or "/", self.entries[-1], False, self.overlay)

    def _step(self, part: str, follow: bool) -> None:
        here, at = self.entries[-1], self._here()
        entry = self.overlay.below(at, here).get(part) if isinstance(here, Dir) else None
        follows = follow or any(rest not in ("", ".") for rest in self.parts)
        if isinstance(entry, Link) and follows:
            self._follow(entry.target)
            return
        path = f"{at}/{part}"
        if entry is None:
            if path in ("/proc/self", "/proc/thread-self"):
                pid, tid = self.thread.process.pid, self.thread.tid
                if follows:
                    self._follow(str(pid) if part == "self" else f"{pid}/task/{tid}")
                    return
            elif self.overlay.hides(path):
                raise KernelError("ENOENT", f"{path} is not of the simulated machine")
            elif follows and (target := self._link(path)) is not None:
                self._follow(target)
                return
        self.names.append(part)
        self.entries.append(entry)

    def _link(self, path: str) -> str | None:
        """Where a link of the host leads, if that is a path."""
        try:
            target = os.readlink(path)
        except OSError:
            return None
        is_magic = path.startswith("/proc/") and ("/fd/" in path or "/ns/" in path)
        if is_magic and not target.startswith("/"):
            return None  # such as pipe:[4711]
        inside = inside_of(self.world, target)
        return target if inside is None else inside

    def _follow(self, target: str) -> None:
        self.links += 1
        if self.links > _MAX_LINKS:
            raise KernelError("ELOOP", f"{target} is one link too many")
        if target.startswith("/"):
            self.names.clear()
            del self.entries[1:]
        self.parts += target.split("/")[::-1]

    def _here(self) -> str:
        return "".join(f"/{name}" for name in self.names)
