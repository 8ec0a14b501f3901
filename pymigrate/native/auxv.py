"""What a program that has just begun is told on its stack: the auxiliary vector."""

from __future__ import annotations

from array import array

from pymigrate.mm.state.task import TASK_COMM_LEN
from pymigrate.native import abi, libc
from pymigrate.records import NamedTuple

_MOST = 1 << 22  # bytes that are looked at: arguments and environment are no longer
_BY_DESCRIPTOR = b"/dev/fd/"  # how the kernel calls the file of an execveat() without a path


class Begun(NamedTuple):
    """A program that has just begun, as its auxiliary vector tells; 0 and empty if it does not."""

    vdso: int = 0  # where the vDSO lies
    path: bytes = b""  # of the file that was executed

    @property
    def comm(self) -> str:
        """What the kernel calls it; empty if only the kernel knows. Mirrors begin_new_exec()."""
        if self.path.startswith(_BY_DESCRIPTOR):
            return ""
        name = self.path.rpartition(b"/")[2][: TASK_COMM_LEN - 1]
        return name.decode("utf-8", "surrogateescape")


def begun(tid: int) -> Begun:
    """What *tid*, which has stopped as it executed a program, is told.

    Raises ProcessLookupError, HiddenError.
    """
    stack = libc.register(tid, abi.SP)
    length = 1 << 11
    while length <= _MOST:
        data = libc.read_memory(tid, stack, length)
        found = auxiliary(data)
        if found or len(data) < length:
            path = found.get(abi.AT_EXECFN, 0)
            text = libc.read_memory(tid, path, 256 - (path & 255)) if path else b""
            if 0 not in text:
                text = libc.read_memory(tid, path, 4096) if path else b""
            return Begun(found.get(abi.AT_SYSINFO_EHDR, 0), text.partition(b"\0")[0])
        length <<= 2
    return Begun()


def auxiliary(stack: bytes) -> dict[int, int]:
    """The auxiliary vector that lies behind the arguments and the environment on a *stack*.

    Empty where *stack* ends before that does.

    >>> auxiliary(array("Q", [1, 4096, 0, 5000, 0, 33, 8192, 0, 0]).tobytes())
    {33: 8192}
    """
    words = array("Q", stack[: len(stack) & ~7])
    try:
        environment = words[0] + 2  # behind the number of arguments, them, and their end
        at = words.index(0, environment) + 1
        kinds = words[at::2]
        return dict(zip(kinds[: kinds.index(0)], words[at + 1 :: 2], strict=False))
    except (IndexError, ValueError, OverflowError):
        return {}
