"""Whether programs can be traced here; if not, why not, in one line."""

from __future__ import annotations

import os
import sys

from pymigrate.errors import UnsupportedError
from pymigrate.native import abi
from pymigrate.units import PAGE_SIZE

_OLDEST = (5, 4)  # PTRACE_GET_SYSCALL_INFO came with 5.3
_ELSE = "`pymigrate exec --shims` runs commands that find numactl's programs alone"


def check_support() -> None:
    """Raise UnsupportedError where real programs cannot be run on the simulated machine."""
    why = obstacle()
    if why:
        raise UnsupportedError(f"exec cannot trace programs: {why}; {_ELSE}")


def obstacle() -> str:
    """Why programs cannot be traced here; "" if they can."""
    if sys.platform != "linux":
        from platform import system  # programs start faster without it

        return f"this is {system() or sys.platform}, not Linux"
    if why := _kind(os.uname()):
        return why
    scope = _read("/proc/sys/kernel/yama/ptrace_scope")
    if scope == "2" and os.geteuid():
        return "kernel.yama.ptrace_scope is 2, which allows it to root alone"
    if scope == "3":
        return "kernel.yama.ptrace_scope is 3, which forbids it"
    if not os.path.exists("/proc/sys/kernel/seccomp/actions_avail"):
        return "the kernel has no seccomp filters"
    if "trace" not in _read("/proc/sys/kernel/seccomp/actions_avail").split():
        return "the kernel's seccomp filters cannot stop for a tracer"
    if _is_traced():
        return "pymigrate is being traced itself, by strace, a debugger, or another exec"
    return ""


def _kind(host: os.uname_result) -> str:
    """What is wrong with the processor, or the version of the kernel."""
    if host.machine not in abi.MACHINES:
        return f"the processor is {host.machine}, neither x86-64 nor arm64"
    if sys.maxsize < 1 << 32:
        return "this Python is a 32-bit program"
    if (size := os.sysconf("SC_PAGE_SIZE")) != PAGE_SIZE:
        return f"the host's pages have {size} bytes, not {PAGE_SIZE}"
    words = host.release.split(".")
    release = tuple(int("".join(c for c in word if c.isdigit()) or 0) for word in words[:2])
    return f"Linux {host.release} is older than 5.4" if release < _OLDEST else ""


def _is_traced() -> bool:
    lines = _read("/proc/self/status").splitlines()
    return any(line.startswith("TracerPid:") and line.split()[1] != "0" for line in lines)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
