"""Files and System V's segments by their names, as programs open and make them."""

from __future__ import annotations

from pymigrate.errors import KernelError
from pymigrate.mm.spaces.hugetlb_pool import nr_available
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine
from pymigrate.tools.program import Shared
from pymigrate.units import HPAGE_PMD_ORDER, HPAGE_SIZE, PAGE_SIZE, pages_of

_DIRECTORIES = frozenset({"", "/tmp", "/dev/shm", "/run"})  # that are there in any case
_ROOT_INODE, _DEVICE = 1, 0x1A  # of the tmpfs that new files are on


def find(machine: Machine, path: str) -> AddressSpace:
    """The file of that name or path. Raises KernelError ENOENT."""
    for space in machine.spaces.values():
        if space.name and not space.is_transient and path in (space.name, space.path):
            return space
    raise KernelError("ENOENT", f"there is no file {path}")


def open_file(machine: Machine, path: str) -> Shared:
    """A file that is there. Raises KernelError ENOENT."""
    return _shared(find(machine, path))


def create(machine: Machine, path: str) -> Shared:
    """A new and empty file of a tmpfs, or the one that is there.

    Raises KernelError ENOENT if there is no such directory.
    """
    try:
        return open_file(machine, path)
    except KernelError:
        pass
    named = [space.name for space in machine.spaces.values() if not space.is_transient]
    folder = path.rpartition("/")[0]
    if not path or folder not in _DIRECTORIES | {name.rpartition("/")[0] for name in named}:
        raise KernelError("ENOENT", f"there is no directory {folder}")
    return _shared(_make(machine, path, "tmpfs", 0))


def truncate(machine: Machine, shared: Shared, size: int) -> Shared:
    """The file, made as long as *size*."""
    space = find(machine, shared.name)
    space.size = size
    return _shared(space)


def shmget(
    machine: Machine, key: str, number: int, huge: bool, size: int, create: bool = False
) -> Shared:
    """The segment of the key file *key* and a number; with *create* it is made.

    Raises KernelError ENOENT; EINVAL if it is smaller than *size*; ENOMEM if the hugetlb pools
    have not so much. Mirrors ftok() and ksys_shmget().
    """
    inode = find(machine, key).inode
    name = f"/SYSV{(number & 255) << 24 | _DEVICE << 16 | inode & 65535:08x} (deleted)"
    for space in machine.spaces.values():
        if space.name == name:
            if size > space.size:
                raise KernelError("EINVAL", "the segment is smaller")
            return _shared(space)
    if not create:
        raise KernelError("ENOENT", f"there is no segment of {key} and {number}")
    if huge:
        size = -(-size // HPAGE_SIZE) * HPAGE_SIZE
        if pages_of(size) >> HPAGE_PMD_ORDER > nr_available(machine):
            raise KernelError("ENOMEM", "the hugetlb pools have not so many free pages")
    return _shared(_make(machine, name, "hugetlbfs" if huge else "tmpfs", size))


def _shared(space: AddressSpace) -> Shared:
    """A file or segment as programs know it."""
    return Shared(space.name, space.size, HPAGE_SIZE if space.is_hugetlb else PAGE_SIZE)


def _make(machine: Machine, name: str, fs: str, size: int) -> AddressSpace:
    inode = max([_ROOT_INODE, *(space.inode for space in machine.spaces.values())]) + 1
    space = AddressSpace(machine.new_id(), name, fs, size, inode)
    machine.spaces[space.space_id] = space
    return space
