"""Objects of huge pages that real programs made: they are there as long as they are open."""

from __future__ import annotations

import os
from collections.abc import Collection

from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine
from pymigrate.syscalls.files import unlink


def drop_objects(machine: Machine, objects: set[int], pids: Collection[int]) -> None:
    """Free those of *objects* that nobody maps, and no process of *pids* has open any more.

    They leave the set. Mirrors hugetlbfs_evict_inode().
    """
    mapped = {vma.space for mm in machine.mms.values() for vma in mm.vmas}
    for sid in objects - mapped:
        space = machine.spaces.get(sid)
        if space is None or not any(_has_open(pid, space) for pid in pids):
            objects.discard(sid)
            if space is not None:
                unlink(machine, space)


def _has_open(pid: int, space: AddressSpace) -> bool:
    """Whether a process has a descriptor of an object."""
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except PermissionError:
        return True
    except OSError:
        return False
    return any(_is_of(f"{folder}/{name}", space) for name in names)


def _is_of(path: str, space: AddressSpace) -> bool:
    try:
        return os.readlink(path) == space.name and os.stat(path).st_ino == space.inode
    except OSError:
        return False
