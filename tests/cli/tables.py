"""The tables of README and the docs that follow from declarations."""

import re
from collections.abc import Iterable

from pymigrate import Machine
from pymigrate.cli import main
from pymigrate.cli.examples import EXAMPLES
from pymigrate.nodemask import Nodemask
from pymigrate.scenario.steps.every import OPS, step_model
from pymigrate.session import about_scenario, shipped_scenarios
from pymigrate.units import format_size
from tests.cli.conftest import ROOT

DOCS = ROOT / "pymigrate" / "docs"


def filled(text: str) -> str:
    """*text* with the tables that it has a head of as the declarations say now."""
    for head, rows in (
        ("| topic | |", _topics()),
        ("| code | |", (f"| {code} | {said} |" for code, said in main.EXIT_CODES.items())),
        ("| variable | |", (f"| `{name}` | {said} |" for name, said in main.ENVIRONMENT.items())),
        ("| step | what it does | keys |", map(_step, OPS)),
        ("| method | what it does |", _methods()),
        ("| scenario | what it is about |", _scenarios()),
    ):
        text = _with_rows(text, head, rows)
    return re.sub(
        r"(?<=^## All commands\n\n).*?(?=^## )", lambda _: _commands(), text, flags=re.M | re.S
    )


def _with_rows(text: str, head: str, rows: Iterable[str]) -> str:
    if head not in text:
        return text
    head += "\n" + re.sub(r"[^|]+", " --- ", head) + "\n"
    table = head + "".join(f"{row}\n" for row in rows)
    return re.sub(re.escape(head) + r"(?:\|.*\n)*", lambda _: table, text)


def _topics() -> Iterable[str]:
    for path in sorted(DOCS.glob("*.md")):
        title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        yield f"| [{path.stem}](pymigrate/docs/{path.name}) | {title} |"


def _commands() -> str:
    """The commands by what they are for, each with its first example."""
    parts = []
    for title, names in main.GROUPS.items():
        rows = (
            f"| `{name}` | {_clause(main.commands()[name])} | `{_example(name)}` |"
            for name in names.split()
        )
        head = "| command | what it does | example |\n| --- | --- | --- |\n"
        parts.append(f"### {title}\n\n{head}" + "".join(f"{row}\n" for row in rows) + "\n")
    return "".join(parts)


def _example(name: str) -> str:
    return next(line for line in EXAMPLES[name] if f" {name}" in line).replace("|", "\\|")


def _scenarios() -> Iterable[str]:
    for name, path in shipped_scenarios().items():
        yield f"| `{name}` | {about_scenario(path)} |"


def _methods() -> Iterable[str]:
    for name in sorted(dir(Machine)):
        if not name.startswith("_"):
            about = (getattr(Machine, name).__doc__ or "").partition("\n\n")[0]
            yield f"| `{name}` | {' '.join(about.split())} |"


def _step(op: str) -> str:
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
    return f"| `{op}` | {_clause((model.__doc__ or '').splitlines()[0])} | {', '.join(keys)} |"


def _clause(sentence: str) -> str:
    """A sentence as it stands in a table."""
    said = f"{sentence[0].lower()}{sentence[1:]}".replace("|", "\\|")
    return said if said.endswith("...") else said.removesuffix(".")


def _shown(default: object) -> str:
    """A default as scenarios have it."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return format_size(default) if isinstance(default, int) else str(default)
