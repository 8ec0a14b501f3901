"""Real programs on the simulated machine, for tests: scripts of sh, and programs of Python.

They are the host's own; where one is not installed, or the host cannot trace, a test is skipped.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pymigrate.native.support import obstacle
from tests.cli.conftest import ROOT, Outcome, Shell

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
    assert (outcome.exit, outcome.stderr) == (0, ""), outcome
    return outcome.stdout


def python(shell: Shell, program: str) -> str:
    """What a program of Python prints, run by the same Python without its site packages."""
    path = shell.write("program.py", program)
    return out(shell, f"exec {sys.executable} -I -S {path}")


PROGRAMS = Path(__file__).parent / "programs"
NOBODY = 65534
WHOSE = ["own", "nobody"]  # as the user who runs the tests, and without any privilege


def run_as(shell: Shell, whose: str, program: list[str]) -> Outcome:
    """Run a program on the machine of the shell's scenario, with the folder as its directory.

    The test is skipped where it cannot be run as nobody.
    """
    begin = [sys.executable, "-c", "from pymigrate.cli.main import main; main()"]
    environment = shell.environment(LC_ALL="C")
    folder, scratch = shell.folder, None
    if whose == "nobody":
        if os.geteuid() or not shutil.which("setpriv"):
            pytest.skip("only root, with setpriv, can become another user")
        scratch = tempfile.mkdtemp()  # that of the shell is not to be entered
        folder = Path(shutil.copytree(shell.folder, Path(scratch) / "folder"))
        for path in [Path(scratch), folder, *folder.rglob("*")]:
            path.chmod(0o777)
        begin[0] = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
        begin = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *begin]
        environment |= {
            "HOME": str(folder),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
            "PYMIGRATE_STATE": str(folder / "own.db"),
            "PYMIGRATE_SCENARIO": str(folder / shell.scenario.name),
        }
    done = subprocess.run(
        [*begin, "exec", "--", *program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if scratch:
        shutil.rmtree(scratch)
        if "ModuleNotFoundError" in done.stderr or "Permission denied: '" in done.stderr:
            pytest.skip("other users cannot import what is needed")
    told = [line for line in done.stderr.splitlines(True) if "pymigrate: booted" not in line]
    return Outcome(done.returncode, done.stdout, "".join(told))


def out_as(shell: Shell, whose: str, program: list[str]) -> str:
    """What a program prints that succeeds, and has nothing to complain of."""
    outcome = run_as(shell, whose, program)
    assert (outcome.exit, outcome.stderr) == (0, ""), outcome
    return outcome.stdout


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
