"""Numbers of Linux on x86-64: system calls, registers, and the layout of structures."""

from __future__ import annotations

# The system calls that are answered, followed, or made, by their names.
_CALLS = """
    read=0 write=1 open=2 close=3 stat=4 lstat=6 lseek=8 mmap=9 munmap=11 brk=12 pread64=17
    pwrite64=18 readv=19 writev=20 access=21 mremap=25 madvise=28 shmget=29 shmat=30 dup2=33
    sendfile=40 clone=56 vfork=58 exit=60 wait4=61 kill=62 shmdt=67 truncate=76 ftruncate=77
    getcwd=79 chdir=80 mkdir=83 rmdir=84 creat=85 readlink=89 sysinfo=99 ptrace=101
    setuid=105 setgid=106 setpgid=109 setreuid=113 setregid=114 setresuid=117 setresgid=119
    getpgid=121 setfsuid=122 setfsgid=123 getsid=124 rt_sigqueueinfo=129 personality=135
    statfs=137 fstatfs=138 getpriority=140 setpriority=141 sched_setparam=142
    sched_getparam=143 sched_setscheduler=144 sched_getscheduler=145
    sched_rr_get_interval=148 mlock=149 munlock=150 mlockall=151 munlockall=152 prctl=157
    getxattr=191 lgetxattr=192 listxattr=194 llistxattr=195 tkill=200 sched_setaffinity=203
    sched_getaffinity=204 exit_group=231 tgkill=234 mbind=237 set_mempolicy=238
    get_mempolicy=239 inotify_add_watch=254 migrate_pages=256 openat=257 mkdirat=258
    newfstatat=262 unlinkat=263 readlinkat=267 faccessat=269 get_robust_list=274 splice=275
    move_pages=279 fallocate=285 dup3=292 preadv=295 pwritev=296 rt_tgsigqueueinfo=297
    prlimit64=302 getcpu=309 process_vm_readv=310 process_vm_writev=311 kcmp=312
    sched_setattr=314 sched_getattr=315 seccomp=317 memfd_create=319 mlock2=325
    copy_file_range=326 preadv2=327 pwritev2=328 statx=332 rseq=334 io_uring_setup=425
    pidfd_open=434 clone3=435 close_range=436 openat2=437 faccessat2=439 process_madvise=440
    set_mempolicy_home_node=450
"""
CALLS = {name: int(number) for name, _, number in (w.partition("=") for w in _CALLS.split())}

AUDIT_ARCH = 0xC000003E
ADDRESS_BITS = 47  # of user space
STAT_UID = 28  # the offset of st_uid in struct stat

# Registers, as the user area numbers their words.
IN_SETS = False
RETURNED, NUMBER, CALL, IP, SP = 10, 10, 15, 16, 19  # rax, rax, orig_rax, rip, rsp
ARGUMENTS = (14, 13, 12, 7, 9, 8)  # rdi, rsi, rdx, r10, r8, r9
CALL_LENGTH = 2  # of the instruction syscall

# The vDSO's getcpu(), replaced: mov $309, %eax; syscall; ret.
GETCPU_CODE = bytes.fromhex("b8350100000f05c3")
