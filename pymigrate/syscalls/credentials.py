"""What a caller may do: to files that are root's, and to other processes."""

from pymigrate.errors import KernelError
from pymigrate.mm.base.cred import Cap
from pymigrate.mm.state.task import Task


def check_root(caller: Task, why: str) -> None:
    """Let root write what the file system keeps for root; anyone else gets KernelError EACCES."""
    if caller.uid:
        raise KernelError("EACCES", why)


def check_access(caller: Task, target: Task) -> None:
    """Let *caller* read *target*'s memory layout, or raise KernelError EPERM.

    CAP_SYS_PTRACE allows it all; CAP_SYS_NICE does not help. Mirrors __ptrace_may_access() with
    PTRACE_MODE_READ_REALCREDS, and cap_ptrace_access_check().
    """
    if caller.pid == target.pid or caller.has(Cap.SYS_PTRACE):
        return
    if caller.uid != target.uid:
        why = f"uid {caller.uid} may not inspect process {target.pid} of uid {target.uid}"
    elif not target.is_dumpable:
        why = f"process {target.pid} is not dumpable"
    elif target.capabilities & ~caller.capabilities:
        why = f"process {target.pid} has capabilities that the caller has not"
    else:
        return
    raise KernelError("EPERM", f"{why} (ptrace access; CAP_SYS_PTRACE would allow it)")
