"""Which pages are in use, as other tools have recorded it: declared accesses of regions.

Read are the text of `perf script` (perf 6.1 to 6.12) for samples with addresses, as `perf mem
record` takes them, and the JSON of `damo record` (damo 2 and 3), plain or compressed by zlib.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from pymigrate.capture.tree import Tree
from pymigrate.errors import ScenarioError
from pymigrate.reading import MAX_RECORD, inflate, read_file
from pymigrate.scenario.text.dump import Line
from pymigrate.units import PAGE_SIZE, format_size, pages_of, parse_size

_MAX_PARTS = 64  # of a region
_SAMPLE = re.compile(
    r"(?:.*?\s)??(\d+)(?:/\d+)?\s+(?:\[\d+\]\s+)?(\d+\.\d+):\s+(?:(\d+)\s+)?(\S+):\s+"
    r"([0-9a-f]+)(?:\s.*)?"
)
_SAMPLE_FORM = "a sample, as `perf script -F pid,time,period,event,addr` prints it"
_DAMO_FORM = "the JSON of `damo record`"
_LEAST = "DAMON sees one access of a page in each sampling interval at most: rates are the least"


class Seen(NamedTuple):
    """Accesses to the addresses [start, end), evenly; of a process, or (0) of the only one."""

    pid: int
    start: int
    end: int
    nr: float
    is_store: bool = False


class Heat(NamedTuple):
    """What was recorded in so many *seconds*."""

    seen: list[Seen]
    seconds: float
    notes: list[str]


def read_heat(path: str) -> Heat:
    """The accesses that the file at *path* tells of. Raises ScenarioError."""
    try:
        content = read_file(path, MAX_RECORD)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ScenarioError(f"cannot be read: {reason}", path) from None
    if content[:1] == b"\x78":
        try:
            content = inflate(content)
        except ValueError as error:
            raise ScenarioError(f"is compressed and broken: {error}", path) from None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        message = "is binary; expected the text of `perf script`, or the JSON of `damo record`"
        raise ScenarioError(message, path) from None
    return _damon(text, path) if text.lstrip()[:1] in ("[", "{") else _perf(text, path)


def add_heat(data: dict[str, object], heat: Heat, path: str) -> list[str]:
    """Let the tasks of the scenario *data* access their regions so; gives notes.

    Raises ScenarioError if none of it lies in their memory.
    """
    tasks = data.get("tasks")
    assert isinstance(tasks, dict)
    if len(tasks) != 1 and any(not seen.pid for seen in heat.seen):
        raise ScenarioError("does not tell of which process it is; expected one PID", path)
    total = sum(seen.nr for seen in heat.seen)
    found = 0.0
    for task in tasks.values():
        mine = [seen for seen in heat.seen if seen.pid in (0, task["pid"])]
        access: list[Line] = []
        for region in task.get("memory", ()):
            parts = _parts(region, mine)
            found += sum(sum(part[2:]) for part in parts)
            access += _access(region, parts, heat.seconds)
        if access:
            task["access"] = access
    if not found:
        raise ScenarioError("none of its accesses lies in memory that is captured", path)
    outside = round((total - found) / total * 100)
    notes = list(heat.notes)
    if outside:
        notes.append(f"{outside} % of the accesses in {path} are of other memory, and left out")
    return notes


def _parts(region: dict[str, object], seen: list[Seen]) -> list[tuple[int, int, float, float]]:
    """Pages [a, b) of *region* that are accessed, with how many loads and stores."""
    start, nr = int(str(region["address"])), pages_of(parse_size(str(region["size"])))
    step = -(-nr // _MAX_PARTS)
    counts: dict[int, list[float]] = {}
    for each in seen:
        low, high = max(each.start, start), min(each.end, start + nr * PAGE_SIZE)
        if low >= high:
            continue
        for part in range(
            (low - start) // PAGE_SIZE // step, -(-(high - start) // PAGE_SIZE // step)
        ):
            a, b = start + part * step * PAGE_SIZE, start + (part + 1) * step * PAGE_SIZE
            share = (min(b, high) - max(a, low)) / (each.end - each.start)
            if share > 0:
                counts.setdefault(part, [0.0, 0.0])[each.is_store] += each.nr * share
    parts: list[tuple[int, int, float, float]] = []
    for part, (loads, stores) in sorted(counts.items()):
        a, b = part * step, min((part + 1) * step, nr)
        if parts and parts[-1][1] == a and _is_alike(parts[-1], (a, b, loads, stores)):
            first = parts.pop()
            a, loads, stores = first[0], loads + first[2], stores + first[3]
        parts.append((a, b, loads, stores))
    return parts


def _is_alike(one: tuple[int, int, float, float], other: tuple[int, int, float, float]) -> bool:
    """Whether each page of both gets as many accesses, within 1 %."""
    a, b = ([count / (part[1] - part[0]) for count in part[2:]] for part in (one, other))
    return all(abs(x - y) <= max(x, y) / 100 for x, y in zip(a, b, strict=True))


def _access(
    region: dict[str, object], parts: list[tuple[int, int, float, float]], seconds: float
) -> Iterator[Line]:
    """What a task says of its accesses to *region*."""
    nr = pages_of(parse_size(str(region["size"])))
    for a, b, loads, stores in parts:
        all_of_it = loads + stores
        line = Line({"region": region["as"], "rate": float(f"{all_of_it / seconds:.6g}")})
        line |= {"writes": float(f"{stores / all_of_it:.4g}")} if stores else {}
        if b - a < nr:
            line |= {"hot": (b - a) / nr, "hot_rate": 1.0}
            line |= {"hot_at": format_size(a * PAGE_SIZE)} if a else {}
        yield line


def _perf(text: str, path: str) -> Heat:
    """Samples with addresses. Raises ScenarioError."""
    seen: list[Seen] = []
    times: list[float] = []
    has_periods = True
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _SAMPLE.fullmatch(line.strip())
        if match is None:
            raise Tree("").malformed(path, number, line, _SAMPLE_FORM)
        has_periods = has_periods and match[3] is not None
        times.append(float(match[2]))
        at = int(match[5], 16)
        if at:  # else its address is not known
            nr = int(match[3] or 1)
            seen.append(Seen(int(match[1]), at, at + 1, nr, "store" in match[4]))
    if not seen:
        raise ScenarioError(f"has no sample with an address; expected {_SAMPLE_FORM}", path)
    seconds = max(times) - min(times)
    if seconds <= 0:
        raise ScenarioError("all samples are of one time; expected some time between them", path)
    notes = [] if has_periods else [f"{path} has no periods: each sample is taken for one access"]
    return Heat(seen, seconds, notes)


def _damon(text: str, path: str) -> Heat:
    """DAMON's regions of virtual addresses. Raises ScenarioError."""
    try:
        data = json.loads(text)
        records = data if isinstance(data, list) else data["record_list"]
        if len({record["target_id"] for record in records}) > 1:
            raise ScenarioError("has several targets; expected one", path)
        return _snapshots(records)
    except json.JSONDecodeError as error:
        raise ScenarioError(f"is no JSON: {error.msg}", path, error.lineno) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ScenarioError(f"lacks {error}; expected {_DAMO_FORM}", path) from None


def _snapshots(records: list[dict[str, object]]) -> Heat:
    seen: list[Seen] = []
    nanoseconds = 0
    for record in records:
        aggregation = _number(_member(record["intervals"], "aggr_us")) / 1e6
        snapshots = record["snapshots"]
        if not isinstance(snapshots, list):
            raise TypeError("snapshots")
        for snapshot in snapshots:
            duration = _number(snapshot["end_time"]) - _number(snapshot["start_time"])
            nanoseconds += duration
            for region in snapshot["regions"]:
                start, end = _number(region["start"]), _number(region["end"])
                samples = _number(_member(region["nr_accesses"], "samples"))
                nr = samples / aggregation * (end - start) / PAGE_SIZE * duration / 1e9
                if nr > 0:
                    seen.append(Seen(0, start, end, nr))
    if nanoseconds <= 0 or not seen:
        raise ValueError("accesses")
    return Heat(seen, nanoseconds / 1e9, [_LEAST])


def _member(value: object, name: str) -> object:
    if not isinstance(value, dict):
        raise TypeError(name)
    return value[name]


def _number(value: object) -> int:
    """A number as damo writes it: a text of digits, or a number."""
    return int(str(value).replace(",", ""))
