"""Which files of the simulated machine the private ones stand for that programs are given."""

from __future__ import annotations

import os
import re

from pymigrate.native.tracee import Thread
from pymigrate.native.world import World

_DELETED = " (deleted)"
LISTING = "{root}/{number}.proc"  # a directory that /proc is listed by
_LISTING = re.compile(r"/\d+\.proc(?=/|$)")


def inside_of(world: World, path: str) -> str | None:
    """The simulated path of a private file or directory; None if it is none."""
    if not path.startswith(world.root):
        return None
    inside = path.removeprefix(world.root).removesuffix(_DELETED) or "/"
    return _LISTING.sub("/proc", inside, count=1) if inside[1:2].isdecimal() else inside


def answered_path(world: World, thread: Thread, fd: int) -> str | None:
    """The simulated path of an open descriptor; None if it is not of an answered file."""
    try:
        return inside_of(world, os.readlink(f"/proc/{thread.tid}/fd/{fd & 0xFFFFFFFF}"))
    except OSError:
        return None
