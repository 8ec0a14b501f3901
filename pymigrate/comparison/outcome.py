"""What comes of one variant: a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pymigrate.comparison.variants import Variant, applied
from pymigrate.errors import PymigrateError
from pymigrate.mm.base.why import Stay, merged
from pymigrate.mm.state.cost import Tally
from pymigrate.mm.state.machine import Machine, watching
from pymigrate.mm.state.scope import Watch
from pymigrate.plan.plan import Plan
from pymigrate.records import NamedTuple
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.spec.runner import Runner, Step
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
    stayed: int | None = None  # base pages that were to move, and did not
    time_us: float | None = None  # of the steps' or the plan's migrations, as estimated
    pause_us: float | None = None  # the longest that one step, or one call of the plan, takes
    counters: Mapping[str, int] | None = None  # events since boot, but for those that are 0


Planned = Callable[[Machine], Plan]  # makes a plan for a machine


def outcome(text: str, variant: Variant, planned: Planned | None = None) -> Outcome:
    """The row of *variant* of the scenario *text*: a pure function of both.

    With *planned* it is that of the plan which this makes once the steps are done. Random numbers
    begin with the scenario's seeds, which variants share unless one sets them.
    """
    try:
        scenario = load_text(applied(text, variant), "as changed")
        machine = build(scenario)
        row = _after_steps(machine, scenario.steps, variant.name)
        if planned is None:
            return row
        plan = after_plan(planned(machine), variant.name)
    except PymigrateError as error:
        return Outcome(variant.name, wrong=str(error))
    return plan._replace(refused=(plan.refused or 0) + (row.refused or 0))


def _after_steps(machine: Machine, steps: Iterable[Step], name: str) -> Outcome:
    runner, stays = Runner(machine), list[Stay]()
    refused, times = 0, [0.0]
    for step in steps:
        tally = Tally()
        with watching(machine, Watch(tally=tally, left=stays)):
            refused += runner.step(step).get("errno") is not None
        time = cost.taken(machine, tally)
        times.append(time.total if time else 0.0)
    return found(machine, name)._replace(
        refused=refused,
        stayed=sum(stay.nr for stay in merged(stays)),
        time_us=sum(times),
        pause_us=max(times),
    )


def after_plan(plan: Plan, name: str) -> Outcome:
    """The row *name* of a plan: the machine as its calls would leave it."""
    return found(plan.after, name)._replace(
        refused=int(plan.refused is not None),
        stayed=sum(left.nr for left in plan.stays),
        time_us=plan.time.total,
        pause_us=plan.pause.thread,
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
