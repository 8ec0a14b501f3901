"""Objects of huge pages that real programs made: they are there as long as they are open."""

from __future__ import annotations

import os
from collections.abc import Collection

from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine
from pymigrate.syscalls.files import unlink


def segment_name(key: int) -> str:
    """How the host's maps name a segment of System V's shared memory."""
    return f"/SYSV{key & 0xFFFFFFFF:08x} (deleted)"


def drop_objects(machine: Machine, objects: set[int], pids: Collection[int]) -> None:
    """Free those of *objects* that nobody maps, and no process of *pids* has open any more.

    They leave the set. Mirrors hugetlbfs_evict_inode().
    """
    mapped = {vma.space for mm in machine.mms.values() for vma in mm.vmas}
    for sid in objects - mapped:
        space = machine.spaces.get(sid)
        if space is None or not _is_there(space, pids):
            objects.discard(sid)
            if space is not None:
                unlink(machine, space)


def _is_there(space: AddressSpace, pids: Collection[int]) -> bool:
    """Whether the host has an object that nobody maps."""
    if not space.is_segment:
        return any(_has_open(pid, space) for pid in pids)
    try:
        with open("/proc/sysvipc/shm", encoding="ascii") as file:
            return any(int(line.split()[1]) == space.inode for line in file.readlines()[1:])
    except OSError:
        return True


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
