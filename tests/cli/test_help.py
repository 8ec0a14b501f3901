"""Help of commands, and the guides."""

import re

import pytest

from pymigrate.cli.examples import EXAMPLES, GUIDES, guide_of
from pymigrate.cli.help import guide
from pymigrate.cli.main import commands
from tests.cli.conftest import GROUPS, Outcome, Shell
from tests.cli.readme import DOCS

ALL = [*commands(), *(f"{group} {name}" for group, names in GROUPS.items() for name in names)]
SCREEN = 40  # lines
MARKDOWN = """\
# A title of `code`

A paragraph with [check.md](check.md), a [link](json.md#keys), and **weight** that goes on.

- an item
  of two lines
- another

| value | what | more |
| --- | --- | --- |
| `a\\|b` | text | |

```console
$ a command that is longer than the width is
```
"""
TEXT = """\
A title of code

A paragraph with pymigrate help check, a
link (pymigrate help json), and weight
that goes on.

  - an item of two lines

  - another

  a|b
      what: text

    $ a command that is longer than the width is

"""


@pytest.mark.parametrize("name", ALL)
def test_help_is_one_screen_with_examples(unbooted: Shell, name: str) -> None:
    text = unbooted.out(f"{name} --help")
    assert text.count("\n") <= SCREEN
    assert "Examples:\n" + "".join(f"  {line}\n" for line in EXAMPLES[name]) in text
    assert text.endswith(f"\nGuide: pymigrate help {guide_of(name)}\n")


# Options that stand for something else in one command than in another.
OTHERS = {
    "--to": {"NODE", "NODES"},
    "--mode": {"[async|sync_light|sync]", "[kernel|nofs|nowait|noretry|retry_mayfail|none]"},
    "--kernel": {"[6.12|6.1|7.2]", "RELEASE"},
}
_OPTION = re.compile(
    r"^  (?:-\w, )?(--[a-z-]+)(?: ([A-Z\[']\S*(?: [A-Z|]\S*)*))?(?:  |$)", re.MULTILINE
)


def test_an_option_is_written_alike_everywhere(unbooted: Shell) -> None:
    found: dict[str, set[str]] = {}
    for name in ALL:
        for option, word in _OPTION.findall(unbooted.out(f"{name} --help")):
            found.setdefault(option, set()).add(word)
    assert {option: words for option, words in found.items() if len(words - {""}) > 1} == OTHERS
    assert not {"TEXT", "INTEGER", "RANGE"} & {word for words in found.values() for word in words}


@pytest.mark.parametrize("name", ALL)
def test_own_options_come_before_common_ones(unbooted: Shell, name: str) -> None:
    own, _, common = unbooted.out(f"{name} --help").partition("Common options:\n")
    assert "--scenario" not in own.partition("\nOptions:\n")[2]
    assert name in GROUPS or "-h, --help" in common


@pytest.mark.parametrize("columns", ["30", "80", "200"])
@pytest.mark.parametrize("group", GROUPS)
def test_nothing_of_a_group_is_cut_off(
    unbooted: Shell, group: str, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = " ".join(unbooted.out(f"{group} --help").split())
    for name in GROUPS[group]:
        first = unbooted.out(f"{group} {name} --help").split("\n\n")[1]
        assert f" {name} {' '.join(first.split()).partition('. ')[0]}" in text


def test_each_command_has_a_guide() -> None:
    assert {guide_of(name) for name in commands()} <= set(guide.guides())
    named = [name for names in GUIDES.values() for name in names.split()]
    assert len(named) == len(set(named))
    assert set(named) <= set(commands())


def test_guides_are_listed(unbooted: Shell) -> None:
    text = unbooted.out("help")
    for path in DOCS.glob("*.md"):
        title = path.read_text(encoding="utf-8").partition("\n")[0][2:].replace("`", "")
        assert f"  {path.stem} " in text
        assert f" {title}\n" in text


def test_markdown_becomes_text(unbooted: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pymigrate.cli.commands.help.guides", lambda: {"it": MARKDOWN})
    monkeypatch.setenv("COLUMNS", "40")
    assert unbooted.out("help it") == TEXT


@pytest.mark.parametrize("name", guide.guides())
def test_a_guide_fits_the_terminal(unbooted: Shell, name: str) -> None:
    text = unbooted.out(f"help {name}")
    assert text.startswith(guide.title_of(guide.guides()[name]) + "\n\n")
    prose = [line for line in text.splitlines() if " " in line.strip() and line[:4] != "    "]
    assert max(map(len, prose)) <= 80


def test_help_of_a_command(unbooted: Shell) -> None:
    assert unbooted.out("help ps") == unbooted.out("ps --help")


def test_unknown_topic(unbooted: Shell) -> None:
    assert unbooted("help movin") == Outcome(
        2,
        "",
        "pymigrate: Invalid value for TOPIC: there is no guide or command 'movin';"
        " nearest is moving;"
        " `pymigrate help` lists them\nTry 'pymigrate help --help' for help.\n",
    )


def test_help_needs_a_terminal_for_the_pager(
    unbooted: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    paged: list[str] = []
    monkeypatch.setattr("click.echo_via_pager", paged.append)
    monkeypatch.setattr("pymigrate.cli.commands.help._is_terminal", lambda: True)
    assert unbooted.out("help check") == ""
    assert paged[0].startswith("\x1b[1mChecking")
