"""What the kernel's interface to programs and their tracers consists of: numbers.

Those that depend on the processor are of the host's.
"""

from __future__ import annotations

import os

from pymigrate.native import arm64, x86_64

MACHINES = {"x86_64": x86_64, "AMD64": x86_64, "aarch64": arm64, "arm64": arm64}
_host = MACHINES.get(os.uname().machine if hasattr(os, "uname") else "", x86_64)
NO_CALL = -1  # what this processor has not
WORD = 8
ADDRESS_BITS: int = _host.ADDRESS_BITS
AUDIT_ARCH, STAT_UID = _host.AUDIT_ARCH, _host.STAT_UID
IN_SETS, CALL_LENGTH, GETCPU_CODE = _host.IN_SETS, _host.CALL_LENGTH, _host.GETCPU_CODE
RETURNED, NUMBER, CALL, IP, SP = _host.RETURNED, _host.NUMBER, _host.CALL, _host.IP, _host.SP
ARGUMENTS = _host.ARGUMENTS
X32_BIT = 0x40000000  # of the numbers of the x32 ABI
RED_ZONE = 128  # bytes below the stack pointer that a function may use

# How many arguments those have that have not three.
_NR_ARGUMENTS = {
    0: "munlockall",
    1: "brk chdir exit_group getpgid getsid mlockall rmdir sched_getscheduler"
    " setfsgid setfsuid setgid setuid sysinfo",
    2: "access creat fstatfs ftruncate getcwd getpriority kill listxattr llistxattr lstat"
    " memfd_create mkdir mlock munlock munmap pidfd_open sched_getparam sched_rr_get_interval"
    " sched_setparam setpgid setregid setreuid stat statfs tkill truncate",
    4: "faccessat2 fallocate getxattr lgetxattr migrate_pages newfstatat openat openat2 prlimit64"
    " pread64 ptrace pwrite64 readlinkat rt_tgsigqueueinfo sched_getattr set_mempolicy_home_node",
    5: "get_mempolicy kcmp mremap prctl process_madvise pwritev statx",
    6: "mbind mmap move_pages process_vm_readv process_vm_writev pwritev2",
}
NR_ARGUMENTS = {name: nr for nr, names in _NR_ARGUMENTS.items() for name in names.split()}

# Calls on other processes that are not simulated, and which argument names one.
ON_OTHERS = {
    "ptrace": 1,
    "setpgid": 0,
    "getpgid": 0,
    "getsid": 0,
    "rt_sigqueueinfo": 0,
    "getpriority": 1,
    "setpriority": 1,
    "sched_setparam": 0,
    "sched_getparam": 0,
    "sched_setscheduler": 0,
    "sched_getscheduler": 0,
    "sched_rr_get_interval": 0,
    "get_robust_list": 0,
    "rt_tgsigqueueinfo": 0,
    "prlimit64": 0,
    "process_vm_readv": 0,
    "process_vm_writev": 0,
    "kcmp": 0,
    "sched_setattr": 0,
    "sched_getattr": 0,
}


def _numbers(names: str) -> list[int]:
    """The numbers of calls; NO_CALL for those that this processor has not."""
    return [_host.CALLS.get(name, NO_CALL) for name in names.split()]


# Those that write to a descriptor, or change what descriptors there are: seen only while a process
# may write to an answered file.
WRITE, WRITEV, PWRITE64, PWRITEV, PWRITEV2 = _numbers("write writev pwrite64 pwritev pwritev2")
READ, MMAP, PREAD64, READV, PREADV, PREADV2 = _numbers("read mmap pread64 readv preadv preadv2")
SENDFILE, SPLICE, COPY_FILE_RANGE = _numbers("sendfile splice copy_file_range")
CLOSE, DUP2, DUP3, CLOSE_RANGE = _numbers("close dup2 dup3 close_range")
CLONE, VFORK, CLONE3, EXIT, WAIT4 = _numbers("clone vfork clone3 exit wait4")
PERSONALITY, SECCOMP = _numbers("personality seccomp")
# That are refused without a stop: glibc reads the CPU from what rseq registers; what is done in an
# io_uring no tracer sees.
REFUSED = _numbers("rseq io_uring_setup")
_UNSTOPPED = {
    *(WRITE, WRITEV, PWRITE64, PWRITEV, PWRITEV2, READ, READV, PREADV, PREADV2),
    *(SENDFILE, SPLICE, COPY_FILE_RANGE, CLOSE, DUP2, DUP3, CLOSE_RANGE),
    *(CLONE, VFORK, CLONE3, EXIT, WAIT4, PERSONALITY, SECCOMP, *REFUSED),
}
NAMES = {number: name for name, number in _host.CALLS.items()}
# The calls that stop for the tracer.
CALLS = {name: number for name, number in _host.CALLS.items() if number not in _UNSTOPPED}
WALL = 0x40000000  # whatever signal tells of its end
CLONE_VM, CLONE_PARENT, CLONE_THREAD = 0x100, 0x8000, 0x10000

AT_FDCWD = 0xFFFFFF9C  # as an unsigned int
AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR, AT_EMPTY_PATH = 0x100, 0x200, 0x1000
MAP_SHARED, MAP_FIXED, MAP_ANONYMOUS = 0x1, 0x10, 0x20
MAP_HUGETLB, MAP_FIXED_NOREPLACE, MAP_HUGE_SHIFT = 0x40000, 0x100000, 26
MAP_DENYWRITE, MAP_NORESERVE = 0x800, 0x4000
NO_FD = 0xFFFFFFFF  # as an unsigned int
MAP_SEGMENT = 0x812  # MAP_PRIVATE | MAP_FIXED | MAP_DENYWRITE: what ld.so asks for
MFD_HUGETLB, SHM_HUGETLB = 0x4, 0x800
SHM_NORESERVE, SHM_RDONLY, SHM_RND, SHM_REMAP, SHM_EXEC = 0x1000, 0x1000, 0x2000, 0x4000, 0x8000
IPC_RMID = 0
MFD_FLAGS = 0x1F  # what memfd_create() knows, but the size of huge pages
FALLOC_FL_PUNCH_HOLE = 0x2
PR_SET_DUMPABLE, PR_GET_DUMPABLE = 4, 3
AT_EXECFN, AT_SYSINFO_EHDR = 31, 33
TASK_SIZE = (1 << ADDRESS_BITS) - 4096


def signed(value: int, bits: int = 32) -> int:
    """The lowest *bits* of a register as a signed number.

    >>> signed(0xFFFFFFFF), signed(3)
    (-1, 3)
    """
    value &= (1 << bits) - 1
    return value - (value >> (bits - 1) << bits)
