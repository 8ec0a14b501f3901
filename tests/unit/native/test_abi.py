"""The numbers of each processor; those of another one than the host's in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pymigrate.native import abi, arm64, x86_64
from pymigrate.native.calls.table import HANDLERS

# What only x86-64 has: the calls that others replace by those with a directory.
OLD = "open stat lstat access mkdir rmdir creat readlink dup2 vfork".split()
HEADERS = {
    x86_64: Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    arm64: Path("/usr/include/asm-generic/unistd.h"),
}


def as_on_arm64(program: str) -> str:
    """What a program prints that finds itself on a host with such a processor."""
    begin = (
        "import os; here = os.uname()\n"
        "os.uname = lambda: os.uname_result((*here[:4], 'aarch64'))\n"
        "from pymigrate.native import abi\n"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", begin + program]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


def test_processors_have_the_same_calls() -> None:
    assert set(x86_64.CALLS) - set(arm64.CALLS) == set(OLD)
    assert set(arm64.CALLS) <= set(x86_64.CALLS)


@pytest.mark.parametrize("kind", [x86_64, arm64])
def test_each_call_has_a_number_of_its_own(kind: type[object]) -> None:
    calls: dict[str, int] = kind.CALLS  # type: ignore[attr-defined]
    assert len(set(calls.values())) == len(calls)


@pytest.mark.parametrize("kind", [x86_64, arm64])
def test_numbers_are_those_of_the_kernels_header(kind: type[object]) -> None:
    header = HEADERS[kind]  # type: ignore[index]
    if not header.exists():
        pytest.skip(f"there is no {header}")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text(encoding="utf-8"))
    numbers = {name: int(number) for name, number in found}
    numbers.setdefault("newfstatat", numbers.get("fstatat", 0))
    calls: dict[str, int] = kind.CALLS  # type: ignore[attr-defined]
    assert {name: numbers.get(name) for name in calls} == calls


def test_every_call_that_stops_has_a_handler() -> None:
    for name, number in abi.CALLS.items():
        assert callable(HANDLERS[number]), name


def test_handlers_on_arm64() -> None:
    program = (
        "from pymigrate.native.calls.table import HANDLERS\n"
        "print(abi.CALLS['openat'], all(callable(HANDLERS[nr]) for nr in abi.CALLS.values()))"
    )
    assert as_on_arm64(program) == "56 True\n"


def test_filter_on_arm64() -> None:
    program = "from tests.unit.native.test_seccomp import *\n" + "".join(
        f"print(run({call}, arch={arch}) == {verdict})\n"
        for call, arch, verdict in [
            ("abi.CALLS['move_pages']", 0xC00000B7, "TRACE"),
            (239, 0xC00000B7, "TRACE"),
            ("abi.CLONE", 0xC00000B7, "ALLOW"),
            (293, 0xC00000B7, "REFUSE"),  # rseq
            (239, 0xC000003E, "REFUSE"),  # x86-64
            (239, 0x40000028, "REFUSE"),  # arm
        ]
    )
    assert as_on_arm64(program) == "True\n" * 6


def test_registers_on_arm64_are_read_and_written_in_sets() -> None:
    program = """
import ctypes
from pymigrate.native import libc
sets = {1: bytearray(34 * 8), 0x404: bytearray(4)}
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
def ptrace(request, tid, kind, where):
    vector = Vector.from_address(where)
    assert vector.len == len(sets[kind])
    if request == 0x4204:
        ctypes.memmove(vector.base, bytes(sets[kind]), vector.len)
    else:
        assert request == 0x4205
        sets[kind][:] = ctypes.string_at(vector.base, vector.len)
    return 0
libc._ptrace = ptrace
libc.set_register(1, abi.ARGUMENTS[1], 7)
libc.set_register(1, abi.IP, 1 << 40)
libc.set_register(1, abi.RETURNED, -22)
libc.set_register(1, abi.CALL, 239)
print(libc.register(1, abi.ARGUMENTS[1]), libc.register(1, abi.IP) >> 40)
print(libc.register(1, abi.CALL), abi.signed(libc.register(1, abi.RETURNED), 64))
print(sets[1][8], int.from_bytes(sets[1][32 * 8:33 * 8], "little") >> 40)
libc.set_register(1, abi.CALL, -1)
print(sets[0x404].hex())
"""
    assert as_on_arm64(program) == "7 1\n239 -22\n7 1\nffffffff\n"


def test_argument_that_the_result_replaces_is_not_put_back() -> None:
    program = """
from pymigrate.native import libc
from pymigrate.native.tracee import Process, Thread
from pymigrate.native.sync import Memory
said = []
libc.set_register = lambda tid, register, value: said.append((register, value))
thread = Process(1, Memory(print)).add(1)
thread.change_argument(0, 5, 6)
thread.change_argument(1, 7, 8)
thread.ended(3)
print(said)
"""
    assert as_on_arm64(program) == "[(0, 6), (1, 8), (1, 7)]\n"
