import json
import os
import re
import subprocess
import sys

import pytest

from pymigrate.cli.render import progress
from tests.cli.conftest import PYMIGRATE, Shell, costly

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


def shown(shell: Shell, args: str = "", columns: int = 65) -> str:
    """What `show` prints where a terminal would have so many columns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(columns))
        return shell.out(f"show {args}")


def in_terminal(shell: Shell, *, has_stdin: bool = False, **env: str) -> str:
    """What `show` prints on a terminal of 65 columns."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [*PYMIGRATE, "show"],
        stdin=theirs if has_stdin else subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=shell.environment(COLUMNS="65", TERM="xterm-256color") | env,
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


def test_plain_output(shell: Shell) -> None:
    assert shown(shell) == NODES + WEB + LOG + LEGEND


def test_one_task(shell: Shell) -> None:
    text = shown(shell, "log", columns=80)
    assert text == shown(shell, "1001", columns=80)
    assert text.splitlines()[-5:-2] == [
        "1001 log  uid 0, CPUs 1, bind:1",
        "  buffer  12KiB  bind:1  11.",
        "",
    ]
    assert "nginx" not in text


def test_unknown_task_is_refused(shell: Shell) -> None:
    expected = "pymigrate: No such process: there is no process 77\n"
    assert shell.err("show 77", 1) == expected


@pytest.mark.parametrize("columns", [52, 65, 80, 132, 400])
def test_width_adapts(shell: Shell, columns: int) -> None:
    text = shown(shell, columns=columns).replace(LEGEND, "")
    assert max(map(len, text.splitlines())) == min(columns, 33 + 128)


def test_plain_output_does_not_import_rich(shell: Shell) -> None:
    assert "rich" not in costly(shell, "show")


def test_terminal_has_the_same_picture_in_colour(shell: Shell) -> None:
    text = in_terminal(shell)
    assert COLOUR.search(text)
    plain = ESCAPES.sub("", text).replace("\u2501", "#").replace("\u2500", "-")
    assert plain == NODES + WEB + LOG + LEGEND


def test_no_color_is_respected_on_a_terminal(shell: Shell) -> None:
    text = in_terminal(shell, NO_COLOR="1")
    assert not COLOUR.search(text)
    assert "0000000000000000" in text


def test_dumb_terminal_gets_plain_text(shell: Shell) -> None:
    assert in_terminal(shell, TERM="dumb") == NODES + WEB + LOG + LEGEND


def test_terminal_of_the_c_locale_gets_ascii(shell: Shell) -> None:
    text = in_terminal(shell, LC_ALL="C")
    assert COLOUR.search(text)
    assert text.isascii()


def test_json_does_not_depend_on_the_width(shell: Shell) -> None:
    text = shown(shell, "--json", columns=40)
    assert text == shown(shell, "--json", columns=200)
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
    assert list(progress("abc", 3, "letters")) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""


def test_colours_can_be_asked_for_and_declined(shell: Shell) -> None:
    coloured = shown(shell, "--color=always")
    assert COLOUR.search(coloured)
    assert ESCAPES.sub("", coloured).startswith("NODE")
    assert COLOUR.search(shown(shell, "--color always --heat"))
    assert shown(shell, "--color=never") == shown(shell)


def test_colours_that_are_asked_for_outweigh_no_color(shell: Shell) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_COLOR", "1")
        assert COLOUR.search(shown(shell, "--color=always"))


def test_what_is_longer_than_the_terminal_goes_to_a_pager(shell: Shell) -> None:
    pager = f"{sys.executable} {shell.write('pager.py', PAGER)}"
    assert "paged 18 lines" in in_terminal(shell, has_stdin=True, LINES="10", PAGER=pager)
    assert "paged" not in in_terminal(shell, has_stdin=True, LINES="60", PAGER=pager)


PAGER = """\
import sys
print(f"paged {len(sys.stdin.readlines())} lines")
"""


def test_heat_and_what_is_left_out_for_machines(shell: Shell) -> None:
    shown = shell.json("show --heat --top 1")
    assert shown["rest"] == {"strips": 2, "pages": 770}
    [task] = shown["tasks"]
    assert task["strips"][0]["heat"] == [0.0] * 64
