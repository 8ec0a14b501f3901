import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pymigrate.cli.main import cli
from pymigrate.cli.render import progress
from pymigrate.errors import KernelError
from tests.cli.conftest import ROOT

SCENARIO = """\
machine:
  nodes:
    0: {cpus: "0-1", memory: 64MiB}
    1: {memory: 64MiB}
  distances: [[10, 17], [17, 10]]
tasks:
  web:
    comm: nginx
    uid: 33
    memory:
      - {as: cache, kind: shmem, size: 8MiB, policy: "interleave:0-1"}
      - {as: heap, kind: heap, size: 4MiB, pages: [[512, 0], [256, -1], [256, 1]]}
  log:
    comm: log
    cpus: "1"
    mempolicy: "bind:1"
    memory:
      - {as: buffer, size: 12KiB, pages: [[2, 1], [1, -1]]}
"""
NODES = """\
NODE  CPUS                                   USED     FREE  TOTAL
   0  0-1   ###--------------------------    6MiB    58MiB  64MiB
   1  none  ##---------------------------  5.0MiB  59.0MiB  64MiB

DISTANCE   0   1
       0  10  17
       1  17  10

"""
WEB = """\
1000 web (nginx)  uid 33, CPUs 0-1, default
  cache    8MiB  interleave:0-1  01010101010101010101010101010101
  heap     4MiB  default         0000000000000000........11111111

"""
LOG = """\
1001 log  uid 0, CPUs 1, bind:1
  buffer  12KiB  bind:1          11.

"""
LEGEND = """\
A cell is an equal part of a region, drawn as the node of most of its pages;
where nodes mix, cells take turns in proportion. '.': absent, 'z': zero page.
"""
COLOUR = re.compile(r"\x1b\[[0-9;]*\b[34]8;[0-9;]*m")
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "machine.yaml"
    path.write_text(SCENARIO, encoding="utf-8")
    return str(path)


def show(scenario: str, *args: str, columns: int = 65) -> str:
    command = ["--ephemeral", "--scenario", scenario, "show", *args]
    result = CliRunner(env={"COLUMNS": str(columns)}).invoke(cli, command)
    assert result.exit_code == 0, result.output
    return result.output


def in_terminal(*args: str, **env: str) -> str:
    """What `pymigrate ARGS` prints on a terminal of 80 columns."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", "pymigrate", *args],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "80",
            "TERM": "xterm-256color",
            **env,
        },
    )
    os.close(theirs)
    chunks = []
    try:
        while chunk := os.read(ours, 65536):
            chunks.append(chunk)
    except OSError:  # the terminal's other end was closed
        pass
    os.close(ours)
    assert program.wait() == 0, b"".join(chunks)
    return b"".join(chunks).decode().replace("\r\n", "\n")


def imported(*args: str) -> set[str]:
    """The libraries that `pymigrate ARGS` imports when its output is piped."""
    program = [sys.executable, "-X", "importtime", "-m", "pymigrate", *args]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(program, capture_output=True, text=True, env=env, check=True)
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in ended.stderr.splitlines()}


def test_plain_output(scenario: str) -> None:
    assert show(scenario) == NODES + WEB + LOG + LEGEND


def test_one_task(scenario: str) -> None:
    text = show(scenario, "log", columns=80)
    assert text == show(scenario, "1001", columns=80)
    assert text.splitlines()[-5:-2] == [
        "1001 log  uid 0, CPUs 1, bind:1",
        "  buffer  12KiB  bind:1  11.",
        "",
    ]
    assert "nginx" not in text


def test_unknown_task_is_refused(scenario: str) -> None:
    result = CliRunner().invoke(cli, ["--ephemeral", "--scenario", scenario, "show", "77"])
    assert isinstance(result.exception, KernelError)
    assert result.exception.errno == "ESRCH"


@pytest.mark.parametrize("columns", [52, 65, 80, 132, 400])
def test_width_adapts(scenario: str, columns: int) -> None:
    text = show(scenario, columns=columns).replace(LEGEND, "")
    assert max(map(len, text.splitlines())) == min(columns, 33 + 128)


def test_plain_output_is_ascii_without_escape_codes(scenario: str) -> None:
    assert show(scenario).isascii()
    assert "\x1b" not in show(scenario)


def test_plain_output_does_not_import_rich(scenario: str) -> None:
    assert "rich" not in imported("--ephemeral", "--scenario", scenario, "show")


def test_terminal_has_the_same_picture_in_colour(scenario: str) -> None:
    text = in_terminal("--ephemeral", "--scenario", scenario, "show", COLUMNS="65")
    assert COLOUR.search(text)
    plain = ESCAPES.sub("", text).replace("\u2501", "#").replace("\u2500", "-")
    assert plain == NODES + WEB + LOG + LEGEND


def test_no_color_is_respected_on_a_terminal(scenario: str) -> None:
    text = in_terminal("--ephemeral", "--scenario", scenario, "show", COLUMNS="65", NO_COLOR="1")
    assert not COLOUR.search(text)
    assert "0000000000000000" in text


def test_dumb_terminal_gets_plain_text(scenario: str) -> None:
    text = in_terminal("--ephemeral", "--scenario", scenario, "show", COLUMNS="65", TERM="dumb")
    assert text == NODES + WEB + LOG + LEGEND


def test_terminal_of_the_c_locale_gets_ascii(scenario: str) -> None:
    text = in_terminal("--ephemeral", "--scenario", scenario, "show", COLUMNS="65", LC_ALL="C")
    assert COLOUR.search(text)
    assert text.isascii()


def test_json_does_not_depend_on_the_width(scenario: str) -> None:
    text = show(scenario, "--json", columns=40)
    assert text == show(scenario, "--json", columns=200)
    heap = json.loads(text)["tasks"][0]["strips"][1]
    assert heap == {
        "name": "heap",
        "start": "0x555555559000",
        "pages": 1024,
        "policy": "default",
        "absent": 256,
        "zero_page": 0,
        "nodes": {"0": 512, "1": 256},
        "strip": [0] * 32 + [-1] * 16 + [1] * 16,
    }


def test_progress_passes_all_on_and_prints_nothing_into_a_pipe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(progress("abc", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""
