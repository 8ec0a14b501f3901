"""Which function answers or follows which system call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pymigrate.native import abi
from pymigrate.native.calls import cgroups, files, memory, numa, system
from pymigrate.native.tracee import Thread
from pymigrate.native.world import World

# Gives what the call returns; None: the host answers it. What is refused is a KernelError.
Handler = Callable[[World, Thread, tuple[int, ...]], "int | None"]


_BY_NAME: dict[str, Handler] = {
    "access": files.name,
    "brk": memory.brk,
    "chdir": files.name,
    "creat": files.creat,
    "faccessat": files.faccessat,
    "faccessat2": files.faccessat2,
    "fstatfs": files.fstatfs,
    "get_mempolicy": numa.get_mempolicy,
    "getcpu": numa.getcpu,
    "getcwd": files.getcwd,
    "getxattr": files.name,
    "inotify_add_watch": files.second_name,
    "kill": cgroups.kill,
    "lgetxattr": files.link_name,
    "listxattr": files.name,
    "llistxattr": files.link_name,
    "lseek": files.read_again,
    "lstat": files.lstat,
    "madvise": memory.madvise,
    "mbind": numa.mbind,
    "memfd_create": memory.hugetlb_object,
    "migrate_pages": numa.migrate_pages,
    "mkdir": cgroups.mkdir,
    "mkdirat": cgroups.mkdirat,
    "mlock": memory.mlock,
    "mlock2": memory.mlock,
    "mlockall": memory.mlockall,
    "mmap": memory.mmap,
    "move_pages": numa.move_pages,
    "mremap": memory.mremap,
    "munlock": memory.munlock,
    "munlockall": memory.munlockall,
    "munmap": memory.munmap,
    "newfstatat": files.newfstatat,
    "open": files.open_,
    "openat": files.openat,
    "openat2": files.openat2,
    "pidfd_open": cgroups.pidfd_open,
    "prctl": system.prctl,
    "pread64": files.read_again,
    "process_madvise": memory.process_madvise,
    "readlink": files.readlink,
    "readlinkat": files.readlinkat,
    "rmdir": cgroups.rmdir,
    "sched_getaffinity": numa.sched_getaffinity,
    "sched_setaffinity": numa.sched_setaffinity,
    "set_mempolicy": numa.set_mempolicy,
    "set_mempolicy_home_node": numa.set_mempolicy_home_node,
    "shmget": memory.hugetlb_object,
    "stat": files.stat,
    "statfs": files.statfs,
    "statx": files.statx,
    "sysinfo": system.sysinfo,
    "tgkill": cgroups.tgkill,
    "tkill": cgroups.kill,
    "unlinkat": cgroups.unlinkat,
}
_BY_NAME |= {
    name: partial(cgroups.on_other, position) for name, (_, position) in abi.ON_OTHERS.items()
}
HANDLERS: dict[int, Handler] = {number: _BY_NAME[name] for name, number in abi.CALLS.items()}
