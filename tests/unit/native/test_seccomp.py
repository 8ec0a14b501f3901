"""The filter, interpreted: which calls stop for the tracer, and with which arguments."""

import struct

import pytest

from pymigrate.native import abi
from pymigrate.native.seccomp import ALLOW, REFUSE, TRACE, program

NONE = 0xFFFFFFFFFFFFFFFF  # -1, as a register has it


def run(nr: int, *args: int, arch: int = abi.AUDIT_ARCH) -> int:
    """What the filter decides of a call, as the kernel's interpreter finds it."""
    data = struct.pack("=IIQ6Q", nr, arch, 0, *args, *[0] * (6 - len(args)))
    code = list(struct.iter_unpack("HBBI", program()))
    at = accumulator = 0
    while True:
        op, if_true, if_false, k = code[at]
        at += 1
        if op == 0x06:
            return int(k)
        if op == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, k)
            continue
        holds = {
            0x15: accumulator == k,
            0x35: accumulator >= k,
            0x45: bool(accumulator & k),
        }[op]
        at += if_true if holds else if_false


@pytest.mark.parametrize("name", ["mbind", "get_mempolicy", "openat", "munmap", "getcpu"])
def test_call_of_the_table_is_traced(name: str) -> None:
    assert run(abi.CALLS[name]) == TRACE


@pytest.mark.parametrize("number", [0, 1, 3, 39, 56, 59, 202])
def test_call_that_is_none_of_ours_is_allowed(number: int) -> None:
    assert run(number) == ALLOW


@pytest.mark.parametrize(
    ("name", "args", "verdict"),
    [
        ("mmap", (0, 4096, 3, 0x32, NONE), TRACE),
        ("mmap", (0, 4096, 3, 0x40022, NONE), TRACE),
        ("mmap", (0, 4096, 3, 0x40812, 5), TRACE),
        ("mmap", (0, 4096, 3, 0x22, NONE), ALLOW),
        ("mmap", (0, 4096, 3, 0x22, 0), ALLOW),
        ("mmap", (0, 4096, 3, 0x1, 5), TRACE),
        ("mmap", (0, 4096, 3, 0x802, 5), ALLOW),
        ("mmap", (0, 4096, 3, 0x812, 5), ALLOW),
        ("fallocate", (3, 0, 0, 4096), TRACE),
        ("lseek", (3, 0, 0), TRACE),
        ("lseek", (3, 0, 2), ALLOW),
        ("lseek", (3, 8, 0), ALLOW),
        ("pread64", (3, 0x1000, 64, 0), TRACE),
        ("pread64", (3, 0x1000, 64, 64), ALLOW),
        ("newfstatat", (3, 0x1000, 0x2000, 0), TRACE),
        ("newfstatat", (3, 0x1000, 0x2000, 0x1000), ALLOW),
        ("statx", (3, 0x1000, 0x1000, 0, 0), ALLOW),
        ("unlinkat", (3, 0x1000, 0), ALLOW),
        ("unlinkat", (3, 0x1000, 0x200), TRACE),
        ("memfd_create", (0x1000, 1), ALLOW),
        ("memfd_create", (0x1000, 5), TRACE),
        ("getpgid", (0,), ALLOW),
        ("getpgid", (100,), TRACE),
        ("setpriority", (0, 100, 5), TRACE),
        ("brk", (0,), ALLOW),
        ("brk", (0x555000,), TRACE),
    ],
)
def test_arguments_decide(name: str, args: tuple[int, ...], verdict: int) -> None:
    assert run(abi.CALLS[name], *args) == verdict


@pytest.mark.parametrize("number", abi.REFUSED)
def test_what_no_tracer_sees_is_refused(number: int) -> None:
    assert run(number) == REFUSE


def test_other_abis_are_refused() -> None:
    assert run(abi.CALLS["mbind"], arch=0x40000003) == REFUSE
    assert run(abi.X32_BIT | 5) == REFUSE


def test_call_that_was_answered_already_goes_on() -> None:
    assert run(0xFFFFFFFF) == ALLOW


def test_filter_fits() -> None:
    assert len(program()) // 8 < 4096
    assert all(
        jump < 256 for _, *jumps, _ in struct.iter_unpack("HBBI", program()) for jump in jumps
    )
