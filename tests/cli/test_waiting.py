"""A bar on stderr's terminal shows that a command is at work; pipes get none."""

import subprocess
import sys

import pytest

from tests.cli.conftest import Shell
from tests.cli.test_terminal import on_a_terminal

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX's")

PROGRAM = """\
import sys
from pymigrate.cli import waiting
from pymigrate.cli.terminal import guard_terminals
guard_terminals()
waiting.DELAY = {delay}
with waiting.waiting():
    waiting.tell(1, 4)
    {wait}
    print("done", file=sys.stderr)
"""
UNTIL_SHOWN = "waiting._bar.is_shown.wait(); waiting._bar._thread.join(0.5)"


def test_a_bar_is_taken_away_by_the_first_line(shell: Shell) -> None:
    program = PROGRAM.format(delay=0, wait=UNTIL_SHOWN)
    text = on_a_terminal(shell, sys.executable, "-c", program)
    before, _, after = text.partition("done")
    assert "25%" in before
    assert after == "\n"


def test_a_short_command_shows_none(shell: Shell) -> None:
    text = on_a_terminal(shell, sys.executable, "-c", PROGRAM.format(delay=3600, wait="pass"))
    assert text == "done\n"


def test_a_pipe_gets_none(shell: Shell) -> None:
    program = PROGRAM.format(delay=0, wait="assert waiting._bar is None")
    done = subprocess.run(
        [sys.executable, "-c", program], env=shell.environment(), capture_output=True, check=True
    )
    assert done.stderr == b"done\n"
