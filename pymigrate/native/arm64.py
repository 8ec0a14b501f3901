"""Numbers of Linux on arm64: system calls, registers, and the layout of structures."""

from __future__ import annotations

# The system calls that are answered, followed, or made, by their names.
_CALLS = """
    getxattr=8 lgetxattr=9 listxattr=11 llistxattr=12 getcwd=17 dup3=24 inotify_add_watch=27
    mkdirat=34 unlinkat=35 statfs=43 fstatfs=44 truncate=45 ftruncate=46 fallocate=47
    faccessat=48 chdir=49 openat=56 close=57 lseek=62 read=63 write=64 readv=65 writev=66
    pread64=67 pwrite64=68 preadv=69 pwritev=70 sendfile=71 splice=76 readlinkat=78
    newfstatat=79 personality=92 exit=93 exit_group=94 get_robust_list=100 ptrace=117
    sched_setparam=118 sched_setscheduler=119 sched_getscheduler=120 sched_getparam=121
    sched_setaffinity=122 sched_getaffinity=123 sched_rr_get_interval=127 kill=129 tkill=130
    tgkill=131 rt_sigqueueinfo=138 setpriority=140 getpriority=141 setregid=143 setgid=144
    setreuid=145 setuid=146 setresuid=147 setresgid=149 setfsuid=151 setfsgid=152
    setpgid=154 getpgid=155 getsid=156 prctl=167 getcpu=168 sysinfo=179 shmget=194 shmat=196
    shmdt=197 brk=214 munmap=215 mremap=216 clone=220 mmap=222 mlock=228 munlock=229
    mlockall=230 munlockall=231 madvise=233 mbind=235 get_mempolicy=236 set_mempolicy=237
    migrate_pages=238 move_pages=239 rt_tgsigqueueinfo=240 wait4=260 prlimit64=261
    process_vm_readv=270 process_vm_writev=271 kcmp=272 sched_setattr=274 sched_getattr=275
    seccomp=277 memfd_create=279 mlock2=284 copy_file_range=285 preadv2=286 pwritev2=287
    statx=291 rseq=293 io_uring_setup=425 pidfd_open=434 clone3=435 close_range=436
    openat2=437 faccessat2=439 process_madvise=440 set_mempolicy_home_node=450
"""
CALLS = {name: int(number) for name, _, number in (w.partition("=") for w in _CALLS.split())}

AUDIT_ARCH = 0xC00000B7
ADDRESS_BITS = 48  # of user space, as distributions build it
STAT_UID = 24  # the offset of st_uid in struct stat

# Registers, as struct user_pt_regs numbers them; the number of the call that a thread is in has a
# set of its own.
IN_SETS = True
RETURNED, NUMBER, CALL, IP, SP = 0, 8, -1, 32, 31  # x0, x8, -, pc, sp
ARGUMENTS = (0, 1, 2, 3, 4, 5)
CALL_LENGTH = 4  # of the instruction svc

GETCPU_CODE = b""  # the vDSO has no getcpu()
