"""``pymigrate report``: what it writes, and what it refuses. A browser looks at it elsewhere."""

import sys

import pytest

from tests.cli.conftest import Shell

DB = """\
machine:
  nodes:
    0: {cpus: "0", memory: 64MiB}
    1: {cpus: "1", memory: 64MiB}
tasks:
  db:
    cpus: "0"
    memory: [{as: heap, kind: heap, size: 1MiB}]
    access: [{region: heap, rate: 1000}]
"""


@pytest.fixture(autouse=True)
def _in_its_folder(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shell.folder)


def page(shell: Shell) -> str:
    return (shell.folder / "out.html").read_text(encoding="utf-8")


def test_a_plan_is_summed_up_and_written(shell: Shell) -> None:
    with shell.unchanged():
        said = shell.out("report out.html a --to 1")
    assert said == "out.html: 104 KiB move, nothing stays that was to move.\n"
    assert said.partition(": ")[2].rstrip() in page(shell)


def test_the_same_report_is_the_same_file(shell: Shell) -> None:
    shell.out("report out.html a --to 1 --as 26")
    first = page(shell)
    shell.out("report out.html a --to 1 --as 26")
    assert page(shell) == first


def test_a_machine_alone(shell: Shell) -> None:
    assert shell.out("report out.html") == "out.html\n"
    assert "A machine and its memory" in page(shell)


def test_time_passes_on_a_copy(shell: Shell) -> None:
    shell.boot(DB)
    with shell.unchanged():
        shell.out("report out.html --seconds 2")
    assert "Address by time" in page(shell)


def test_variants(shell: Shell) -> None:
    shell.write("db.yaml", DB)
    rows = shell.out("compare db.yaml --policy db=bind:0 --policy db=bind:1 --json")
    shell.write("rows.json", rows)
    shell.out("report out.html --compare rows.json")
    assert "Variants of a scenario" in page(shell)
    assert "tasks.db.mempolicy=bind:1" in page(shell)


def test_a_plan_that_is_refused_exits_with_1(shell: Shell) -> None:
    shell.boot(DB.replace("size: 1MiB", "size: 40MiB").replace('1", memory: 64', '1", memory: 16'))
    exit_code, stdout, _ = shell("report out.html db --to 1")
    assert (exit_code, stdout) == (
        1,
        "out.html: Refused: Cannot allocate memory: node 1 is full.\n",
    )
    assert "Refused: " in page(shell)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("report", "Missing argument 'OUT.html'"),
        ("report out.html a", "expected --to NODES"),
        ("report out.html --to 1", "expected one of PID"),
        ("report nowhere/out.html", "cannot be written: No such file or directory"),
        ("report out.html --compare machine.yaml", "it does not hold what `pymigrate compare"),
        ("report out.html --seconds 0", "is 0, expected more than 0"),
    ],
)
def test_what_cannot_be_reported(shell: Shell, line: str, said: str) -> None:
    assert said in shell.err(line)


def test_without_the_template_engine_it_says_what_to_install(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "pymigrate.report.report", raising=False)
    assert "pip install 'pymigrate-numa[report]'" in shell.err("report out.html")
