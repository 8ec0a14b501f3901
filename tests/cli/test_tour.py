"""The tour of the kernel's document: each statement is shown happening."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pymigrate.cli.commands.tour import Statement, statements, walk
from tests.cli.conftest import PYMIGRATE, Shell
from tests.cli.readme import DOCS, blocks, commands

GUIDE = (DOCS / "tour.md").read_text(encoding="utf-8")
STATEMENTS = statements(GUIDE)


def perform(shell: Shell, line: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a line of a session prints into a pipe: stderr, and stdout when the command ends."""
    program, *args = shlex.split(line)
    if program == "export":
        monkeypatch.setenv(*args[0].split("=", 1))
        return ""
    assert program == "pymigrate"
    done = shell(args)
    return done.stderr + done.stdout


def test_there_are_the_45_statements() -> None:
    assert [each.number for each in STATEMENTS] == list(range(1, 46))


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda each: f"{each.number} {each.title}")
def test_statement_is_shown_happening(
    unbooted: Shell, statement: Statement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYMIGRATE_SCENARIO")
    [shown] = blocks(statement.text, "console")
    played = [(line, perform(unbooted, line, monkeypatch)) for line in statement.session]
    assert "".join(f"$ {line}\n{text}" for line, text in played) == shown
    assert [line.rstrip("\n") for line in commands(shown)] == statement.session
    tried = re.search(r"^\*\*Try:\*\* `pymigrate (.+)`$", statement.text, re.MULTILINE)
    assert tried
    monkeypatch.setenv("PYMIGRATE_SCENARIO", os.environ.get("PYMIGRATE_SCENARIO") or "two-node")
    assert unbooted(shlex.split(tried[1])).exit != 2, tried[1]


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda each: str(each.number))
def test_statement_is_quoted_explained_and_has_its_function(statement: Statement) -> None:
    assert statement.text.count("\n**The document:** ") == 1
    assert re.search(r"^\*\*Kernel:\*\* .+", statement.text, re.MULTILINE)
    paragraphs = re.sub(r"```.*?```", "", statement.text, flags=re.S).split("\n\n")
    assert len([text for text in paragraphs if re.match(r"[A-Z`_]", text)]) >= 1


def test_text_in_a_pipe(unbooted: Shell) -> None:
    one = unbooted.out("tour 23")
    assert one.startswith("23. Step 7: check the index\n\nThe document: check the")
    assert "    $ pymigrate task busy db libc+0:4KiB lookup --passes 3\n" in one
    whole = unbooted.out("tour")
    assert one in whole
    assert len(unbooted.out("tour --list").splitlines()) == 45
    assert unbooted.out("tour --list").splitlines()[22] == ("23  Step 7: check the index")


def test_a_statement_that_there_is_not(unbooted: Shell) -> None:
    assert "46; expected one of the 45 statements" in unbooted.err("tour 46")


class Walk:
    """A walk on which *answers* are given, until the input ends; and what it runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: str, at: int = 0) -> None:
        self.left, self.ran, self.asked = list(answers), list[str](), 0
        monkeypatch.setattr("click.termui.visible_prompt_func", self._answer)
        walk(STATEMENTS, at, self.ran.append)

    def _answer(self, _: str) -> str:
        self.asked += 1
        if not self.left:
            raise EOFError
        return self.left.pop(0)


def titles(text: str) -> list[int]:
    """The numbers of the statements that were shown."""
    return [int(number) for number in re.findall(r"^(\d+)\. .+\n\nThe document: ", text, re.M)]


def test_next_and_back(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Walk(monkeypatch, "n", "", "b", "17", "back", "quit", "n")
    assert titles(capsys.readouterr().out) == [1, 2, 3, 2, 17, 16]


def test_the_walk_has_two_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Walk(monkeypatch, "b").asked == 2
    assert Walk(monkeypatch, "n", "b", at=44).asked == 1
    out = capsys.readouterr().out
    assert titles(out) == [1, 1, 45]
    assert out.endswith("That was the last one.\n")


def test_a_session_is_tried_and_then_commands_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = Walk(monkeypatch, "t", "pymigrate show db", "99", at=1)
    assert done.ran == [*STATEMENTS[1].session, "pymigrate show db"]
    out = capsys.readouterr().out
    assert titles(out) == [2]
    assert "$ pymigrate accesses db\n" in out
    assert "There are statements 1 to 45.\n" in out


def _until_closed(master: int) -> Iterator[str]:
    """What the other side of a pseudo-terminal writes."""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # EIO: it is closed
            return
        if not data:
            return
        yield data.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal(unbooted: Shell) -> None:
    import pty  # POSIX has it alone

    master, slave = pty.openpty()
    environment = unbooted.environment(TERM="dumb")
    ends = {"stdin": slave, "stdout": slave, "stderr": slave}
    with subprocess.Popen([*PYMIGRATE, "tour"], env=environment, **ends) as process:
        os.close(slave)
        os.write(master, b"5\ntry it\nps\n'\nq\n")
        text = "".join(_until_closed(master)).replace("\r", "")
    os.close(master)
    assert process.returncode == 0
    assert "1. Pages move, addresses stay" in text
    assert text.count("node distances:") == 2  # as it is printed, and as it is tried
    assert re.search(r"^4321 +26 db ", text, re.MULTILINE)
    assert "No closing quotation" in text
    assert not unbooted.state.exists()
