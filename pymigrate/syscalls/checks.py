"""What calls check first: what the caller may do, and the range of addresses that it gives."""

from pymigrate.errors import KernelError
from pymigrate.mm.state.task import Cap, Task
from pymigrate.units import PAGE_SHIFT, pages_of

_ADDRESS_BITS = 64


def check_root(caller: Task, why: str) -> None:
    """Let root write what the file system keeps for root; anyone else gets KernelError EACCES."""
    if caller.uid:
        raise KernelError("EACCES", why)


def check_access(caller: Task, target: Task) -> None:
    """Let *caller* read *target*'s memory layout, or raise KernelError EPERM.

    CAP_SYS_PTRACE allows it all; CAP_SYS_NICE does not help. Mirrors __ptrace_may_access() with
    PTRACE_MODE_READ_REALCREDS, and cap_ptrace_access_check().
    """
    if caller.tgid == target.tgid or caller.has(Cap.SYS_PTRACE):
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


def checked_range(addr: int, length: int) -> tuple[int, int]:
    """The pages [a, b) that a call is given: *length* bytes from *addr*, which is aligned.

    Raises KernelError EINVAL if the range wraps; a length that wraps when it is rounded is 0.
    """
    nr = pages_of(length) & ((1 << (_ADDRESS_BITS - PAGE_SHIFT)) - 1)
    a = addr >> PAGE_SHIFT
    if (a + nr) << PAGE_SHIFT >= 1 << _ADDRESS_BITS:
        raise KernelError("EINVAL", "the range wraps around the end of the address space")
    return a, a + nr
