"""Which function answers or follows which system call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module

from pymigrate.native import abi
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World

# Gives what the call returns; None: the host answers it. What is refused is a KernelError.
Handler = Callable[[World, Thread, tuple[int, ...]], "int | None"]


# Those after which memory is no more what a child has still to get a copy of.
_OF_MEMORY: dict[str, str] = {
    "brk": "memory.brk",
    "fallocate": "truncate.fallocate",
    "ftruncate": "truncate.ftruncate",
    "get_mempolicy": "numa.get_mempolicy",
    "madvise": "memory.madvise",
    "mbind": "numa.mbind",
    "memfd_create": "huge.memfd_create",
    "migrate_pages": "numa.migrate_pages",
    "mlock": "memory.mlock",
    "mlock2": "memory.mlock",
    "mlockall": "memory.mlockall",
    "mmap": "memory.mmap",
    "move_pages": "numa.move_pages",
    "mremap": "memory.mremap",
    "munlock": "memory.munlock",
    "munlockall": "memory.munlockall",
    "munmap": "memory.munmap",
    "process_madvise": "memory.process_madvise",
    "set_mempolicy": "numa.set_mempolicy",
    "set_mempolicy_home_node": "numa.set_mempolicy_home_node",
    "shmat": "shm.shmat",
    "shmdt": "shm.shmdt",
    "shmget": "shm.shmget",
    "truncate": "truncate.truncate",
}
_BY_NAME: dict[str, str] = {
    "access": "files.name",
    "chdir": "files.name",
    "creat": "files.creat",
    "exit_group": "system.exit_group",
    "faccessat": "files.faccessat",
    "faccessat2": "files.faccessat2",
    "fstatfs": "files.fstatfs",
    "getcpu": "numa.getcpu",
    "getcwd": "files.getcwd",
    "getxattr": "files.name",
    "inotify_add_watch": "files.second_name",
    "kill": "cgroups.kill",
    "lgetxattr": "files.link_name",
    "listxattr": "files.name",
    "llistxattr": "files.link_name",
    "lseek": "files.read_again",
    "lstat": "files.lstat",
    "mkdir": "cgroups.mkdir",
    "mkdirat": "cgroups.mkdirat",
    "newfstatat": "files.newfstatat",
    "open": "files.open_",
    "openat": "files.openat",
    "openat2": "files.openat2",
    "pidfd_open": "cgroups.pidfd_open",
    "prctl": "system.prctl",
    "pread64": "files.read_again",
    "readlink": "files.readlink",
    "readlinkat": "files.readlinkat",
    "rmdir": "cgroups.rmdir",
    "sched_getaffinity": "numa.sched_getaffinity",
    "sched_setaffinity": "numa.sched_setaffinity",
    **dict.fromkeys(
        "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid".split(),
        "system.set_ids",
    ),
    "stat": "files.stat",
    "statfs": "files.statfs",
    "statx": "files.statx",
    "sysinfo": "system.sysinfo",
    "tgkill": "cgroups.tgkill",
    "tkill": "cgroups.kill",
    "unlinkat": "cgroups.unlinkat",
}


class _Handlers(dict[int, Handler]):
    """The handlers by the numbers of their calls: a program needs few of them."""

    def __missing__(self, number: int) -> Handler:
        self[number] = handler = _handler(abi.NAMES[number])
        return handler


HANDLERS = _Handlers()


def _handler(name: str) -> Handler:
    if name in abi.ON_OTHERS:
        from pymigrate.native.calls import cgroups

        return partial(cgroups.on_other, abi.ON_OTHERS[name])
    module, _, function = (_OF_MEMORY.get(name) or _BY_NAME[name]).partition(".")
    handler: Handler = getattr(import_module(f"pymigrate.native.calls.{module}"), function)
    return partial(_of_memory, handler) if name in _OF_MEMORY else handler


def _of_memory(handler: Handler, world: World, thread: Thread, args: tuple[int, ...]) -> int | None:
    world.part(thread.process)
    return handler(world, thread, args)
