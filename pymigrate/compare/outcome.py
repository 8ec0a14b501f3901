"""What comes of one variant: a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pymigrate.compare.variants import Variant, applied
from pymigrate.errors import PymigrateError
from pymigrate.mm.state.cost import Tally
from pymigrate.mm.state.machine import Machine, watching
from pymigrate.mm.state.scope import Watch
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.spec.runner import Runner
from pymigrate.views.proc import vmstat
from pymigrate.views.told import accesses, cost


class Outcome(NamedTuple):
    """What came of a variant; None: there is no such value."""

    variant: str
    wrong: str | None = None  # why there was no machine
    refused: int | None = 0  # steps that the kernel has refused
    oom_kills: int = 0
    pages: Mapping[str, int] | None = (
        None  # node -> base pages, anonymous and of files; none of hugetlb's
    )
    local: float | None = None  # the share of the declared accesses that is local
    distance: float | None = None  # mean of the declared accesses
    time_us: float | None = None  # of the steps' migrations, as estimated
    counters: Mapping[str, int] | None = None  # events since boot, but for those that are 0


def outcome(text: str, variant: Variant) -> Outcome:
    """The row of *variant* of the scenario *text*: a pure function of both.

    Random numbers begin with the scenario's seeds, which variants share unless one sets them.
    """
    tally = Tally()
    try:
        scenario = load_text(applied(text, variant), "as changed")
        machine = build(scenario)
        with watching(machine, Watch(tally=tally)):
            records = [*Runner(machine).run(scenario.steps)]
    except PymigrateError as error:
        return Outcome(variant.name, wrong=str(error))
    time = cost.taken(machine, tally)
    return found(machine, variant.name)._replace(
        refused=sum(record.get("errno") is not None for record in records),
        time_us=time.total if time else 0.0,
    )


def found(machine: Machine, name: str) -> Outcome:
    """The row *name* of a machine as it is; what steps did to it is not known."""
    counters = vmstat.rows(machine)
    local, distance = _reach(machine)
    return Outcome(
        name,
        refused=None,
        oom_kills=counters.get("oom_kill", 0),
        pages=_pages(machine),
        local=local,
        distance=distance,
        counters={name: nr for name, nr in counters.items() if nr and not name.startswith("nr_")},
    )


def _pages(machine: Machine) -> dict[str, int]:
    found = {}
    for nid, node in sorted(machine.nodes.items()):
        values = vmstat.node_rows(machine, node)
        found[str(nid)] = values["nr_anon_pages"] + values["nr_file_pages"]
    return found


def _reach(machine: Machine) -> tuple[float | None, float | None]:
    """The local share and the mean distance of all declared accesses to pages that are there."""
    rows = accesses.rows(machine)
    there = [(row, row.local + row.remote) for row in rows]
    total = sum(rate for _, rate in there)
    if not total:
        return None, None
    local = sum(row.local for row, _ in there) / total
    return local, sum(row.distance * rate for row, rate in there) / total
