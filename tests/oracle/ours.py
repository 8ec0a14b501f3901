"""What pymigrate answers to a case."""

import copy
from collections.abc import Mapping
from typing import Any

from pymigrate.errors import PymigrateError
from pymigrate.mm.state.node import MAX_DEFER_SHIFT, CompactState
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.boot.fragmentation import fragment
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.spec.models import PatternSpec
from pymigrate.scenario.spec.runner import Runner
from pymigrate.units import HPAGE_PMD_NR, parse_size
from tests.oracle.answers import Record, merge
from tests.oracle.cases import text_of
from tests.oracle.program import Case

MIB = 1 << 20
# MiB of each node that a real one has for its tables, and that watermarks keep free, and whether
# pages of the kernel lie among the others, so that compaction finds no huge page. What depends on
# either is not compared.
KERNELS_OWN = ((0, False), (13, True), (26, False))
_AMONG_OTHERS = {"pages": "unmovable", "run": 1, "stride": HPAGE_PMD_NR, "size": 10 * MIB}
# Where memory is short, kswapd has pages in hand that a call comes by, and a huge page is free or
# not by where pages lie. Those that hold little are split by kswapd, or by who moves them.
_SHORT = ["delta.pgmigrate_fail", "delta.thp_fault_alloc"]
_SPLIT = ["thp_split_page", "thp_split_pmd", "thp_migration_success", "thp_migration_fail"]
_SPLIT = [f"delta.{name}" for name in (*_SPLIT, "thp_migration_split", "pgmigrate_success")]
_OF_A_PROCESS = ("ret", "signal", "nodes", "lines")
_GIVEN = ("pgsteal_file", "thp_underused_split_page")


def invalid(case: Case) -> str:
    """Why the scenario is not one; '' if it is."""
    try:
        load_text(text_of(case))
    except PymigrateError as error:
        return str(error)
    return ""


def records(case: Case, series: str, is_scattered: bool = False) -> list[Record]:
    """Our records; the last one has `crash`, if the simulation broke in its step.

    Of a machine *is_scattered* some huge pages are never free, and direct compaction is put off for
    as long as can be.
    """
    scenario = load_text(text_of(case))
    found: list[Record] = []
    machine = build(scenario, series)
    for node in machine.nodes.values() if is_scattered else ():
        if node.zones:
            fragment(machine, node, PatternSpec.model_validate(_AMONG_OTHERS))
        for zone in node.zones:
            zone.compact = CompactState(defer_shift=MAX_DEFER_SHIFT)
    seen = 0
    caches = _of_disks(case)
    try:
        for record in Runner(machine).run(scenario.steps):
            found.append(dict(record))
            files, split = (machine.counters[name] for name in _GIVEN)
            nr = files + split + machine.counters["pgsteal_anon"]
            if record["op"] == "vmstat":
                found[-1] |= {"unstable": _SHORT + _SPLIT * bool(split)} if nr > seen else {}
                seen = nr
            elif files and case["steps"][len(found) - 1].get("at") in caches:
                lines = [f"lines.{at}.{key}" for at in range(9) for key in ("mapped", "nodes")]
                found[-1] |= {"unstable": [*found[-1].get("unstable", ()), "nodes", *lines]}
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        op = case["steps"][len(found)]["op"]
        found.append({"op": op, "crash": f"{type(error).__name__}: {error}"})
    return found


def _of_disks(case: Case) -> set[str]:
    """The regions of disk files: how much of the cache gives way is up to kswapd."""
    files = case.get("files") or {}
    disks = [name for name, spec in files.items() if spec.get("fs") == "ext4"]
    return {step["as"] for step in case["steps"] if step.get("file") in disks}


def steady_records(case: Case, series: str) -> list[Record]:
    """Our records where they do not depend on how much of each node is the kernel's own.

    The rest is named in `unstable`, as what differs between a kernel's runs is. A run that breaks
    is the answer.
    """
    runs = [records(_smaller(case, less), series, scattered) for less, scattered in KERNELS_OWN]
    crashed = next((run for run in runs if "crash" in run[-1]), None)
    if crashed:
        return crashed
    shortest = min(map(len, runs))
    found = merge([run[:shortest] for run in runs])
    for record, *each in zip(found, *runs, strict=False):
        # A process that only some runs have left: whether there is one is not compared.
        unstable = record.get("unstable", [])
        if "errno" in unstable and any(one.get("errno") == "ESRCH" for one in each):
            record["unstable"] = [*unstable, *_OF_A_PROCESS]
    return found


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
