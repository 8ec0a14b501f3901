"""What a terminal would obey is shown as `?`; files and pipes get it as it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pymigrate.cli.terminal import printable
from tests.cli.conftest import PYMIGRATE, Shell

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX's")

COMM = "x\x1b]0;P\x07\u202e"
SCENARIO = (
    "machine: {nodes: {0: {cpus: '0', memory: 64MiB}}}\n"
    r'tasks: {t: {comm: "x\e]0;P\x07\u202e", memory: [{as: f, kind: heap, size: 8KiB}]}}'
)


@pytest.fixture
def booted(shell: Shell) -> Shell:
    shell.boot(SCENARIO)
    return shell


def on_a_terminal(shell: Shell, *command: str) -> str:
    """What a command prints where stdout and stderr are a terminal."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    environment = shell.environment(TERM="xterm")
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as program:
        os.close(theirs)
        text = b""
        try:
            while part := os.read(ours, 65536):
                text += part
        except OSError:  # the terminal's other end was closed
            pass
    os.close(ours)
    assert program.returncode in (0, 2)
    return text.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("line", ["ps", "show", "numastat -p 1000", "cat proc/1000/comm"])
def test_a_terminal_is_not_commanded(booted: Shell, line: str) -> None:
    text = on_a_terminal(booted, *PYMIGRATE, *line.split())
    assert "x?]0;P?" in text
    assert not {"\x07", "\u202e"} & set(text)
    assert "\x1b]" not in text


def test_a_shim_does_not_command_it_either(booted: Shell) -> None:
    booted.out("shims bin")
    text = on_a_terminal(booted, str(booted.folder / "bin/ps"), "-e", "-o", "comm=")
    assert text == "x?]0;P??\n"


def test_an_error_message_does_not_command_it(shell: Shell) -> None:
    text = on_a_terminal(shell, *PYMIGRATE, "boot", "/no\x1b[31msuch")
    assert text.startswith("pymigrate: /no?[31msuch: cannot be read")


def test_colours_reach_a_terminal(booted: Shell) -> None:
    assert "\x1b[1mNODE" in on_a_terminal(booted, *PYMIGRATE, "show")


def test_a_pipe_and_a_file_get_it_unchanged(booted: Shell, tmp_path: Path) -> None:
    assert booted.spawn("cat proc/1000/comm").stdout == f"{COMM}\n"
    assert COMM in booted.spawn("ps").stdout
    booted.out("export tree")
    assert (tmp_path / "tree/proc/1000/comm").read_text(encoding="utf-8") == f"{COMM}\n"


def test_what_is_shown() -> None:
    assert printable("a\tb\nc\rd\x7fe\x85f\u2066g\u00e9") == "a\tb\nc?d?e?f?g\u00e9"


def test_a_comm_has_fifteen_bytes(shell: Shell) -> None:
    shell.write(
        "machine.yaml",
        SCENARIO.replace(
            r'"x\e]0;P\x07\u202e"', '"\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9"'
        ),
    )
    assert "expected at most 15 bytes of UTF-8" in shell.err("boot")
