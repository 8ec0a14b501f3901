"""The text of README.md, in sections and blocks, and how its sessions are run."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pymigrate.cli import main
from pymigrate.nodemask import Nodemask
from pymigrate.scenario.steps.every import OPS, step_model
from pymigrate.units import format_size
from tests.cli.conftest import ROOT

README = ROOT / "README.md"
TESTING = ROOT / "pymigrate" / "docs" / "testing.md"
CAPTURE = ROOT / "pymigrate" / "docs" / "capture.md"
MARK = "@@ the next command @@"
# How the first line of a block names its file.
EXAMPLE = re.compile(r"(?:#|/\*) ([\w.]+\.(?:yaml|c|py)|Makefile)\b")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")


def sections(text: str) -> dict[str, str]:
    """The text of each section by its heading."""
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def command_rows(text: str) -> str:
    """*text* with what each command does, in the table of commands, as its declaration says it."""
    for name, about in main.commands().items():
        said = f"{about[0].lower()}{about[1:]}".replace("|", "\\|")
        said = said if said.endswith("...") else said.removesuffix(".")
        text = re.sub(
            rf"^(\| `{name}` \| ).*( \| `pymigrate {name}\b.*` \|)$",
            lambda row, said=said: f"{row[1]}{said}{row[2]}",
            text,
            flags=re.MULTILINE,
        )
    return text


def step_rows(text: str) -> str:
    """*text* with the table of steps as the models of steps have it."""
    rows = "".join(_step_row(op) for op in OPS)
    head = "| step | what it does | keys |\n| --- | --- | --- |\n"
    return re.sub(re.escape(head) + r"(?:\|.*\n)*", lambda _: head + rows, text)


def _step_row(op: str) -> str:
    model = step_model(op)
    keys = []
    for name, field in model.model_fields.items():
        if name in ("op", "expect"):
            continue
        key = f"`{field.alias or name}`"
        default = field.get_default()
        if not field.is_required() and default not in (None, False, (), 0, Nodemask()):
            key += f" ({_shown(default)})"
        keys.append(key)
    about = (model.__doc__ or "").splitlines()[0].rstrip(".")
    return f"| `{op}` | {about[0].lower()}{about[1:]} | {', '.join(keys)} |\n"


def _shown(default: object) -> str:
    """A default as scenarios have it."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return format_size(default) if isinstance(default, int) else str(default)


def commands(block: str) -> Iterator[str]:
    """The commands of a console block, each with its further lines."""
    for match in re.finditer(r"^\$ (.*\n(?:> .*\n)*)", block, re.MULTILINE):
        yield match[1].replace("\n> ", "\n")


def play(section: str, folder: Path) -> list[str]:
    """The section's console blocks as they look when their commands are run in *folder*."""
    for _, example in BLOCK.findall(section):
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
        shell, cwd=folder, env=env, stdout=subprocess.PIPE, text=True, check=False, timeout=60
    )
    outputs = done.stdout.split(f"{MARK}\n")[1:]
    assert len(outputs) == len(listed), done.stdout
    left = iter(outputs)
    return [
        "".join("$ " + c.replace("\n", "\n> ")[:-2] + next(left) for c in commands(block))
        for block in blocks(section, "console")
    ]


TEXT = README.read_text(encoding="utf-8")
SECTIONS = sections(TEXT)
