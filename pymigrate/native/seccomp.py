"""The seccomp filter of traced programs: which system calls stop for the tracer.

What is not named here costs what it costs without a tracer. Other ABIs, whose numbers mean
something else, get ENOSYS.
"""

from __future__ import annotations

import struct

from pymigrate.errors import ERRNO
from pymigrate.native import abi
from pymigrate.records import NamedTuple

# Offsets in struct seccomp_data; of the arguments the lower halves suffice.
_NR, _ARCH, _ARGS = 0, 4, 16
_LOAD, _JUMP_EQUAL, _JUMP_ANY_BIT, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ANSWERED = 0xFFFFFFFF  # the number of a call that the tracer has answered already
ALLOW, TRACE, REFUSE = 0x7FFF0000, 0x7FF00000, 0x00050000 | ERRNO["ENOSYS"]


class Condition(NamedTuple):
    """A call is traced only if an argument has one of *bits*, or none of them if *is_none*.

    With *equals* it must be that value, or must not if *is_none*.
    """

    argument: int
    bits: int = 0
    is_none: bool = False
    equals: int | None = None


# What is traced only with certain arguments: each condition of one of the lists must hold.
CONDITIONS: dict[str, list[list[Condition]]] = {
    # Where nothing is mapped yet, mappings are found when somebody looks. A loader puts a library's
    # segments over its first mapping, which maps shows as another then.
    # A file may be an object of huge pages, but not one that a loader maps.
    "mmap": [
        [
            Condition(3, abi.MAP_FIXED | abi.MAP_HUGETLB),
            Condition(3, equals=abi.MAP_SEGMENT, is_none=True),
        ],
        [
            Condition(4, equals=abi.NO_FD, is_none=True),
            Condition(3, abi.MAP_DENYWRITE | abi.MAP_ANONYMOUS, is_none=True),
        ],
    ],
    # Who begins to read a file again sees it as it is now.
    "lseek": [[Condition(1, equals=0), Condition(2, equals=0)]],
    "pread64": [[Condition(3, equals=0)]],
    # What a descriptor names was answered when it was opened.
    "newfstatat": [[Condition(3, abi.AT_EMPTY_PATH, is_none=True)]],
    "statx": [[Condition(2, abi.AT_EMPTY_PATH, is_none=True)]],
    "unlinkat": [[Condition(2, abi.AT_REMOVEDIR)]],
    "memfd_create": [[Condition(1, abi.MFD_HUGETLB)]],
    "shmget": [[Condition(2, abi.SHM_HUGETLB)]],
    # A process's calls on itself are no calls on others.
    **{
        name: [[Condition(argument, equals=0, is_none=True)]]
        for name, argument in abi.ON_OTHERS.items()
    },
    "brk": [[Condition(0, equals=0, is_none=True)]],
}


class _Code:
    """Instructions in the making."""

    def __init__(self) -> None:
        self.instructions: list[tuple[int, int, int, int]] = []

    def add(self, code: int, k: int, if_true: int = 0, if_false: int = 0) -> None:
        self.instructions.append((code, if_true, if_false, k))


def program() -> bytes:
    """The filter, as struct sock_filter[]."""
    code = _Code()
    code.add(_LOAD, _ARCH)
    code.add(_JUMP_EQUAL, abi.AUDIT_ARCH, 1, 0)
    code.add(_RETURN, REFUSE)
    code.add(_LOAD, _NR)
    code.add(_JUMP_EQUAL, _ANSWERED, 0, 1)
    code.add(_RETURN, ALLOW)
    code.add(_JUMP_AT_LEAST, abi.X32_BIT, 0, 1)
    code.add(_RETURN, REFUSE)
    for number in abi.REFUSED:
        code.add(_JUMP_EQUAL, number, 0, 1)
        code.add(_RETURN, REFUSE)
    for name, conditions in CONDITIONS.items():
        _add_conditional(code, abi.CALLS[name], conditions)
    for name, number in abi.CALLS.items():
        if name not in CONDITIONS:
            code.add(_JUMP_EQUAL, number, 0, 1)
            code.add(_RETURN, TRACE)
    code.add(_RETURN, ALLOW)
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code.instructions)


def _add_conditional(code: _Code, number: int, alternatives: list[list[Condition]]) -> None:
    """Trace the call *number* if all conditions of an alternative hold, else allow it."""
    size = sum(2 * len(conditions) + 1 for conditions in alternatives) + 1  # behind the jump
    code.add(_JUMP_EQUAL, number, 0, size)
    for conditions in alternatives:
        left = 2 * len(conditions) + 1  # up to the next alternative
        for condition in conditions:
            left -= 2
            code.add(_LOAD, _ARGS + 8 * condition.argument)
            kind = _JUMP_ANY_BIT if condition.equals is None else _JUMP_EQUAL
            k = condition.bits if condition.equals is None else condition.equals
            code.add(kind, k, *((left, 0) if condition.is_none else (0, left)))
        code.add(_RETURN, TRACE)
    code.add(_RETURN, ALLOW)
