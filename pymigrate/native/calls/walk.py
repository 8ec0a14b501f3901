"""Where paths lead among the files of the simulated machine, and from the host's to them."""

from __future__ import annotations

import os

from pymigrate.errors import KernelError
from pymigrate.native.calls.overlay import Overlay
from pymigrate.native.calls.private import inside_of
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World
from pymigrate.records import NamedTuple
from pymigrate.views.entries import Dir, Entry, File, Link

_MAX_LINKS = 40


class Place(NamedTuple):
    """Where a path leads; *entry* is None for what is the host's.

    *must_be_named*: the program named it from one of its private directories, which does not hold
    what is the host's.
    """

    path: str
    entry: Entry | None
    must_be_named: bool
    overlay: Overlay


def walk(world: World, thread: Thread, path: str, follow: bool, must_be_named: bool) -> Place:
    """Where *path*, which is absolute, leads a thread.

    Raises KernelError ENOENT, ENOTDIR, ELOOP for what is not there.
    """
    return _Walk(world, thread).walk(path, follow)._replace(must_be_named=must_be_named)


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
