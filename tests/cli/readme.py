"""The text of README.md, in sections and blocks."""

import re

from pymigrate.cli import main
from pymigrate.nodemask import Nodemask
from pymigrate.scenario.steps.every import OPS, step_model
from pymigrate.units import format_size
from tests.cli.conftest import ROOT

README = ROOT / "README.md"
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
        if name == "op":
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


TEXT = README.read_text(encoding="utf-8")
SECTIONS = sections(TEXT)
