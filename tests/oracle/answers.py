"""From the agent's lines to records, and what several runs of a case agree on."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pymigrate.uapi import MODE_FLAGS, MODES
from tests.conformance.compare import COUNTERS
from tests.oracle.guest import Line
from tests.oracle.hardware import hardware_of
from tests.oracle.program import Case, Step

Record = dict[str, Any]  # Any: JSON, of a shape that follows from the step's op

UNWRITTEN = -9999  # a status that the kernel left as it was
GET_NODE, GET_ADDR, GET_MEMS_ALLOWED = 1, 2, 4
FOLDERS = {"ext4": "ext4", "hugetlbfs": "hfs"}
PLAIN = "ret errno signal exit stdout stderr pages_shared pages_sharing missing".split()
_MODE_BITS = 0x1FFF
_UNSHOWN = {"active"}  # it follows from how full the LRU's per-CPU batches are
_NODE = re.compile(r"N(\d+)=(\d+)")


def records_of(lines: Iterable[Line], case: Case) -> list[Record]:
    """The records of one run of a case; fewer than it has steps if the run broke off."""
    paths = _paths(case)
    steps = iter(case["steps"])
    counters: Mapping[str, int] = {}
    records = []
    for line in lines:
        if "start" in line:
            counters = line["counters"]
        if "op" not in line:
            continue
        step = next(steps)
        assert step["op"] == line["op"] or step["op"] == "compact", (step, line)
        record: Record = {"op": step["op"]} | {key: line[key] for key in PLAIN if key in line}
        if "signal" in line and line["signal"] is None:
            del record["signal"]  # ours has none either
        if line["op"] in _MORE and "missing" not in line:
            record |= _MORE[line["op"]](line, case, step)
        if line["op"] == "numa_maps" and "raw" in line:
            record["lines"] = [maps_line(text, line["addr"], paths) for text in line["raw"]]
        if line["op"] == "vmstat":
            record["delta"] = _changes(counters, line["counters"])
            counters = line["counters"]
        records.append(record)
    return records


def _paths(case: Case) -> dict[str, str]:
    """The scenario's names of files, by their paths in the guest."""
    files = case.get("files") or {}
    return {
        f"/{FOLDERS.get(spec.get('fs', 'tmpfs'), 'shm')}/{name}": name
        for name, spec in files.items()
    }


def _changes(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {
        name: after[name] - before.get(name, 0)
        for name in after
        if name in COUNTERS and after[name] != before.get(name, 0)
    }


def _get_mempolicy(line: Line, case: Case, step: Step) -> Record:
    if "mode" not in line:
        return {}
    flags = step.get("flags", [])
    if "mems_allowed" in flags:
        return {"nodes": line["mask"]}
    if "node" in flags:
        if line["mode"] == hardware_of(case["machine"]).service:
            return {"unstable": ["node"]}  # the zero page, which lies in the kernel's image
        return {"node": line["mode"]}
    mode = line["mode"]
    number = mode & _MODE_BITS
    name = next((word for word, value in MODES.items() if value == number), number)
    words = [word for word, bit in MODE_FLAGS.items() if mode & bit]
    return {"mode": name, "mode_flags": words, "nodes": line["mask"]}


def _move_pages(line: Line, case: Case, step: Step) -> Record:
    """The status of each page: null where the kernel wrote nothing; failed, only what it wrote."""
    if line["ret"] < 0:
        return {"status": [run for run in line["status"] if run[1] != UNWRITTEN]}
    return {"status": [[nr, None if v == UNWRITTEN else v] for nr, v in line["status"]]}


def _placement(line: Line, case: Case, step: Step) -> Record:
    return {"nodes": line["nodes"]}


_MORE: dict[str, Callable[[Line, Case, Step], Record]] = {
    "get_mempolicy": _get_mempolicy,
    "move_pages": _move_pages,
    "placement": _placement,
}


def maps_line(text: str, addr: int, paths: Mapping[str, str]) -> Record:
    """A line of numa_maps of a region that begins at *addr*.

    >>> maps_line("200004001000 prefer:1 anon=2 N1=2 kernelpagesize_kB=4", 0x200004000000, {})
    {'policy': 'prefer:1', 'start': 1, 'anon': 2, 'kernelpagesize_kB': 4, 'nodes': {'1': 2}}
    """
    where, policy, *words = text.split()
    if (words and (policy, words[0][:6]) == ("prefer", "(many)")) or policy == "weighted":
        policy += " " + words.pop(0)  # those have a blank
    line: Record = {"policy": policy, "start": (int(where, 16) - addr) >> 12}
    nodes = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key == "file":
            path = value.replace("\\040", " ")
            known = path.removesuffix(" (deleted)")
            gone = f"/{paths[known]} (deleted)" if known in paths else path
            line["file"] = paths.get(path, gone)
        elif match := _NODE.fullmatch(word):
            nodes[match[1]] = int(match[2])
        elif key not in _UNSHOWN:
            line[key] = int(value) if equals else True
    return line | ({"nodes": nodes} if nodes else {})


def merge(runs: Sequence[Sequence[Record]]) -> list[Record]:
    """What all of the runs agree on, step by step; the rest is named in `unstable`."""
    return [_merged(records) for records in zip(*runs, strict=True)]


def _merged(records: Sequence[Record]) -> Record:
    merged = dict(records[0])
    unstable = dict.fromkeys(name for record in records for name in record.get("unstable", ()))
    for key in dict.fromkeys(key for record in records for key in record if key != "unstable"):
        values = [record.get(key) for record in records]
        if all(value == values[0] for value in values):
            continue
        if key == "delta" and None not in values:
            merged[key], names = _agreed(values)
            unstable |= dict.fromkeys(f"delta.{name}" for name in names)
        elif (
            key == "lines" and None not in values and len({_starts(lines) for lines in values}) == 1
        ):
            rows = [_agreed(rows) for rows in zip(*values, strict=True)]
            merged[key] = [row for row, _ in rows]
            unstable |= dict.fromkeys(
                f"lines.{at}.{name}" for at, (_, names) in enumerate(rows) for name in names
            )
        else:
            merged.pop(key, None)
            unstable[key] = None
    merged.pop("unstable", None)
    return merged | ({"unstable": list(unstable)} if unstable else {})


def _agreed(values: Sequence[Any]) -> tuple[Record, list[str]]:
    """What the mappings have alike, and the names of the rest."""
    names = sorted({name for value in values for name in value})
    odd = [n for n in names if any(value.get(n) != values[0].get(n) for value in values)]
    return {name: value for name, value in values[0].items() if name not in odd}, odd


def _starts(lines: Any) -> str:
    return json.dumps([line["start"] for line in lines])


def same(a: Sequence[Record], b: Sequence[Record]) -> bool:
    """Whether two recordings agree on all that both found stable."""
    return len(a) == len(b) and all(
        _stable(x, _unstable(x) | _unstable(y)) == _stable(y, _unstable(x) | _unstable(y))
        for x, y in zip(a, b, strict=True)
    )


def _unstable(record: Record) -> set[str]:
    return set(record.get("unstable", ()))


def _stable(record: Record, unstable: set[str]) -> Record:
    left_out = unstable | {"unstable"} | ({"signal"} if record.get("signal") is None else set())
    found = {key: value for key, value in record.items() if key not in left_out}
    if "delta" in found:
        found["delta"] = {k: v for k, v in found["delta"].items() if f"delta.{k}" not in unstable}
    if "lines" in found:
        found["lines"] = [
            {key: value for key, value in line.items() if f"lines.{at}.{key}" not in unstable}
            for at, line in enumerate(found["lines"])
        ]
    return found


def service_seen(records: Iterable[Record], service: int) -> bool:
    """Whether a page of the case lies on the service node, which the case does not name."""
    for record in records:
        if any(str(service) in line.get("nodes", {}) for line in record.get("lines", ())):
            return True
        runs = record.get("nodes")
        if record["op"] == "placement" and any(nid == service for _, nid in runs or ()):
            return True
    return False
