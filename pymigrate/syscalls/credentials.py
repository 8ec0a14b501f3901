"""Who may do what to whom."""

from pymigrate.errors import KernelError
from pymigrate.mm.machine import Task


def check_access(caller: Task, target: Task) -> None:
    """Let *caller* read *target*'s memory layout, or raise KernelError EPERM.

    Mirrors ptrace_may_access() with PTRACE_MODE_READ_REALCREDS. Tasks of one uid may; CAP_SYS_NICE
    does not help.
    """
    if caller.pid == target.pid or caller.is_capable or caller.uid == target.uid:
        return
    raise KernelError(
        "EPERM",
        f"uid {caller.uid} may not inspect process {target.pid} of uid {target.uid}"
        " (ptrace access; CAP_SYS_PTRACE would allow it)",
    )
