"""Programs of any calls: the machine is sound after each, and it matters to none who watches.

Somebody who watches sees each folio go its own way; else many go at once, by the same rules.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from pymigrate.errors import UnsupportedError
from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.base.pte import Pte, PteRun
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
SCANNED = ("pgscan_anon", "pgscan_file")


def pages(table: RunMap[PteRun], is_placed: bool) -> Iterator[tuple[int, int, int]]:
    """What a table says of each page, however its runs are cut: page, node, flags."""
    for run in table.runs:
        for page in range(run.start, run.end):
            nid = nid_of(run.pfn(page)) if run.lanes and is_placed else -1
            yield page, nid, run.flags | run.order << 40 if is_placed else 0


def state(machine: Machine, is_whole: bool = True) -> Any:
    """All that calls can have changed, but for who has which frame of a node.

    Folios that move at once get theirs in another order. What compaction finds follows from it, how
    much of that is mlocked, too, and which pages lie in another range that is cleared, or go to a
    lower tier: of such programs the nodes and the counts are left out.
    """
    tables = [mm.page_table for mm in machine.mms.values()]
    tables += [space.pages for space in machine.spaces.values()]
    nodes = machine.nodes.values()
    left_out = "compact|unevictable" if machine.counters["compact_isolated"] else "compact"
    counters = [pair for pair in machine.counters.items() if not re.search(left_out, pair[0])]
    return (
        [[*pages(table, is_whole)] for table in tables],
        plain([mm.vmas for mm in machine.mms.values()]),
        [node.nr_free for node in nodes if is_whole],
        [node.numa for node in nodes if is_whole],
        dict(counters) if is_whole else {},
    )


def is_same(before: invariants.Sharing, after: invariants.Sharing, is_whole: bool) -> bool:
    """Whether migration has kept what it must.

    Else (not *is_whole*) pages were reclaimed to make room: some are gone, others no longer young.
    """
    if is_whole:
        return after == before
    old = {place: (first, flags & ~Pte.YOUNG) for place, (first, flags) in before.items()}
    new = {place: (first, flags & ~Pte.YOUNG) for place, (first, flags) in after.items()}
    return new.items() <= old.items()


def agree(text: str) -> None:
    """Run a program with and without somebody who watches."""
    scenario = load_text(text)
    alone, watched = build(scenario), build(scenario)
    watched.watch = Watch(events=[])
    runners, counted = (Runner(alone), Runner(watched)), dict(alone.counters)
    is_whole = not any(word in text for word in ("cma_alloc", "demotion"))
    for number, step in enumerate(scenario.steps, 1):
        where = f"{text}\nstep {number}: {step.op}"
        before = invariants.sharing(alone) if step.op in MOVING else None
        try:
            ours, theirs = (runner.step(step) for runner in runners)
        except UnsupportedError:
            return
        theirs.pop("trace", None)
        if step.op == "compact" and not is_whole:  # it moves what lies in its way
            ours.pop("zones", None), theirs.pop("zones", None)
        has_quota = getattr(step, "quota", None) is not None
        if has_quota and ours != theirs and scenario.machine.thp != "never":
            return  # of DAMON: which huge page that ends in is a matter of frames
        assert ours == theirs, where
        assert [*problems(alone)] == [], where
        assert alone.scope == OUTERMOST, where
        assert all(alone.counters[name] >= nr for name, nr in counted.items()), where
        is_kept = scenario.machine.thp == "never"  # else entries may be split on the way
        may_be_huge = any(word in text for word in ("demotion", '"thp"', "collapse"))
        if before is not None and is_kept and not may_be_huge:
            scanned = [alone.counters[name] - counted.get(name, 0) for name in SCANNED]
            may_drop = step.op == "cma_alloc"  # clean pages of files, uncounted
            is_kept_whole = not may_drop and not any(scanned)
            assert is_same(before, invariants.sharing(alone), is_kept_whole), where
        counted = dict(alone.counters)
    assert state(alone, is_whole) == state(watched, is_whole), text
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
