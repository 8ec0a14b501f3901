"""README and the docs: their sections and blocks, and how their sessions are run."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.cli.conftest import ROOT
from tests.cli.tables import DOCS

README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.glob("*.md"))]
MARK = "@@ the next command @@"
# How the first line of a block names its file.
EXAMPLE = re.compile(r"(?:#|/\*) ([\w.]+\.(?:yaml|c|py)|Makefile)\b")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")


def sections(text: str) -> dict[str, str]:
    """The text of each section by its heading; of what is above the first by ""."""
    parts = ["", *re.split(r"^## (.+)\n", text, flags=re.MULTILINE)]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def commands(block: str) -> Iterator[str]:
    """The commands of a console block, each with its further lines."""
    for match in re.finditer(r"^\$ (.*\n(?:> .*\n)*)", block, re.MULTILINE):
        yield match[1].replace("\n> ", "\n")


def sessions() -> Iterator[tuple[Path, str]]:
    """Each page and heading of a section with a session; test_tour.py has those of the tour."""
    for page in PAGES:
        if page.stem == "tour":
            continue
        for heading, section in sections(page.read_text(encoding="utf-8")).items():
            if blocks(section, "console"):
                yield page, heading


def play(section: str, folder: Path, page: str = "") -> list[str]:
    """The section's console blocks as they look when their commands are run in *folder*.

    The files are those of all its *page*.
    """
    for _, example in BLOCK.findall(page or section):
        if named := EXAMPLE.match(example):
            (folder / named[1]).write_text(example, encoding="utf-8")
    shutil.copytree(ROOT / "scenarios", folder / "scenarios")
    program = folder / "bin" / "pymigrate"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pymigrate "$@"\n')
    program.chmod(0o755)
    listed = [command for block in blocks(section, "console") for command in commands(block)]
    script = "exec 2>&1; status=0\n" + "".join(
        f"echo {shlex.quote(MARK)}; (exit $status)\n{command}status=$?\n" for command in listed
    )
    env = {
        "PATH": f"{program.parent}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),  # where the state directory is
        "COLUMNS": "80",
        "LC_ALL": "C",
    }
    shell = ["bash", "--noprofile", "--norc", "-c", script]
    done = subprocess.run(
        shell, cwd=folder, env=env, stdout=subprocess.PIPE, text=True, check=False, timeout=300
    )
    outputs = done.stdout.split(f"{MARK}\n")[1:]
    assert len(outputs) == len(listed), done.stdout
    left = iter(outputs)
    return [
        "".join("$ " + c.replace("\n", "\n> ")[:-2] + next(left) for c in commands(block))
        for block in blocks(section, "console")
    ]


def played(page: str, folder: Path) -> str:
    """The text of a page with what the commands of its sessions print now."""
    text = page
    for number, section in enumerate(sections(page).values()):
        begun = folder / str(number)
        begun.mkdir()
        for old, new in zip(blocks(section, "console"), play(section, begun, page), strict=True):
            text = text.replace(f"```console\n{old}```", f"```console\n{new}```")
    return text
