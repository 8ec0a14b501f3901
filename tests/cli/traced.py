"""Real programs on the simulated machine, for tests: scripts of sh, and programs of Python.

They are the host's own; where one is not installed, or the host cannot trace, a test is skipped.
"""

import shutil
import sys

import pytest

from pymigrate.native.support import obstacle
from tests.cli.conftest import Outcome, Shell

WHY = obstacle()  # what keeps the host from tracing programs


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def exec_(shell: Shell, script: str, *options: str) -> Outcome:
    """Run a script of sh on the simulated machine."""
    path = shell.write("script.sh", script)
    return shell.spawn(" ".join(["exec", *options, "--", "sh", str(path)]))


def out(shell: Shell, script: str) -> str:
    """What a script prints that has nothing to complain of."""
    outcome = exec_(shell, script)
    assert (outcome.exit, outcome.stderr) == (0, "")
    return outcome.stdout


def python(shell: Shell, program: str) -> str:
    """What a program of Python prints, run by the same Python without its site packages."""
    path = shell.write("program.py", program)
    return out(shell, f"exec {sys.executable} -I -S {path}")


MEMORY = """
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
MBIND, SET, GET, MIGRATE, MOVE = 237, 238, 239, 256, 279
def call(nr, *args):
    ctypes.set_errno(0)
    words = [ctypes.c_ulong(a & (1 << 64) - 1) if isinstance(a, int) else a for a in args]
    ret = libc.syscall(ctypes.c_long(nr), *words)
    return ret if ret >= 0 else -ctypes.get_errno()
def mask(bits): return ctypes.byref(ctypes.c_ulong(bits))
area = mmap.mmap(-1, 16 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
addr = ctypes.addressof(ctypes.c_char.from_buffer(area))
def touch(first, nr):
    for page in range(first, first + nr): area[page * 4096] = 1
def places(first, nr):
    pages = (ctypes.c_void_p * nr)(*[addr + 4096 * (first + i) for i in range(nr)])
    status = (ctypes.c_int * nr)()
    assert call(MOVE, 0, nr, pages, 0, status, 0) == 0
    return list(status)
"""
