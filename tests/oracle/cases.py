"""Cases as files: the scenario, the kernel's answer, and the events."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.oracle.answers import Record
from tests.oracle.kernels import REFERENCE
from tests.oracle.program import Case

_SAFE = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "none"}


def read(path: Path) -> dict[str, Any]:
    """A case's scenario, as YAML has it."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = yaml.load(path.read_text(encoding="utf-8"), loader)
    assert isinstance(found, dict), path
    return found


def text_of(case: Case) -> str:
    """A scenario as its file has it: one line for each node, file, task and step.

    >>> print(text_of({"tasks": {"a": {"cpus": "0"}}, "steps": [{"op": "vmstat"}]}), end="")
    tasks:
      a: {cpus: "0"}
    steps:
      - {op: vmstat}
    """
    lines: list[str] = []
    for key, value in case.items():
        if key == "machine":
            lines += ["machine:", "  nodes:"]
            lines += [f"    {nid}: {_flow(node)}" for nid, node in value["nodes"].items()]
            lines += [f"  {name}: {_flow(v)}" for name, v in value.items() if name != "nodes"]
        elif key == "steps":
            lines += (
                ["steps:", *(f"  - {_flow(step)}" for step in value)] if value else ["steps: []"]
            )
        elif isinstance(value, dict):
            lines += [f"{key}:", *(f"  {name}: {_flow(v)}" for name, v in value.items())]
        else:
            lines.append(f"{key}: {json.dumps(value) if key == 'about' else _flow(value)}")
    return "\n".join(lines) + "\n"


def _flow(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(v)}" for key, v in value.items()) + "}"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return "[" + ", ".join(map(_flow, value)) + "]"
    text = str(value)
    if isinstance(value, int):
        return text
    is_word = text and not text.isdigit() and set(text) <= _SAFE and text[0].isalpha()
    is_size = text[:-3].isdigit() and text[-3:] in ("KiB", "MiB", "GiB")
    return text if (is_word or is_size) and text not in _WORDS else json.dumps(text)


def answer_path(case: Path, series: str) -> Path:
    """Where the answer of a kernel of that series is."""
    return case.with_name(f"{case.stem}.{series}.json")


def trace_path(case: Path, series: str) -> Path:
    """Where the events of a kernel of that series are."""
    return case.with_name(f"{case.stem}.{series}.trace")


def write_answer(path: Path, series: str, release: str, records: Sequence[Record]) -> None:
    """Write what a kernel answered, a record a line."""
    rows = ",\n".join("  " + json.dumps(record) for record in records)
    head = f'{{"kernel": "{series}", "release": "{release}", "records": [\n'
    path.write_text(f"{head}{rows}\n]}}\n", encoding="utf-8")


def read_answer(path: Path) -> list[Record]:
    """The records of an answer."""
    found = json.loads(path.read_text(encoding="utf-8"))["records"]
    assert isinstance(found, list), path
    return found


def releases(folder: Path, series: str) -> dict[str, list[str]]:
    """The releases that answers of a series are of, each with the cases; none named: the first.

    The cases that were recorded before answers named a release are of `REFERENCE`.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob(f"*.{series}.json")):
        answer = json.loads(path.read_text(encoding="utf-8"))
        release = answer.get("release", REFERENCE.get(series, ""))
        found.setdefault(release, []).append(path.name.removesuffix(f".{series}.json"))
    return found
