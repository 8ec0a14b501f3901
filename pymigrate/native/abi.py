"""What the kernel's interface to x86-64 programs and their tracers consists of: numbers."""

AUDIT_ARCH_X86_64 = 0xC000003E
X32_BIT = 0x40000000  # of the numbers of the x32 ABI

# The system calls that are answered or followed, by their names.
CALLS = {
    "open": 2,
    "stat": 4,
    "lstat": 6,
    "lseek": 8,
    "mmap": 9,
    "munmap": 11,
    "brk": 12,
    "pread64": 17,
    "access": 21,
    "mremap": 25,
    "madvise": 28,
    "shmget": 29,
    "shmat": 30,
    "kill": 62,
    "shmdt": 67,
    "truncate": 76,
    "ftruncate": 77,
    "getcwd": 79,
    "chdir": 80,
    "mkdir": 83,
    "rmdir": 84,
    "creat": 85,
    "readlink": 89,
    "sysinfo": 99,
    "setuid": 105,
    "setgid": 106,
    "setreuid": 113,
    "setregid": 114,
    "setresuid": 117,
    "setresgid": 119,
    "setfsuid": 122,
    "setfsgid": 123,
    "statfs": 137,
    "fstatfs": 138,
    "mlock": 149,
    "munlock": 150,
    "mlockall": 151,
    "munlockall": 152,
    "prctl": 157,
    "getxattr": 191,
    "lgetxattr": 192,
    "listxattr": 194,
    "llistxattr": 195,
    "tkill": 200,
    "sched_setaffinity": 203,
    "sched_getaffinity": 204,
    "exit_group": 231,
    "tgkill": 234,
    "mbind": 237,
    "set_mempolicy": 238,
    "get_mempolicy": 239,
    "inotify_add_watch": 254,
    "migrate_pages": 256,
    "openat": 257,
    "mkdirat": 258,
    "newfstatat": 262,
    "unlinkat": 263,
    "readlinkat": 267,
    "faccessat": 269,
    "move_pages": 279,
    "fallocate": 285,
    "getcpu": 309,
    "memfd_create": 319,
    "mlock2": 325,
    "statx": 332,
    "pidfd_open": 434,
    "openat2": 437,
    "faccessat2": 439,
    "process_madvise": 440,
    "set_mempolicy_home_node": 450,
}
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
# Calls on other processes that are not simulated, and which argument names one.
ON_OTHERS = {
    "ptrace": (101, 1),
    "setpgid": (109, 0),
    "getpgid": (121, 0),
    "getsid": (124, 0),
    "rt_sigqueueinfo": (129, 0),
    "getpriority": (140, 1),
    "setpriority": (141, 1),
    "sched_setparam": (142, 0),
    "sched_getparam": (143, 0),
    "sched_setscheduler": (144, 0),
    "sched_getscheduler": (145, 0),
    "sched_rr_get_interval": (148, 0),
    "get_robust_list": (274, 0),
    "rt_tgsigqueueinfo": (297, 0),
    "prlimit64": (302, 0),
    "process_vm_readv": (310, 0),
    "process_vm_writev": (311, 0),
    "kcmp": (312, 0),
    "sched_setattr": (314, 0),
    "sched_getattr": (315, 0),
}
CALLS |= {name: number for name, (number, _) in ON_OTHERS.items()}
# Those that write to a descriptor, or change what descriptors there are: seen only while a process
# may write to an answered file.
WRITE, WRITEV, PWRITE64, PWRITEV, PWRITEV2 = 1, 20, 18, 296, 328
NAMES = {number: name for name, number in CALLS.items()}
NAMES |= {WRITE: "write", WRITEV: "writev", PWRITE64: "pwrite64", PWRITEV: "pwritev"}
NAMES[PWRITEV2] = "pwritev2"
READ, MMAP, PREAD64, READV, PREADV, PREADV2 = 0, 9, 17, 19, 295, 327
SENDFILE, SPLICE, COPY_FILE_RANGE = 40, 275, 326
CLOSE, DUP2, DUP3, CLOSE_RANGE = 3, 33, 292, 436
CLONE, VFORK, CLONE3, EXIT, WAIT4 = 56, 58, 435, 60, 61
WALL = 0x40000000  # whatever signal tells of its end
CLONE_VM, CLONE_PARENT, CLONE_THREAD = 0x100, 0x8000, 0x10000
# That are refused without a stop: glibc reads the CPU from what rseq registers; what is done in an
# io_uring no tracer sees.
REFUSED = (334, 425)

NR_ARGUMENTS = {name: nr for nr, names in _NR_ARGUMENTS.items() for name in names.split()}

# Registers, as the user area numbers their words.
WORD = 8
RAX, ORIG_RAX, RIP, RSP = 10, 15, 16, 19
ARGUMENTS = (14, 13, 12, 7, 9, 8)  # rdi, rsi, rdx, r10, r8, r9
CALL_LENGTH = 2  # of the instruction syscall
RED_ZONE = 128  # bytes below the stack pointer that a function may use

# The vDSO's getcpu(), replaced: mov $309, %eax; syscall; ret.
GETCPU_CODE = bytes.fromhex("b8350100000f05c3")

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
TASK_COMM_LEN = 16
TASK_SIZE = (1 << 47) - 4096


def signed(value: int, bits: int = 32) -> int:
    """The lowest *bits* of a register as a signed number.

    >>> signed(0xFFFFFFFF), signed(3)
    (-1, 3)
    """
    value &= (1 << bits) - 1
    return value - (value >> (bits - 1) << bits)
