"""What calls begin with: who makes them, what he may do, and the range of addresses he gives."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from pymigrate.errors import KernelError
from pymigrate.mm.state.machine import Machine, as_task
from pymigrate.mm.state.task import Cap, Task
from pymigrate.units import PAGE_SHIFT, pages_of

P = ParamSpec("P")
T = TypeVar("T")
_ADDRESS_BITS = 64


def system_call(
    function: Callable[Concatenate[Machine, Task, P], T],
) -> Callable[Concatenate[Machine, Task, P], T]:
    """Let the task that makes the call be who raises counters until it returns."""

    @wraps(function)
    def call(machine: Machine, task: Task, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with as_task(machine, task):
            return function(machine, task, *args, **kwargs)

    return call


def check_root(caller: Task, why: str) -> None:
    """Let root write what the file system keeps for root; anyone else gets KernelError EACCES."""
    if caller.fsuid:
        raise KernelError("EACCES", why)


def check_access(caller: Task, target: Task, *, for_file: bool = False) -> None:
    """Let *caller* read *target*'s memory layout, or raise KernelError EPERM.

    That of a call (PTRACE_MODE_READ_REALCREDS) looks at the caller's real user and permitted
    capabilities, that of a file (PTRACE_MODE_READ_FSCREDS) at the effective ones. CAP_SYS_PTRACE
    allows it all; CAP_SYS_NICE does not help. Mirrors __ptrace_may_access() and
    cap_ptrace_access_check().
    """
    if caller.tgid == target.tgid or caller.has(Cap.SYS_PTRACE):
        return
    uid = caller.fsuid if for_file else caller.uid
    caps = caller.capabilities if for_file else caller.permitted_caps
    other = next((id_ for id_ in target.uids if id_ != uid), uid)
    if other != uid:
        why = f"uid {uid} may not inspect process {target.pid} of uid {other}"
    elif caller.group != target.group:
        why = f"gid {caller.group} may not inspect process {target.pid} of gid {target.group}"
    elif not target.is_dumpable:
        why = f"process {target.pid} is not dumpable"
    elif target.permitted_caps & ~caps:
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
