"""The calls of Linux that Python's library has not: ptrace, seccomp, another process's memory.

ctypes is used here alone.
"""

from __future__ import annotations

import ctypes
import os
import struct
from array import array
from errno import ECHILD, EPERM
from signal import SIGTRAP

from pymigrate.native import abi

_libc = ctypes.CDLL(None, use_errno=True)
_ptrace = _libc.ptrace
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_ptrace.restype = ctypes.c_long
_wait4 = _libc.wait4
_wait4.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
_libc.syscall.restype = ctypes.c_long
_readv, _writev = _libc.process_vm_readv, _libc.process_vm_writev
for _call in (_readv, _writev):
    _call.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_ulong,
        ctypes.c_void_p,
        ctypes.c_ulong,
        ctypes.c_ulong,
    ]
    _call.restype = ctypes.c_ssize_t

_PEEKUSER, _POKEDATA, _POKEUSER = 3, 5, 6
CONT, SYSCALL = 7, 24  # the ways to go on
_SEIZE, _LISTEN, _GETEVENTMSG, _GETSIGINFO = 0x4206, 0x4208, 0x4201, 0x4202
_GET_SYSCALL_INFO, _GETREGSET, _SETREGSET = 0x420E, 0x4204, 0x4205
_NT_PRSTATUS, _NT_ARM_SYSTEM_CALL, _REGISTERS = 1, 0x404, 34  # of struct user_pt_regs
_OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x40 | 0x80 | 0x100000  # and EXITKILL
EVENT_FORK, EVENT_VFORK, EVENT_CLONE, EVENT_EXEC, EVENT_EXIT, EVENT_SECCOMP = 1, 2, 3, 4, 6, 7
EVENT_STOP = 128
SYSCALL_STOP = 0x80  # set in the signal of a stop at a system call's begin or end
ENTRY, EXIT, SECCOMP = 1, 2, 3
_WALL = 0x40000000
_PR_SET_NO_NEW_PRIVS, _PR_SET_THP_DISABLE, _PR_SET_PTRACER = 38, 41, 0x59616D61
_SECCOMP_SET_MODE_FILTER = 1
_ADDR_NO_RANDOMIZE = 0x0040000
_INFO = struct.Struct("=B15xQQ6Q")
_SIGTRAP = int(SIGTRAP)
_CODE = struct.Struct("=8xi")  # in struct siginfo

_info = ctypes.create_string_buffer(88)
_message = ctypes.c_ulong()
_signal = ctypes.create_string_buffer(128)
_status = ctypes.c_int()
_STATUS, _MESSAGE, _SIGNAL, _INFO_AT = map(ctypes.addressof, (_status, _message, _signal, _info))


class _Iov(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("len", ctypes.c_size_t))


_ours, _theirs = _Iov(), _Iov()
_SMALL = 512
_small = ctypes.create_string_buffer(_SMALL)
_our_small = _Iov(ctypes.addressof(_small), _SMALL)
_OURS, _OUR_SMALL, _THEIRS = map(ctypes.addressof, (_ours, _our_small, _theirs))


# Where a thread has stopped at a system call: ENTRY, EXIT or SECCOMP, its stack pointer, the call's
# number, and its arguments. At an EXIT the number is what it has returned, and no arguments follow.
Stop = tuple[int, int, int, tuple[int, ...]]


def _failed(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


# what a tracer does


def seize(pid: int) -> None:
    """Begin to trace *pid*, its children and its threads. Raises OSError."""
    if _ptrace(_SEIZE, pid, None, _OPTIONS) < 0:
        raise _failed("ptrace")


def wait() -> tuple[int, int] | None:
    """The next thread that stops or ends, with its wait status; None if a signal came first.

    Raises ChildProcessError when there are no more.
    """
    if found := poll():
        return found
    pid = _wait4(-1, _STATUS, _WALL, None)  # os.waitpid() would go on waiting after a signal
    if pid >= 0:
        return pid, _status.value
    if ctypes.get_errno() == ECHILD:
        raise ChildProcessError
    return None


def poll() -> tuple[int, int] | None:
    """A thread that has stopped or ended meanwhile, with its wait status; None if none has.

    Raises ChildProcessError when there are no more.
    """
    found = os.waitpid(-1, _WALL | os.WNOHANG)
    return found if found[0] else None


def go_on(tid: int, how: int = CONT, signal: int = 0) -> None:
    """Let a stopped thread go on, with *signal* delivered. Raises ProcessLookupError."""
    if _ptrace(how, tid, None, signal) < 0:
        raise ProcessLookupError(tid)


def listen(tid: int) -> None:
    """Let a thread that is stopped with its group stay so, and tell of its next change."""
    if _ptrace(_LISTEN, tid, None, None) < 0:
        raise ProcessLookupError(tid)


def event_message(tid: int, event: int) -> int:
    """What an event is about that *tid* has stopped at: the new pid.

    Raises ProcessLookupError if it is at another one by now: who is killed goes on to its end, and
    the message is its exit status then.
    """
    if (
        _ptrace(_GETEVENTMSG, tid, None, _MESSAGE) < 0
        or _ptrace(_GETSIGINFO, tid, None, _SIGNAL) < 0
    ):
        raise ProcessLookupError(tid)
    (code,) = _CODE.unpack_from(_signal)
    if code != event << 8 | _SIGTRAP:
        raise ProcessLookupError(tid)
    return _message.value


def syscall_info(tid: int) -> Stop:
    """The system call that *tid* has stopped at. Raises ProcessLookupError."""
    if _ptrace(_GET_SYSCALL_INFO, tid, 88, _INFO_AT) < 0:
        raise ProcessLookupError(tid)
    words = _INFO.unpack_from(_info)
    return words[0], words[1], words[2], words[3:]


def set_register(tid: int, register: int, value: int) -> None:
    """Change a register of a stopped thread. Raises ProcessLookupError."""
    value &= (1 << 64) - 1
    if abi.IN_SETS:
        words = _register_set(tid, register)
        words[max(register, 0)] = value if register >= 0 else value & (1 << 32) - 1
        _in_set(tid, _SETREGSET, register, words)
    elif _ptrace(_POKEUSER, tid, register * abi.WORD, value) < 0:
        raise ProcessLookupError(tid)


def register(tid: int, register: int) -> int:
    """A register of a stopped thread. Raises ProcessLookupError."""
    if abi.IN_SETS:
        return int(_register_set(tid, register)[max(register, 0)])
    ctypes.set_errno(0)
    value: int = _ptrace(_PEEKUSER, tid, register * abi.WORD, None)
    if value == -1 and ctypes.get_errno():
        raise ProcessLookupError(tid)
    return value & (1 << 64) - 1


def _register_set(tid: int, register: int) -> array[int]:
    """The words of the set that has *register*; the call's number has one of its own."""
    words = array("I", [0]) if register < 0 else array("Q", bytes(_REGISTERS * abi.WORD))
    _in_set(tid, _GETREGSET, register, words)
    return words


def _in_set(tid: int, request: int, register: int, words: array[int]) -> None:
    """Read or write the set that has *register*."""
    kind = _NT_ARM_SYSTEM_CALL if register < 0 else _NT_PRSTATUS
    at, nr = words.buffer_info()
    part = _Iov(at, nr * words.itemsize)
    if _ptrace(request, tid, kind, ctypes.addressof(part)) < 0:
        raise ProcessLookupError(tid)


def poke(tid: int, addr: int, word: bytes) -> bool:
    """Write eight bytes, even where the program may not; False if nothing is there."""
    return bool(_ptrace(_POKEDATA, tid, addr, int.from_bytes(word, "little")) >= 0)


class HiddenError(Exception):
    """A process may not be looked at any more, for its user has changed."""


def read_memory(pid: int, addr: int, length: int) -> bytes:
    """So much of a process's memory as can be read from *addr*, at most *length* bytes.

    Raises HiddenError.
    """
    if length <= 0:
        return b""
    buffer, where = _small, _OUR_SMALL
    if length > _SMALL:
        buffer, where = ctypes.create_string_buffer(length), _OURS
        _ours.base, _ours.len = ctypes.addressof(buffer), length
    _theirs.base, _theirs.len = addr, length
    got = _readv(pid, where, 1, _THEIRS, 1, 0)
    if got < 0 and ctypes.get_errno() == EPERM:
        raise HiddenError(pid)
    return buffer.raw[:got] if got > 0 else b""


def write_memory(pid: int, addr: int, data: bytes) -> int:
    """Write *data* into a process's memory; returns how many bytes could be written.

    Raises HiddenError.
    """
    if not data:
        return 0
    buffer = ctypes.create_string_buffer(data, len(data))
    _ours.base, _ours.len = ctypes.addressof(buffer), len(data)
    _theirs.base, _theirs.len = addr, len(data)
    got = int(_writev(pid, _OURS, 1, _THEIRS, 1, 0))
    if got < 0 and ctypes.get_errno() == EPERM:
        raise HiddenError(pid)
    return max(got, 0)


def remove_segment(shmid: int) -> None:
    """Remove a segment of System V's shared memory, which goes once nobody has it attached."""
    _libc.shmctl(shmid, abi.IPC_RMID, None)


# what a program to be traced does before it begins


def allow_tracer(pid: int) -> None:
    """Let *pid*, which is no parent, trace this process where Yama asks for that."""
    _libc.prctl(_PR_SET_PTRACER, pid, 0, 0, 0)


def settle() -> None:
    """Use no huge pages, which would bring pages that nobody touched, and the same addresses."""
    _libc.prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)
    persona = _libc.syscall(abi.PERSONALITY, 0xFFFFFFFF)
    if persona >= 0:
        _libc.syscall(abi.PERSONALITY, persona | _ADDR_NO_RANDOMIZE)


def install_filter(program: bytes) -> None:
    """Let system calls stop as *program*, a seccomp filter, says. Raises OSError.

    Only without the privilege to do it otherwise, new privileges are given up first.
    """
    code = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    fprog = ctypes.create_string_buffer(head, len(head))
    for _ in range(2):
        where = ctypes.c_void_p(ctypes.addressof(fprog))
        if _libc.syscall(abi.SECCOMP, _SECCOMP_SET_MODE_FILTER, 0, where) == 0:
            return
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    raise _failed("seccomp")
