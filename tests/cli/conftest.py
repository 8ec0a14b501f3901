"""The command line as a user runs it, with a state of its own.

The machine is that of SCENARIO: the one here, or that of the test file if it has one.
"""

import json
import os
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pymigrate.cli.main import main
from pymigrate.store.codec import sum_of_rows
from pymigrate.store.tables import TABLES

ROOT = Path(__file__).resolve().parents[2]
PYMIGRATE = [sys.executable, "-m", "pymigrate"]
SCENARIO = """\
machine:
  nodes:
    0: {cpus: "0-1", memory: 64MiB}
    1: {cpus: "2-3", memory: 64MiB}
files:
  /lib/c.so: {size: 64KiB, fs: ext4}
tasks:
  a:
    pid: 100
    comm: alpha
    uid: 26
    cpus: "0-1"
    memory:
      - {as: heap, kind: heap, size: 32KiB, address: 0x10000000, pages: [[6, 0], [2, 1]]}
      - {as: buf, kind: shmem, size: 16KiB, pages: [[4, 0]]}
      - {as: lib, kind: file, file: /lib/c.so, prot: rx, size: 64KiB, pages: [[16, 0]]}
  b:
    pid: 200
    comm: beta
    uid: 27
    cpus: "2-3"
    memory:
      - {as: buf, shared: a.buf}
      - {as: stack, kind: stack, size: 132KiB, pages: [[3, 1], [30, -1]]}
"""
GROUPS = {
    "cma": ["alloc", "list", "release"],
    "cpuset": ["attach", "create", "list", "remove", "set"],
    "task": (
        "busy capset clone exit fork ftruncate madvise migrate_vma mlock mlockall mmap mprotect"
        " mremap munlock munlockall munmap pin prctl punch_hole sched_setaffinity setresuid"
        " start swap_cache touch unlink unpin"
    ).split(),
}
COSTLY = set(
    "annotated_types asyncio difflib json numpy platformdirs pydantic pydantic_core rich unittest"
    " yaml".split()
)


class Outcome(NamedTuple):
    """How a command ended, and what it wrote."""

    exit: int
    stdout: str = ""
    stderr: str = ""


def refused(name: str, error: str, why: str) -> str:
    """What a refused call says on stderr."""
    return f"{name}: {error}: {why}\n"


def body(text: str) -> Any:
    """What is in JSON but its schema: the rows of a table. The records of `run` have a format."""
    value = json.loads(text)
    if isinstance(value, dict):
        assert value.pop("schema") == 1
        return value.pop("rows", value)
    return value


class Shell:
    """Runs commands in a folder that holds machine.yaml, and state.db once it is booted."""

    def __init__(self, folder: Path, run: Callable[[list[str]], Outcome]) -> None:
        self.folder, self._run = folder, run
        self.scenario, self.state = folder / "machine.yaml", folder / "state.db"
        self.write("machine.yaml", SCENARIO)

    def __call__(self, line: str | list[str]) -> Outcome:
        """Run a command in this process; *line* is what follows `pymigrate`."""
        return self._run(shlex.split(line) if isinstance(line, str) else line)

    def out(self, line: str | list[str]) -> str:
        """The stdout of a command that succeeds and has nothing to say on stderr."""
        exit_code, stdout, stderr = self(line)
        assert (exit_code, stderr) == (0, "")
        return stdout

    def err(self, line: str | list[str], code: int = 2) -> str:
        """The stderr of a command that fails and prints nothing else."""
        exit_code, stdout, stderr = self(line)
        assert (exit_code, stdout) == (code, "")
        return stderr

    def json(self, line: str) -> Any:
        """What a command prints with --json: the rows of a table, or all but the schema."""
        return body(self.out(f"{line} --json"))

    def boot(self, scenario: str = SCENARIO) -> None:
        """Boot the machine, of another scenario if one is given."""
        self.write("machine.yaml", scenario)
        self.out("boot")

    def write(self, name: str, text: str) -> Path:
        """Write a file of the folder."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """What is run meanwhile leaves the state as it was, byte by byte."""
        before = self.state.read_bytes()
        yield
        assert self.state.read_bytes() == before

    def maps(self, task: str) -> list[str]:
        """The lines of numa_maps, without their addresses."""
        return [line.partition(" ")[2] for line in self.out(f"numa_maps {task}").splitlines()]

    def counted(self, *names: str) -> list[int]:
        """Some counters of vmstat."""
        values = dict(line.split() for line in self.out("vmstat").splitlines())
        return [int(values[name]) for name in names]

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a command that runs as a process of its own."""
        return {
            **{name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ},
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.folder),
            "PYMIGRATE_STATE": str(self.state),
            "PYMIGRATE_SCENARIO": str(self.scenario),
            **more,
        }

    def start(self, line: str, **how: Any) -> "subprocess.Popen[str]":
        """Start a command as a process of its own; *how* goes to Popen()."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
        how = {"env": self.environment(), "cwd": self.folder, **pipes, **how}
        return subprocess.Popen([*PYMIGRATE, *shlex.split(line)], **how)

    def spawn(self, line: str, **how: Any) -> Outcome:
        """Run a command as a process of its own."""
        with self.start(line, **how) as process:
            stdout, stderr = process.communicate(timeout=60)
        return Outcome(process.returncode, stdout or "", stderr or "")


@pytest.fixture
def unbooted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """A shell whose machine was never booted."""
    for name in ("PYMIGRATE_STATE", "PYMIGRATE_SCENARIO", "XDG_STATE_HOME", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    def run(args: list[str]) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["pymigrate", *args])
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO()))
        with pytest.raises(SystemExit) as stop:
            main()
        assert isinstance(stop.value.code, int)
        return Outcome(stop.value.code, *capsys.readouterr())

    shell = Shell(tmp_path, run)
    for name, value in shell.environment().items():
        if name not in ("PATH", "SYSTEMROOT"):
            monkeypatch.setenv(name, value)
    return shell


@pytest.fixture
def shell(unbooted: Shell, request: pytest.FixtureRequest) -> Shell:
    """A shell whose machine is booted."""
    unbooted.boot(getattr(request.module, "SCENARIO", SCENARIO))
    return unbooted


class Project:
    """A folder with tests, and pytest to run them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, test: str, *args: str, code: int = 0) -> str:
        """What pytest prints about the file *test*."""
        (self.folder / "test_it.py").write_text(test)
        command = [sys.executable, "-m", "pytest", "-p", "pymigrate.pytest_plugin", "--no-header"]
        environment = {
            "PYTHONPATH": str(ROOT),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # it may be installed, too
            "COLUMNS": "200",
        }
        done = subprocess.run(
            [*command, "-q", "-p", "no:cacheprovider", "--strict-markers", *args],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return Project(tmp_path)


def execute(shell: Shell, sql: str, *, sealed: bool = False) -> None:
    """Change the state behind the back of pymigrate; *sealed*: as if it had written that itself."""
    with sqlite3.connect(shell.state) as database:
        database.execute(sql)
        for name in TABLES if sealed else ():
            columns = ", ".join(f"[{column}]" for column in TABLES[name].columns)
            rows = database.execute(f"SELECT {columns} FROM {name} ORDER BY rowid").fetchall()
            database.execute("UPDATE sums SET sum = ? WHERE name = ?", (sum_of_rows(rows), name))
    database.close()


def imported(shell: Shell, *args: str, **environment: str) -> set[str]:
    """The modules that Python imports, run with *args*."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *args],
        env=shell.environment(**environment),
        cwd=shell.folder,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return {row.rpartition("|")[2].strip() for row in done.stderr.splitlines()}


def costly(shell: Shell, line: str, **environment: str) -> set[str]:
    """The costly modules that a command imports."""
    names = imported(shell, "-m", "pymigrate", *line.split(), **environment)
    assert "click" in names
    return {name.partition(".")[0] for name in names} & COSTLY
