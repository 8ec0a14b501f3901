"""Memory of the simulated pools of huge pages: the host has base pages in its place."""

from __future__ import annotations

import os
from typing import Any

from pymigrate.errors import KernelError, UnsupportedError
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.native import abi
from pymigrate.native.calls.truncate import descriptor, space_at
from pymigrate.native.sync import unmap
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World
from pymigrate.syscalls import mmap as mmap_calls
from pymigrate.units import HPAGE_PMD_ORDER, HPAGE_SIZE, PAGE_SHIFT

Args = tuple[int, ...]
_PROTS = ((1, "r"), (2, "w"), (4, "x"))
HUGE_SIZES = (0, PAGE_SHIFT + HPAGE_PMD_ORDER)  # as flags encode them: the usual one, 2 MiB
SIZE_MASK = 63
_LONGEST_NAME = 249  # of memfd_create(), in bytes


def mmap(world: World, thread: Thread, args: Args) -> bool:
    """Reserve huge pages of the simulated pools; the host maps base pages in their place.

    False if they are not meant. Raises KernelError EINVAL; ENOMEM if the pools have not enough.
    """
    addr, length, _, flags, fd, offset = args
    space = None
    if not flags & abi.MAP_ANONYMOUS:
        space = space_at(world, descriptor(thread, fd))
        if space is None or not space.is_hugetlb:
            if flags & abi.MAP_HUGETLB:
                raise KernelError("EINVAL", "MAP_HUGETLB is for files of hugetlbfs, or for none")
            return False
    elif flags >> abi.MAP_HUGE_SHIFT & SIZE_MASK not in HUGE_SIZES:
        raise KernelError("EINVAL", "there are huge pages of 2 MiB alone")
    if thread.process.borrows:
        raise UnsupportedError("huge pages in memory of a parent cannot be simulated yet")
    if flags & abi.MAP_NORESERVE:
        raise UnsupportedError("huge pages with MAP_NORESERVE cannot be simulated yet")
    length = -(-length // HPAGE_SIZE) * HPAGE_SIZE
    is_fixed = bool(flags & (abi.MAP_FIXED | abi.MAP_FIXED_NOREPLACE))
    if is_fixed and addr % HPAGE_SIZE:
        raise KernelError("EINVAL", f"{addr:#x} is not the address of a huge page")
    world.sync(thread)
    at = addr if is_fixed else thread.process.memory.find_room(length, HPAGE_SIZE)
    prot = "".join(letter for bit, letter in _PROTS if args[2] & bit)
    how = {
        "is_shared": bool(flags & abi.MAP_SHARED),
        "noreplace": bool(flags & abi.MAP_FIXED_NOREPLACE),
    }
    map_at(world, thread, at, length, prot, space=space, offset=offset if space else 0, **how)
    thread.change_argument(0, addr, at)
    thread.change_argument(1, args[1], length)
    if space:
        _grow(descriptor(thread, fd), space.size)
    else:
        kept = flags & ((1 << abi.MAP_HUGE_SHIFT) - 1) & ~abi.MAP_HUGETLB
        thread.change_argument(3, flags, kept)
    return True


def _grow(path: str, size: int) -> None:
    """Let the host's file be as long as the simulated one."""
    if os.stat(path).st_size < size:
        os.truncate(path, size)


def map_at(world: World, thread: Thread, at: int, length: int, prot: str, **how: Any) -> None:
    """Map huge pages at *at*, *how* as mmap() takes it, where the host is about to map base pages.

    They are unmapped again if it does not.
    """
    task = world.task(thread)
    mmap_calls.mmap(world.machine, task, at, length, prot, hugetlb=True, **how)

    def mapped(result: int) -> None:
        if result != at:
            unmap(world.machine, task, at >> PAGE_SHIFT, at + length >> PAGE_SHIFT)

    thread.at_end = mapped


def memfd_create(world: World, thread: Thread, args: Args) -> None:
    """memfd_create(name, flags) with MFD_HUGETLB: an object of huge pages.

    On the host it is one of base pages. Raises KernelError EINVAL; ENODEV for another size.
    """
    flags = args[1] & 0xFFFFFFFF
    if flags & ~(abi.MFD_FLAGS | SIZE_MASK << abi.MAP_HUGE_SHIFT):
        raise KernelError("EINVAL", f"{flags:#x} are no flags")
    name = thread.text(args[0])
    if len(name.encode("utf-8", "surrogateescape")) > _LONGEST_NAME:
        raise KernelError("EINVAL", f"a name has at most {_LONGEST_NAME} bytes")
    if flags >> abi.MAP_HUGE_SHIFT not in HUGE_SIZES:
        raise KernelError("ENODEV", "there are huge pages of 2 MiB alone")
    thread.change_argument(1, args[1], flags & abi.MFD_FLAGS & ~abi.MFD_HUGETLB)

    def made(result: int) -> None:
        if result < 0:
            return
        path = descriptor(thread, result)
        machine, inode = world.machine, os.stat(path).st_ino
        space = AddressSpace(machine.new_id(), os.readlink(path), "hugetlbfs", 0, inode)
        machine.spaces[space.space_id] = space
        world.objects.add(space.space_id)

    thread.at_end = made
