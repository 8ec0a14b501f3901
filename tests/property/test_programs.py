"""Programs of any calls: the machine is sound after each, and it matters to none who watches.

Somebody who watches sees each folio go its own way; else many go at once, by the same rules.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from pymigrate.errors import UnsupportedError
from pymigrate.mm.base.memmap import NODE_SHIFT
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.runs import RunMap
from pymigrate.mm.check import problems
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import OUTERMOST, Watch
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.spec.runner import Runner
from tests.conftest import many
from tests.property import invariants
from tests.property.programs import programs
from tests.unit.store.conftest import plain

MOVING = ("migrate_pages", "move_pages", "mbind", "compact", "cma_alloc", "memory_offline")


def pages(table: RunMap[PteRun], unit: int) -> Iterator[tuple[int, int, int]]:
    """What a table says of each page, however its runs are cut: page, frame (or node), flags."""
    for run in table.runs:
        for page in range(run.start, run.end):
            yield page, run.pfn(page) >> unit if run.lanes else -1, run.flags | run.order << 40


def state(machine: Machine, is_in_order: bool = True) -> Any:
    """All that calls can have changed; of frames that changed places just their nodes."""
    tables = [mm.page_table for mm in machine.mms.values()]
    tables += [space.pages for space in machine.spaces.values()]
    nodes = machine.nodes.values()
    zones = [zone for node in nodes for zone in node.zones]
    whole = (
        [node.memmap.runs for node in nodes],
        [(zone.free.runs, zone.pageblocks.runs, plain(zone.compact)) for zone in zones],
        plain([machine.lru_batches, machine.pins]),
        machine.counters,
    )
    return (
        [[*pages(table, 0 if is_in_order else NODE_SHIFT)] for table in tables],
        [(node.nr_free, node.numa) for node in nodes],
        plain([mm.vmas for mm in machine.mms.values()]),
        whole if is_in_order else None,
    )


def agree(text: str) -> None:
    """Run a program with and without somebody who watches."""
    scenario = load_text(text)
    alone, watched = build(scenario), build(scenario)
    watched.watch = Watch(events=[])
    runners, counted = (Runner(alone), Runner(watched)), dict(alone.counters)
    for number, step in enumerate(scenario.steps, 1):
        where = f"{text}\nstep {number}: {step.op}"
        before = invariants.sharing(alone) if step.op in MOVING else None
        try:
            ours, theirs = (runner.step(step) for runner in runners)
        except UnsupportedError:
            return
        theirs.pop("trace", None)
        assert ours == theirs, where
        assert [*problems(alone)] == [], where
        assert alone.scope == OUTERMOST, where
        assert all(alone.counters[name] >= nr for name, nr in counted.items()), where
        counted = dict(alone.counters)
        if before is not None and alone.thp == "never":
            assert invariants.sharing(alone) == before, where
    # What is demoted, or leaves a range, moves in small lists, of each the last page first; large
    # folios move first where nothing can go wrong.
    is_in_order = not any(
        word in text for word in ("demotion", "cma_alloc", "memory_offline", "damon")
    )
    assert state(alone, is_in_order) == state(watched, is_in_order), text
    invariants.check(alone)


@given(text=programs(12))
@settings(max_examples=150)
def test_a_few_programs(text: str) -> None:
    agree(text)


@pytest.mark.slow
@given(text=programs(40))
@many(2500)
def test_many_programs(text: str) -> None:
    agree(text)
