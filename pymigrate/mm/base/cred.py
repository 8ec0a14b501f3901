"""The capabilities that a rule of migration asks for."""

from enum import IntFlag


class Cap(IntFlag):
    """Capabilities as bits, numbered as in linux/capability.h."""

    SYS_PTRACE = 1 << 19  # inspect any process
    SYS_ADMIN = 1 << 21  # take pages out of use
    SYS_NICE = 1 << 23  # move shared pages, and pages to nodes outside the target's cpuset


CAP_NONE = 0
CAP_FULL = (1 << 41) - 1  # what root has
NAMES = {"sys_ptrace": Cap.SYS_PTRACE, "sys_nice": Cap.SYS_NICE}
