"""The tables of README and the docs that follow from declarations."""

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pymigrate import Machine
from pymigrate.cli import main
from pymigrate.cli.examples import EXAMPLES, guide_of
from pymigrate.cli.helped import option_sections, words_of
from pymigrate.nodemask import Nodemask
from pymigrate.scenario.read.schema import json_schema
from pymigrate.scenario.spec import models
from pymigrate.scenario.steps.every import OPS, step_model
from pymigrate.session import about_scenario, shipped_scenarios
from pymigrate.units import format_size
from tests.cli.conftest import ROOT

MODELS: dict[str, type[models.Model]] = {
    "The file": models.Scenario,
    "`machine`": models.MachineSpec,
    "A node": models.NodeSpec,
    "`hmat` of a node": models.HmatSpec,
    "`fragmentation` of a node": models.PatternSpec,
    "A file": models.FileSpec,
    "A task": models.TaskSpec,
    "A region of a task's `memory`": models.RegionSpec,
    "`access` of a task": models.AccessSpec,
    "A cpuset": models.CpusetSpec,
    "A driver": models.DriverSpec,
    "A device": models.DeviceSpec,
    "`costs` of the machine": models.CostsSpec,
}
DOCS = ROOT / "pymigrate" / "docs"


def filled(text: str) -> str:
    """*text* with the tables that it has a head of as the declarations say now."""
    for head, rows in (
        ("| topic | |", _topics()),
        ("| code | |", (f"| {code} | {said} |" for code, said in main.EXIT_CODES.items())),
        ("| variable | |", (f"| `{name}` | {said} |" for name, said in main.ENVIRONMENT.items())),
        ("| step | what it does | keys |", map(_step, OPS)),
        ("| common option | |", _common_options()),
        ("| method | what it does |", _methods()),
        ("| scenario | what it is about |", _scenarios()),
    ):
        text = _with_rows(text, head, rows)
    text = _with_part(text, "Keys of the format", _keys())
    return _with_part(text, "All commands", _commands())


def _with_part(text: str, heading: str, part: str) -> str:
    """*text* with what stands in the section of that heading."""
    return re.sub(rf"(?<=^## {heading}\n\n).+?(?=^## )", lambda _: part, text, flags=re.M | re.S)


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
    """The reference of commands, by what they are for."""
    root = click.Context(main.cli, info_name="pymigrate", **main.cli.context_settings)
    lines = []
    for title, names in main.GROUPS.items():
        lines += [f"### {title}", ""]
        for name in names.split():
            lines += _command(root, name)
    return "\n".join(lines) + "\n"


def _command(parent: click.Context, name: str) -> Iterator[str]:
    """One command: its usage, its help, its own options and examples, and its commands."""
    assert isinstance(parent.command, click.Group)
    command = parent.command.get_command(parent, name)
    assert command is not None
    ctx = click.Context(command, info_name=name, parent=parent)
    yield from (f"#### `{words_of(ctx)}`", "")
    yield from (f"`{ctx.command_path} {' '.join(command.collect_usage_pieces(ctx))}`", "")
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield from (" ".join(paragraph.split()), "")
    if isinstance(command, click.Group):
        for each in command.list_commands(ctx):
            yield from _command(ctx, each)
        return
    sections = option_sections(ctx)
    if own := sections.get("Options"):
        yield from ("| option | |", "| --- | --- |")
        yield from (f"| `{_cell(name)}` | {_cell(about)} |" for name, about in own)
        yield ""
    shared = [name for name, _ in sections["Common options"] if not name.startswith("-h")]
    if shared:
        yield from ("Common options: " + ", ".join(f"`{_cell(name)}`" for name in shared) + ".", "")
    yield from ("```sh", *EXAMPLES[words_of(ctx)], "```", "")
    guide = guide_of(words_of(ctx))
    if guide != "commands":
        yield from (f"Guide: [{guide}.md]({guide}.md).", "")


def _common_options() -> Iterable[str]:
    """The options that commands have in common, in the order in which help has them."""
    found: dict[str, str] = {}
    for name in ("migratepages", "mbind"):
        ctx = click.Context(main.cli, info_name="pymigrate", **main.cli.context_settings)
        for word in name.split():
            assert isinstance(ctx.command, click.Group)
            command = ctx.command.get_command(ctx, word)
            assert command is not None
            ctx = click.Context(command, info_name=word, parent=ctx)
        found |= dict(option_sections(ctx)["Common options"])
    return (f"| `{_cell(name)}` | {_cell(about)} |" for name, about in found.items())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _scenarios() -> Iterable[str]:
    for name, path in shipped_scenarios().items():
        yield f"| `{name}` | {about_scenario(path)} |"


def _methods() -> Iterable[str]:
    for name in sorted(dir(Machine)):
        if not name.startswith("_"):
            about = (getattr(Machine, name).__doc__ or "").partition("\n\n")[0]
            yield f"| `{name}` | {' '.join(about.split())} |"


def _keys() -> str:
    """The keys of each model of the scenario format."""
    lines = []
    schema = json_schema()
    for title, model in MODELS.items():
        lines += [f"### {title}", "", _sentence(model.__doc__ or ""), ""]
        lines += ["| key | what it is | default |", "| --- | --- | --- |"]
        properties = schema["$defs"].get(model.__name__, schema)["properties"]
        for name, field in model.model_fields.items():
            key = field.alias or name
            words = _choices(properties[key], schema)
            said = _cell(field.description or "") + (f"; one of {words}" if words else "")
            lines.append(f"| `{key}` | {said} | {_default_of(field)} |")
        lines.append("")
    return "\n".join(lines) + "\n"


def _choices(part: dict[str, Any], schema: dict[str, Any]) -> str:
    """The words that a value may be, if it is one of some."""
    if "$ref" in part:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]]
    for each in part.get("anyOf", ()):
        if words := _choices(each, schema):
            return words
    return ", ".join(f"`{word}`" for word in part.get("enum", ()) if isinstance(word, str))


def _default_of(field: FieldInfo) -> str:
    default = field.get_default()
    if field.is_required():
        return "required"
    if (
        field.default_factory
        or default in (None, "", ())
        or "default:" in (field.description or "")
    ):
        return ""
    return "" if isinstance(default, BaseModel) else f"`{_shown(default)}`"


def _sentence(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())


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
    return format_size(default) if isinstance(default, int) and default > 4096 else str(default)
