"""System V's shared memory: segments of huge pages are of the simulated pools."""

from __future__ import annotations

import resource

from pymigrate.errors import KernelError, UnsupportedError
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.native import abi, libc
from pymigrate.native.calls.huge import HUGE_SIZES, SIZE_MASK, map_at
from pymigrate.native.calls.memory import taken_away
from pymigrate.native.objects import segment_name
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World
from pymigrate.syscalls import mmap as mmap_calls
from pymigrate.units import HPAGE_SIZE, PAGE_SHIFT, PAGE_SIZE, pages_of

Args = tuple[int, ...]


def shmget(world: World, thread: Thread, args: Args) -> None:
    """shmget(key, size, shmflg) with SHM_HUGETLB, which the host makes of base pages.

    Raises KernelError EINVAL for another size of huge pages. The segment goes if the pools have
    not enough for it: ENOMEM; or if its user may not have so much: EPERM.
    """
    key, size, flags = args[0], args[1], args[2] & 0xFFFFFFFF
    if flags >> abi.MAP_HUGE_SHIFT & SIZE_MASK not in HUGE_SIZES:
        raise KernelError("EINVAL", "there are huge pages of 2 MiB alone")
    if flags & abi.SHM_NORESERVE:
        raise UnsupportedError("huge pages with SHM_NORESERVE cannot be simulated yet")
    length = -(-size // HPAGE_SIZE) * HPAGE_SIZE
    thread.change_argument(1, size, length)
    kept = flags & ((1 << abi.MAP_HUGE_SHIFT) - 1) & ~abi.SHM_HUGETLB
    thread.change_argument(2, args[2], kept)

    def made(result: int) -> int | None:
        if result < 0 or _segment(world, result) is not None:
            return None
        try:
            _check_limit(world, thread, length)
            name = segment_name(key)
            space = mmap_calls.hugetlb_file_setup(world.machine, world.task(thread), name, length)
        except KernelError as error:
            libc.remove_segment(result)
            return -error.errno
        space.inode = result
        world.objects.add(space.space_id)
        return None

    thread.at_end = made


def shmat(world: World, thread: Thread, args: Args) -> None:
    """shmat(shmid, shmaddr, shmflg) of huge pages; the host attaches base pages in their place.

    Raises KernelError EINVAL where they cannot be attached. Mirrors do_shmat().
    """
    shmid, addr, flags = abi.signed(args[0]), args[1], args[2]
    space = _segment(world, shmid)
    if space is None:
        return
    if thread.process.borrows:
        raise UnsupportedError("huge pages in memory of a parent cannot be simulated yet")
    if not addr and flags & abi.SHM_REMAP:
        raise KernelError("EINVAL", "SHM_REMAP needs an address")
    at = addr & -PAGE_SIZE if flags & abi.SHM_RND else addr
    if at % HPAGE_SIZE:
        raise KernelError("EINVAL", f"{at:#x} is not the address of a huge page")
    world.sync(thread)
    if not at:
        at = thread.process.memory.find_room(space.size, HPAGE_SIZE)
    elif not flags & abi.SHM_REMAP:
        a = at >> PAGE_SHIFT
        if world.task(thread).mm.vmas_between(a, a + pages_of(space.size)):
            raise KernelError("EINVAL", "something is mapped there")
    prot = "r" + ("" if flags & abi.SHM_RDONLY else "w") + ("x" if flags & abi.SHM_EXEC else "")
    map_at(world, thread, at, space.size, prot, space=space, is_shared=True)
    thread.change_argument(1, addr, at)


def shmdt(world: World, thread: Thread, args: Args) -> None:
    """shmdt(shmaddr): what is mapped there goes. Mirrors ksys_shmdt()."""
    page = args[0] >> PAGE_SHIFT
    vmas = world.task(thread).mm.vmas_between(page, page + 1)
    if not args[0] % PAGE_SIZE and vmas and vmas[0].start == page:
        taken_away(world, thread, args[0], vmas[0].nr << PAGE_SHIFT)


def _segment(world: World, shmid: int) -> AddressSpace | None:
    """The segment of huge pages that the host knows by that number."""
    spaces = world.machine.spaces.values()
    return next((space for space in spaces if space.inode == shmid and space.is_segment), None)


def _check_limit(world: World, thread: Thread, length: int) -> None:
    """Mirrors can_do_hugetlb_shm() and user_shm_lock(). Raises KernelError EPERM."""
    limit = resource.prlimit(thread.tid, resource.RLIMIT_MEMLOCK)[0]
    is_root = world.note_credentials(thread).uid == 0
    if not is_root and limit != resource.RLIM_INFINITY and length > limit:
        raise KernelError("EPERM", "segments of huge pages are for root beyond RLIMIT_MEMLOCK")
