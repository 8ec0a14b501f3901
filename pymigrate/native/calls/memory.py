"""The calls that take memory away, or say how it is to be used: followed, and passed on."""

from __future__ import annotations

import re
import struct
from contextlib import suppress

from pymigrate.errors import KernelError, UnsupportedError
from pymigrate.mm.base.advice import Madv
from pymigrate.native import abi
from pymigrate.native.hostmem import read_file
from pymigrate.native.sync import unmap
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World
from pymigrate.syscalls import mmap as mmap_calls
from pymigrate.uapi import MREMAP_FIXED, MREMAP_MAYMOVE
from pymigrate.units import PAGE_SHIFT, PAGE_SIZE, pages_of

Args = tuple[int, ...]
# Advice that the host need not know of: contents stay, and places are the simulated machine's.
_ANSWERED = frozenset(
    {
        Madv.HUGEPAGE,
        Madv.NOHUGEPAGE,
        Madv.MERGEABLE,
        Madv.UNMERGEABLE,
        Madv.COLD,
        Madv.PAGEOUT,
        Madv.COLLAPSE,
        Madv.HWPOISON,
        Madv.SOFT_OFFLINE,
    }
)
_MAX_RANGES, _MAX_BYTES = 1024, 0x7FFFF000  # of process_madvise(): UIO_MAXIOV, MAX_RW_COUNT
# Advice that is followed here and there; whether it is refused the host says.
_FOLLOWED = frozenset(
    {
        Madv.NORMAL,
        Madv.RANDOM,
        Madv.SEQUENTIAL,
        Madv.DONTNEED,
        Madv.FREE,
        Madv.DONTFORK,
        Madv.DOFORK,
    }
)


def munmap(world: World, thread: Thread, args: Args) -> None:
    """munmap(addr, len)."""
    taken_away(world, thread, args[0], args[1])


def mmap(world: World, thread: Thread, args: Args) -> None:
    """mmap(addr, len, prot, flags, fd, offset), at a fixed address, of a file or of huge pages."""
    flags = args[3]
    if flags & abi.MAP_HUGETLB or (world.objects and not flags & abi.MAP_ANONYMOUS):
        from pymigrate.native.calls import huge  # few programs need it

        if huge.mmap(world, thread, args):
            return
    if flags & abi.MAP_FIXED and not flags & abi.MAP_FIXED_NOREPLACE:
        taken_away(world, thread, args[0], args[1])


def brk(world: World, thread: Thread, args: Args) -> None:
    """brk(addr): a heap that becomes smaller loses its end."""
    task = world.task(thread)
    end, new = task.mm.brk[1], pages_of(args[0])
    if task.mm.brk[0] <= new < end:
        taken_away(world, thread, new << PAGE_SHIFT, end - new << PAGE_SHIFT)


def mremap(world: World, thread: Thread, args: Args) -> None:
    """mremap(old_address, old_size, new_size, flags, new_address), once the host has done it.

    Mappings of the host have no policies, so what these refuse is refused first.
    """
    old, old_size, new_size, flags, new = args[:5]
    if not _is_known(thread):
        return
    from pymigrate.syscalls import mremap as mremap_calls  # few programs need it

    if flags & MREMAP_FIXED:
        world.sync_range(thread, new, new_size)
    world.sync_range(thread, old, old_size)
    task = world.task(thread)
    if not task.mm.has_hole(old >> PAGE_SHIFT, (old + old_size) >> PAGE_SHIFT):
        mremap_calls.check_mremap(task, old, old_size, new_size, flags, new)

    def moved(result: int) -> None:
        if not 0 <= result < abi.TASK_SIZE:
            return
        how = flags if result == old else flags | MREMAP_MAYMOVE | MREMAP_FIXED
        with suppress(KernelError):
            mremap_calls.mremap(world.machine, task, old, old_size, new_size, how, new_addr=result)
        for start, size in ((old, old_size), (result, new_size)):
            a = start >> PAGE_SHIFT
            thread.process.memory.unmapped(a, a + pages_of(size))

    thread.at_end = moved


def madvise(world: World, thread: Thread, args: Args) -> int | None:
    """madvise(addr, length, advice)."""
    addr, length, advice = args[:3]
    advice &= 0xFFFFFFFF
    if advice not in _ANSWERED and (advice not in _FOLLOWED or not _is_known(thread)):
        return None
    from pymigrate.syscalls import madvise as advice_calls  # few programs need it

    world.sync_range(thread, addr & -PAGE_SIZE, min(length, 1 << 47))
    thread.process.memory.changed()
    if advice in _ANSWERED:
        task = world.note_credentials(thread)
        advice_calls.madvise(world.machine, task, addr, length, advice)
        return 0
    with suppress(KernelError):
        advice_calls.madvise(world.machine, world.task(thread), addr, length, advice)
    return None


def mlock(world: World, thread: Thread, args: Args) -> None:
    """mlock(addr, len) and mlock2(addr, len, flags), once the host has done it."""

    def locked(result: int) -> None:
        if not result:
            with suppress(KernelError):
                world.sync_range(thread, args[0] & -PAGE_SIZE, args[1] + PAGE_SIZE)
                mmap_calls.mlock(world.machine, world.task(thread), args[0], args[1])

    thread.at_end = locked


def munlock(world: World, thread: Thread, args: Args) -> None:
    """munlock(addr, len)."""
    if _is_known(thread):
        with suppress(KernelError):
            mmap_calls.munlock(world.machine, world.task(thread), args[0], args[1])


def mlockall(world: World, thread: Thread, args: Args) -> None:
    """mlockall(flags), once the host has done it."""

    def locked(result: int) -> None:
        if result:
            return
        world.sync(thread)
        with suppress(KernelError):
            mmap_calls.mlockall(world.machine, world.task(thread), args[0])

    thread.at_end = locked


def munlockall(world: World, thread: Thread, _: Args) -> None:
    """munlockall()."""
    if _is_known(thread):
        mmap_calls.munlockall(world.machine, world.task(thread))


def process_madvise(world: World, thread: Thread, args: Args) -> int | None:
    """process_madvise(pidfd, vec, vlen, advice, flags)."""
    pidfd, vec, vlen, advice, flags = args[:5]
    if flags & 0xFFFFFFFF:
        raise KernelError("EINVAL", f"{flags:#x} are no flags")
    ranges = _ranges(thread, vec, vlen)
    target = _of_pidfd(world, thread, pidfd & 0xFFFFFFFF)
    from pymigrate.syscalls import madvise as advice_calls  # few programs need it

    caller, task = world.note_credentials(thread), world.note_credentials(target)
    advice = abi.signed(advice)
    is_own = world.machine.release.advises_itself and caller.mm is task.mm
    if advice == Madv.WILLNEED or (is_own and advice in _FOLLOWED):
        raise UnsupportedError(f"advice {advice} of process_madvise cannot be simulated yet")
    world.sync(target)
    target.process.memory.changed()
    return advice_calls.process_madvise(world.machine, caller, task, ranges, advice)


def _ranges(thread: Thread, vec: int, vlen: int) -> list[tuple[int, int]]:
    """Addresses and lengths of a struct iovec[]. Mirrors import_iovec().

    Raises KernelError EINVAL, EFAULT.
    """
    if vlen > _MAX_RANGES:
        raise KernelError("EINVAL", f"{vlen} ranges are too many")
    found = list(struct.iter_unpack("=QQ", thread.read(vec, 16 * vlen)) if vlen else ())
    left = _MAX_BYTES
    ranges = []
    for addr, length in found:
        if length >> 63:
            raise KernelError("EINVAL", "a length is negative")
        if addr + length > abi.TASK_SIZE:
            raise KernelError("EFAULT", f"{addr:#x} is no address of a process")
        ranges.append((addr, min(length, left)))
        left -= ranges[-1][1]
    return ranges


def _of_pidfd(world: World, thread: Thread, pidfd: int) -> Thread:
    """The traced thread that a descriptor means. Raises KernelError EBADF, ESRCH."""
    try:
        text = read_file(f"/proc/{thread.tid}/fdinfo/{pidfd}")
    except OSError:
        text = b""
    match = re.search(rb"^Pid:\t(-?\d+)$", text, re.MULTILINE)
    if match is None:
        raise KernelError("EBADF", f"{pidfd} is no descriptor of a process")
    found = world.threads.get(int(match[1]))
    if found is None:
        raise KernelError("ESRCH", "the process has ended, or is none of the machine")
    return found


def _is_known(thread: Thread) -> bool:
    """Whether anything of its memory was looked at."""
    return not thread.process.is_new and not thread.process.borrows


def taken_away(world: World, thread: Thread, addr: int, length: int) -> None:
    """Pages of a range go: they were there until now."""
    process = thread.process
    if addr % PAGE_SIZE or not length or addr + length > abi.TASK_SIZE or not _is_known(thread):
        return
    task = world.task(thread)
    world.sync_range(thread, addr, length)
    a, b = addr >> PAGE_SHIFT, (addr >> PAGE_SHIFT) + pages_of(length)
    process.memory.unmapped(a, b)
    if task.mm.vmas_between(a, b):
        unmap(world.machine, task, a, b)
