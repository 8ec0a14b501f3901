"""Commands in odd surroundings: closed or full outputs, locales, terminals, no home."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import PYMIGRATE, Outcome, Shell


def through(shell: Shell, pipeline: str, **environment: str) -> Outcome:
    """Run a line of sh; "pymigrate" in it is the command."""
    if sys.platform == "win32":
        pytest.skip("runs sh")
    line = f'pymigrate() {{ {" ".join(PYMIGRATE)} "$@"; }}; {pipeline}'
    env = shell.environment(**environment)
    done = subprocess.run(
        ["sh", "-c", line], env=env, cwd=shell.folder, capture_output=True, timeout=60
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_reader_that_leaves(shell: Shell) -> None:
    assert through(shell, "pymigrate vmstat | head -n 1") == Outcome(0, "nr_free_pages 32737\n")
    shell.write("log", "10000000 1\n" * 50_000)
    line = "pymigrate move_pages a --from-file log | head -n 1"
    assert through(shell, line) == Outcome(0, "         ADDRESS STATUS\n")
    assert shell.counted("pgmigrate_success") == [1]


@pytest.mark.parametrize(
    "line",
    [
        "vmstat",
        "--help",
        "numa_maps a --json",
        "mbind a heap bind:1 --dry-run",
        "run machine.yaml --json",
    ],
)
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_disk_that_is_full(shell: Shell, line: str) -> None:
    exit_code, _, stderr = through(shell, f"pymigrate {line} > /dev/full")
    assert exit_code == 1
    assert "No space left on device" in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    "line", ["vmstat", "--help", "migratepages a 0 1", "show", "run machine.yaml"]
)
def test_closed_stdout(shell: Shell, line: str) -> None:
    exit_code, _, stderr = through(shell, f"pymigrate {line} >&-")
    assert exit_code in (0, 1)
    assert "Traceback" not in stderr


def test_closed_stderr(shell: Shell) -> None:
    assert through(shell, "pymigrate migratepages 7 0 1 2>&-") == Outcome(1)
    assert through(shell, "pymigrate migratepages 7 0 1 >&- 2>&-").exit == 1
    assert through(shell, "pymigrate migratepages 2>&-").exit == 2


@pytest.mark.parametrize("line", ["vmstat --since -", "move_pages a --query --from-file -"])
def test_closed_stdin(shell: Shell, line: str) -> None:
    exit_code, _, stderr = through(shell, f"pymigrate {line} <&-")
    assert exit_code in (1, 2)
    assert "Traceback" not in stderr


def test_closed_stdin_matters_to_nothing_else(shell: Shell) -> None:
    assert through(shell, "pymigrate migratepages a 0 1 <&-") == Outcome(0)


@pytest.mark.parametrize("columns", ["1", "0", "-5", "x", "100000"])
@pytest.mark.parametrize("line", ["show", "--help", "ps", "vmstat --bogus"])
def test_width_of_the_terminal(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, columns: str, line: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert shell(line).exit == (2 if "bogus" in line else 0)


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8", "xx_XX"])
def test_locale(shell: Shell, locale: str) -> None:
    shell.out(["task", "fork", "a", "child"])
    assert shell.spawn("ps", env=shell.environment(LC_ALL=locale)) == Outcome(0, shell.out("ps"))


def test_ascii_output(shell: Shell) -> None:
    shell.out(["task", "fork", "a", "child"])
    env = shell.environment(PYTHONIOENCODING="ascii")
    exit_code, _, stderr = shell.spawn("ps", env=env)
    assert exit_code in (0, 1)
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    "line", ["cpuset create X --cpus 0 --mems 0", "task fork a X", "migratepages a X 1"]
)
def test_bytes_that_are_no_text(shell: Shell, line: str) -> None:
    raw = subprocess.run(
        [*PYMIGRATE, *(b"\xff" if word == "X" else word for word in line.split(" "))],
        env=shell.environment(),
        cwd=shell.folder,
        capture_output=True,
        timeout=60,
    )
    assert raw.returncode in (0, 1, 2)
    assert b"Traceback" not in raw.stderr


def test_without_home(shell: Shell) -> None:
    env = shell.environment(PYMIGRATE_STATE="", XDG_STATE_HOME=str(shell.folder / "xdg"))
    del env["HOME"]
    assert shell.spawn("vmstat", env=env).exit == 0
    assert len(list((shell.folder / "xdg" / "pymigrate").iterdir())) == 1


def test_home_that_is_no_directory(shell: Shell) -> None:
    env = shell.environment(PYMIGRATE_STATE="", HOME="/dev/null")
    expected = "pymigrate: /dev/null/.local/state/pymigrate: cannot be made: Not a directory\n"
    assert shell.spawn("vmstat", env=env) == Outcome(3, "", expected)


def test_empty_variables_are_as_if_unset(shell: Shell) -> None:
    env = shell.environment(PYMIGRATE_SCENARIO="")
    assert shell.spawn("numa_maps a", env=env).exit == 0


def test_folder_that_is_gone(shell: Shell) -> None:
    line = "mkdir gone; cd gone; rmdir ../gone; pymigrate vmstat --migration"
    exit_code, stdout, stderr = through(shell, line)
    assert (exit_code, stderr) == (0, "")
    assert stdout.count("\n") == 10


def test_folder_that_is_gone_and_a_relative_path(shell: Shell) -> None:
    line = "mkdir gone; cd gone; rmdir ../gone; pymigrate --state x.db vmstat"
    exit_code, stdout, stderr = through(shell, line)
    assert (exit_code, stdout) == (3, "")
    assert "Traceback" not in stderr


def test_optimized_python(shell: Shell) -> None:
    env = shell.environment(PYTHONOPTIMIZE="2")
    assert shell.spawn("migratepages a 0 1", env=env) == Outcome(0)
    assert shell.spawn("--help", env=env).stdout.startswith("Usage: pymigrate")


def test_warnings_are_errors(shell: Shell) -> None:
    env = shell.environment(PYTHONWARNINGS="error", PYTHONDEVMODE="1")
    lines = "boot", "migratepages a 0 1", "vmstat --json", "show", "move_pages a heap --query"
    for line in lines:
        exit_code, _, stderr = shell.spawn(line, env=env)
        assert (exit_code, stderr) == (0, "")


def test_state_with_odd_names(shell: Shell) -> None:
    for name in ("a b", "é", "?mode=ro", ":memory:", "file:x", "-x", "#", "%41"):
        assert shell(["--state", name, "ps"]).exit == 0
        assert Path(name).is_file(), sys.version
