"""What pymigrate answers to a case."""

import copy
from collections.abc import Mapping
from typing import Any

from pymigrate.errors import PymigrateError
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.spec.runner import Runner
from pymigrate.units import parse_size
from tests.oracle.answers import Record, merge
from tests.oracle.cases import text_of
from tests.oracle.program import Case

MIB = 1 << 20
# MiB of each node that a real one has for its tables, and that watermarks keep free. What
# depends on how much it is is not compared.
KERNELS_OWN = (0, 13, 26)


def invalid(case: Case) -> str:
    """Why the scenario is not one; '' if it is."""
    try:
        load_text(text_of(case))
    except PymigrateError as error:
        return str(error)
    return ""


def records(case: Case, series: str) -> list[Record]:
    """Our records; the last one has `crash`, if the simulation broke in its step."""
    scenario = load_text(text_of(case))
    found: list[Record] = []
    try:
        for record in Runner(build(scenario, series)).run(scenario.steps):
            found.append(dict(record))  # noqa: PERF401 - what came before a crash is kept
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        op = case["steps"][len(found)]["op"]
        found.append({"op": op, "crash": f"{type(error).__name__}: {error}"})
    return found


def steady_records(case: Case, series: str) -> list[Record]:
    """Our records where they do not depend on how much of each node is the kernel's own.

    The rest is named in `unstable`, as what differs between a kernel's runs is. A run that breaks
    is the answer.
    """
    runs = [records(_smaller(case, less), series) for less in KERNELS_OWN]
    crashed = next((run for run in runs if "crash" in run[-1]), None)
    if crashed:
        return crashed
    shortest = min(map(len, runs))
    return merge([run[:shortest] for run in runs])


def _smaller(case: Case, less: int) -> Case:
    """The case on nodes that have less memory."""
    if not less:
        return case
    smaller: dict[str, Any] = copy.deepcopy(dict(case))
    nodes: Mapping[int, dict[str, Any]] = smaller["machine"]["nodes"]
    for node in nodes.values():
        size = parse_size(node.get("memory", 0))
        if size and not node.get("movable"):
            node["memory"] = f"{size // MIB - less}MiB"
    return smaller
