"""Scenarios that were changed at random: in their text, or in what they say."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
LARGE = ("one-tib", "random-pages")  # take their time as they are
PIECES = (
    *"{ } [ ] : , - # & * ! | > ' \" % @ ` ? ~ <<: &a *a !!int !!float 0x -1 1e999 .nan".split(),
    *"yes null 010 1_000 128TiB 4KiB 9999999999999999999 \t \0 \ufeff \ud83d \u2028 \x1b[2J".split(
        " "
    ),
    "\n",
    "\n  ",
    "---\n",
    "...\n",
    "{a: ",
    "[[[[",
    "a: b: c",
    "0-1023",
    "0-99999999",
    "é" * 40,
)
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    1023,
    1024,
    4095,
    4097,
    1 << 31,
    1 << 47,
    1 << 63,
    1 << 70,
    -(1 << 64),
    0.5,
    -0.1,
    1e300,
    100.0,
    "",
    " ",
    "0",
    "1",
    "0-1",
    "1-0",
    "0-1023",
    "5,",
    "4KiB",
    "1",
    "2MiB",
    "64MiB",
    "1GiB",
    "4TiB",
    "128TiB",
    "-4KiB",
    "1.5MiB",
    "nan",
    "x",
    "a" * 300,
    "a\nb",
    "\x1b[2J",
    "../x",
    "é",
    [],
    {},
    [[]],
    [0],
    [0, 1],
    [[1, 0]],
    [[4, 9]],
    ["x"],
    {"x": 1},
    {0: {}},
    {"random": "0"},
    "bind",
    "bind:0",
    "bind:9",
    "bind=static:0-1",
    "interleave:0",
    "prefer:1",
    "heap",
    "hugetlb",
    "shmem",
)


@cache
def bases() -> tuple[str, ...]:
    """What is changed: the scenarios that ship, and the small ones that were recorded."""
    shipped = sorted((ROOT / "scenarios").glob("*.yaml"))
    recorded = sorted((ROOT / "tests/conformance/cases").glob("*.yaml"))
    texts = [path.read_text(encoding="utf-8") for path in shipped if path.stem not in LARGE]
    return (
        *texts * 5,
        *(p.read_text(encoding="utf-8") for p in recorded if p.stat().st_size < 2000),
    )


def mutant(random: Random) -> bytes:
    """One of the bases, changed in one to four places."""
    base = random.choice(bases())
    nr = random.choice((1, 1, 1, 2, 4))
    if random.random() < 0.3:
        for _ in range(nr):
            base = random.choice(_TEXTUAL)(base, random)
        return base.encode("utf-8", "surrogatepass")
    data = yaml.safe_load(base)
    for _ in range(nr):
        random.choice(_IN_TREE)(data, random)
    return _written(data, random)


def _written(data: object, random: Random) -> bytes:
    if random.random() < 0.5:
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode()
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _insert(text: str, random: Random) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] + random.choice(PIECES) + text[at:]


def _overwrite(text: str, random: Random) -> str:
    at, nr = random.randrange(len(text) + 1), random.choice((1, 2, 8))
    return text[:at] + random.choice(PIECES) + text[at + nr :]


def _drop(text: str, random: Random) -> str:
    at, nr = random.randrange(len(text) + 1), random.choice((1, 1, 4, 30))
    return text[:at] + text[at + nr :]


def _cut_off(text: str, random: Random) -> str:
    return text[: random.randrange(len(text) + 1)]


def _move_line(text: str, random: Random) -> str:
    lines = text.splitlines(keepends=True) or [""]
    line = random.choice(lines)
    if random.random() < 0.7:
        lines.remove(line)
    lines.insert(random.randrange(len(lines) + 1), line * random.choice((1, 1, 2, 20)))
    return "".join(lines)


def _indent(text: str, random: Random) -> str:
    lines = text.splitlines(keepends=True) or [""]
    at = random.randrange(len(lines))
    lines[at] = lines[at][1:] if random.random() < 0.5 else " " + lines[at]
    return "".join(lines)


_TEXTUAL: tuple[Callable[[str, Random], str], ...] = (
    _insert, _overwrite, _drop, _cut_off, _move_line, _indent,
)  # fmt: skip


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Every mapping or list in *data*, with each of its keys."""
    if isinstance(data, dict | list):
        for key in list(data) if isinstance(data, dict) else range(len(data)):
            yield data, key
            yield from _places(data[key])


def _place(data: Any, random: Random) -> tuple[Any, Any]:
    return random.choice(list(_places(data)) or [({"": 0}, "")])


def _set(data: Any, random: Random) -> None:
    where, key = _place(data, random)
    where[key] = deepcopy(random.choice(ODD))


def _scale(data: Any, random: Random) -> None:
    """Make a number larger, or smaller; the number in a size or a mask, too."""
    places = [(where, key) for where, key in _places(data) if _has_number(where[key])]
    if places:
        where, key = random.choice(places)
        where[key] = _scaled(where[key], random)


def _has_number(value: object) -> bool:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return is_number or (isinstance(value, str) and any(map(str.isdecimal, value)))


def _scaled(value: int | str, random: Random) -> int | str:
    by = random.choice((0, 1, 2, 3, 7, 512, 1 << 20))
    if isinstance(value, int):
        return random.choice((value + by, value - by, value * by))
    digits = [i for i, c in enumerate(value) if "0" <= c <= "9"]
    if not digits:
        return value
    at = random.choice(digits)
    return f"{value[:at]}{int(value[at]) * by + 1}{value[at + 1 :]}"


def _delete(data: Any, random: Random) -> None:
    where, key = _place(data, random)
    del where[key]


def _rename(data: Any, random: Random) -> None:
    where, key = _place(data, random)
    if isinstance(where, dict):
        where[random.choice((*ODD[:16], "x", "", f"{key}s", key))] = where.pop(key)


def _repeat(data: Any, random: Random) -> None:
    where, key = _place(data, random)
    if isinstance(where, list):
        where.insert(random.randrange(len(where) + 1), deepcopy(where[key]))
    else:
        where[f"{key}2"] = deepcopy(where[key])


def _graft(data: Any, random: Random) -> None:
    """Put a part of the scenario, or of another, where another part stands."""
    other = data if random.random() < 0.5 else yaml.safe_load(random.choice(bases()))
    (where, key), (there, name) = _place(data, random), _place(other, random)
    value = there[name]
    if not any(part is where for part, _ in _places([value])):  # else it would hold itself
        where[key] = value


def _add_step(data: Any, random: Random) -> None:
    """Append a step of another scenario, by a task and in a region that there are."""
    if not isinstance(data, dict):
        return
    steps = yaml.safe_load(random.choice(bases())).get("steps") or [{"op": "compact"}]
    step = dict(random.choice(steps))
    tasks = data.get("tasks")
    if "task" in step and isinstance(tasks, dict) and tasks:
        step["task"] = random.choice(list(tasks))
    names = [where[key] for where, key in _places(data) if key == "as"]
    if "at" in step and names:
        step["at"] = random.choice(names)
    if isinstance(data.setdefault("steps", []), list):
        data["steps"].append(step)


_IN_TREE: tuple[Callable[[Any, Random], None], ...] = (
    _set, _set, _scale, _scale, _delete, _rename, _repeat, _graft, _add_step, _add_step,
)  # fmt: skip
