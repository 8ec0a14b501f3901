"""Real programs on the simulated machine: users and capabilities that they give up."""

import os

import pytest

from tests.cli.conftest import Shell
from tests.cli.traced import MEMORY, WHY, python

if WHY:
    pytest.skip(WHY, allow_module_level=True)
if os.geteuid():
    pytest.skip("only root can become another user", allow_module_level=True)

# A child that has touched two pages, and waits; what calls on its memory are answered.
CHILD = f"""{MEMORY}
import errno
def child(begin):
    (ready, told), (wait, self_) = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        begin(); touch(0, 2); os.write(told, b"x"); os.close(self_); os.read(wait, 1); os._exit(0)
    os.read(ready, 1); os.close(wait)
    return pid
def name(ret): return errno.errorcode[-ret] if ret < 0 else ret
def migrate(pid, old=1, new=2): return name(call(MIGRATE, pid, 64, mask(old), mask(new)))
def move(pid, flags=2):
    pages, status = (ctypes.c_void_p * 1)(addr), (ctypes.c_int * 1)()
    return name(call(MOVE, pid, 1, pages, 0, status, flags))
def drop(*numbers):
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc.capget(header, data)
    for number in numbers:
        for i in range(3): data[3 * (number // 32) + i] &= ~(1 << number % 32)
    assert libc.capset(header, data) == 0
SYS_PTRACE, SYS_NICE = 19, 23
"""


def test_effective_user_does_not_count_for_calls(shell: Shell) -> None:
    program = f"""{CHILD}
other = child(lambda: os.setresuid(1000, 1000, 1000) or libc.prctl(4, 1))
print(migrate(other), move(other), move(other, 4))
os.seteuid(1000)
print(migrate(other), move(other), move(other, 4))
os.seteuid(0)
print(migrate(other))
os.setresuid(1000, 1000, 1000)
print(migrate(other), migrate(100), migrate(os.getpid()))
"""
    expected = "0 0 0\nEPERM EPERM EPERM\n0\n0 EPERM 0\n"
    assert python(shell, program) == expected


def test_who_has_changed_is_not_dumpable(shell: Shell) -> None:
    program = f"""{CHILD}
def get(): return libc.prctl(3)
os.setresgid(1000, 1000, 1000)
libc.prctl(4, 1)
print(get())
hidden = child(lambda: os.setresuid(1000, 1000, 1000))
shown = child(lambda: os.setresuid(1000, 1000, 1000) or libc.prctl(4, 1))
os.setresuid(1000, 1000, 1000)
print(get(), migrate(hidden), migrate(shown))
try: open(f"/proc/{{hidden}}/numa_maps")
except OSError as error: print(errno.errorcode[error.errno])
print(len(open(f"/proc/{{shown}}/numa_maps").read()) > 100)
"""
    assert python(shell, program) == "1\n0 EPERM 0\nEACCES\nTrue\n"


def test_capabilities_that_are_dropped(shell: Shell) -> None:
    program = f"""{CHILD}
other = child(lambda: None)
drop(SYS_NICE)
print(migrate(other), move(other), move(other, 4), move(0, 4))
print(migrate(100), [line for line in open("/proc/self/status") if line.startswith("CapEff")] != [])
drop(SYS_PTRACE)
print(migrate(other), migrate(100), move(0))
"""
    assert python(shell, program) == ("0 0 EPERM EPERM\n0 True\nEPERM EPERM 0\n")


def test_other_users_do_not_write_settings(shell: Shell) -> None:
    program = f"""{CHILD}
def write():
    try:
        with open("/proc/sys/vm/drop_caches", "w") as file: file.write("1")
    except OSError as error: return errno.errorcode[error.errno]
print(write())
os.seteuid(1000)
print(write())
os.seteuid(0)
print(write())
"""
    assert python(shell, program) == "None\nEACCES\nNone\n"
