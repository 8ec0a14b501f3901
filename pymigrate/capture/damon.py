"""Records of DAMON: the JSON of `damo record` (damo 2 and 3).

damo writes the regions of each target, by its number, into FILE and what DAMON was asked, with the
PID of each target, into FILE.kdamonds.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict

from pymigrate.capture.recorded import Heat, Seen
from pymigrate.errors import ScenarioError
from pymigrate.reading import MAX_RECORD, read_file
from pymigrate.units import PAGE_SIZE

_FORM = "the JSON of `damo record`"
_VIRTUAL = ("vaddr", "fvaddr")  # sets of operations on virtual addresses
_LEAST = "DAMON sees one access of a page in each sampling interval at most: rates are the least"


def damon_heat(text: str, path: str) -> Heat:
    """DAMON's regions of virtual addresses, by process if it is known. Raises ScenarioError."""
    data = _json(text, path)
    try:
        records = data if isinstance(data, list) else _list(data, "record_list")
        kdamonds = [] if isinstance(data, list) else _list(data, "kdamonds")
        targets = {_target(record) for record in records}
        pids = _pids(targets, kdamonds or _beside(path), path)
        return _snapshots(records, pids)
    except (KeyError, TypeError, ValueError) as error:
        raise ScenarioError(f"lacks {error}; expected {_FORM}", path) from None


def _beside(path: str) -> list[object]:
    """What DAMON was asked, if damo has written it beside its records."""
    name = f"{path}.kdamonds"
    if not os.path.isfile(name):
        return []
    try:
        data = _json(read_file(name, MAX_RECORD).decode("utf-8", "replace"), name)
    except (OSError, ValueError) as error:
        raise ScenarioError(f"cannot be read: {error}", name) from None
    if not isinstance(data, list):
        raise ScenarioError(f"is no list; expected what {_FORM} is written with", name)
    return data


def _json(text: str, path: str) -> object:
    try:
        data: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise ScenarioError(f"is no JSON: {error.msg}", path, error.lineno) from None
    except RecursionError:
        raise ScenarioError("is no JSON: it is nested too deeply", path) from None
    return data


def _target(record: object) -> tuple[int, int, int]:
    """Of which target it is: kdamond, context, and target, by their numbers."""
    target = _number(_member(record, "target_id"))
    assert isinstance(record, dict)
    kdamond, context = (_number(record.get(name) or 0) for name in ("kdamond_idx", "context_idx"))
    return kdamond, context, target


def _pids(
    targets: set[tuple[int, int, int]], kdamonds: list[object], path: str
) -> dict[tuple[int, int, int], int]:
    """The PIDs of *targets*; 0 for the only one if nobody tells it. Raises ScenarioError."""
    if not kdamonds:
        if len(targets) > 1:
            message = f"has several targets; expected {path}.kdamonds, where damo writes their PIDs"
            raise ScenarioError(message, path)
        return dict.fromkeys(targets, 0)
    pids: dict[tuple[int, int, int], int] = {}
    for kdamond, context, target in targets:
        try:
            asked = _list(kdamonds[kdamond], "contexts")[context]
            asked_target = _list(asked, "targets")[target]
        except IndexError:
            message = f"has target {target}, which is not among those that damo has asked for"
            raise ScenarioError(message, path) from None
        if _member(asked, "ops") not in _VIRTUAL:
            message = f"is of the addresses of {_member(asked, 'ops')}; expected vaddr or fvaddr"
            raise ScenarioError(message, path)
        pids[kdamond, context, target] = _number(_member(asked_target, "pid"))
    return pids


def _snapshots(records: list[object], pids: dict[tuple[int, int, int], int]) -> Heat:
    """What is in *records*, per second of its own target's time."""
    found: dict[int, list[Seen]] = defaultdict(list)
    nanoseconds: dict[int, int] = defaultdict(int)
    for record in records:
        aggregation = _number(_member(_member(record, "intervals"), "aggr_us")) / 1e6
        pid = pids[_target(record)]
        for snapshot in _list(record, "snapshots"):
            duration = _number(_member(snapshot, "end_time"))
            duration -= _number(_member(snapshot, "start_time"))
            nanoseconds[pid] += duration
            for region in _list(snapshot, "regions"):
                start, end = _number(_member(region, "start")), _number(_member(region, "end"))
                samples = _number(_member(_member(region, "nr_accesses"), "samples"))
                nr = samples / aggregation * (end - start) / PAGE_SIZE * duration / 1e9
                if nr > 0:
                    found[pid].append(Seen(pid, start, end, nr))
    seen = [
        each._replace(nr=each.nr * 1e9 / nanoseconds[pid])
        for pid, all_of_it in found.items()
        for each in all_of_it
        if nanoseconds[pid] > 0
    ]
    if not seen:
        raise ValueError("accesses")
    return Heat(seen, 1, [_LEAST])


def _member(value: object, name: str) -> object:
    if not isinstance(value, dict):
        raise TypeError(name)
    return value[name]


def _list(value: object, name: str) -> list[object]:
    found = _member(value, name)
    if not isinstance(found, list):
        raise TypeError(name)
    return found


def _number(value: object) -> int:
    """A number as damo writes it: a text of digits, or a number."""
    return int(str(value).replace(",", ""))
