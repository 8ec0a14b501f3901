"""Manual pages and completion come from the commands, and say what they say."""

import re
import shutil
import subprocess

import pytest

from pymigrate.cli.main import EXIT_CODES, commands
from tests.cli.conftest import GROUPS, Outcome, Shell


@pytest.fixture
def pages(unbooted: Shell) -> dict[str, str]:
    """The manual pages by their names."""
    nr = len(commands()) + 1
    assert unbooted("man pages") == Outcome(0, f"wrote {nr} manual pages to pages\n")
    return {path.stem: path.read_text() for path in (unbooted.folder / "pages").iterdir()}


def test_there_is_a_page_for_each_command(pages: dict[str, str]) -> None:
    assert set(pages) == {"pymigrate", *(f"pymigrate-{name}" for name in commands())}


def test_a_page_says_what_help_says(pages: dict[str, str]) -> None:
    page = pages["pymigrate-move_pages"]
    assert page.startswith('.TH "PYMIGRATE\\-MOVE_PAGES" 1 "" "pymigrate ')
    assert ".SH NAME\npymigrate\\-move_pages \\- Move single pages, or ask" in page
    assert "\\fBpymigrate move_pages\\fR [OPTIONS] PID [ADDR" in page
    assert ".TP\n\\fB\\-\\-move\\-all\\fR\nMove shared pages too (needs CAP_SYS_NICE).\n" in page


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_has_its_commands_on_its_page(pages: dict[str, str], group: str) -> None:
    sections = re.findall(r'^\.SS "(.+)"$', pages[f"pymigrate-{group}"], re.MULTILINE)
    assert sections == GROUPS[group]


def test_exit_codes_and_variables_are_on_each_page(pages: dict[str, str]) -> None:
    for page in pages.values():
        for code in EXIT_CODES:
            assert f".TP\n\\fB{code}\\fR\n" in page
        for name in ("PYMIGRATE_SCENARIO", "PYMIGRATE_STATE", "NO_COLOR"):
            assert f"\\fB{name}\\fR" in page


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_pages_are_roff_that_groff_takes(pages: dict[str, str], unbooted: Shell) -> None:
    for name in pages:
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-wmac", "-wsyntax", "-wescape", f"pages/{name}.1"],
            cwd=unbooted.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        long = "can't break line"  # in a synopsis with a long word
        assert [line for line in done.stderr.splitlines() if long not in line] == []
        assert done.stdout.count("\n") > 30


@pytest.mark.parametrize(
    ("shell", "text"),
    [
        ("bash", "complete -o nosort -F _pymigrate_completion pymigrate"),
        ("zsh", "#compdef pymigrate"),
        ("fish", "complete --no-files --command pymigrate"),
    ],
)
def test_completion_prints_a_script(unbooted: Shell, shell: str, text: str) -> None:
    out = unbooted.out(f"completion {shell}")
    assert text in out
    assert "_PYMIGRATE_COMPLETE" in out


def completed(shell: Shell, words: str) -> list[str]:
    """What bash is offered for the last of *words*."""
    environment = shell.environment(
        _PYMIGRATE_COMPLETE="bash_complete",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split(" ")) - 1),
    )
    done = shell.spawn("", env=environment)
    assert (done.exit, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_commands_options_choices_and_files_are_offered(unbooted: Shell) -> None:
    assert completed(unbooted, "pymigrate migratep") == ["plain,migratepages"]
    assert completed(unbooted, "pymigrate cpuset at") == ["plain,attach"]
    assert completed(unbooted, "pymigrate move_pages --move") == ["plain,--move-all"]
    assert completed(unbooted, "pymigrate completion z") == ["plain,zsh"]
    assert completed(unbooted, "pymigrate ps --scenario ma") == ["file,ma"]


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_bash_takes_the_script(unbooted: Shell) -> None:
    script = unbooted.out("completion bash") + "complete -p pymigrate\n"
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "complete -o nosort -F _pymigrate_completion pymigrate\n"
