"""mbind() range by range, so that each call keeps limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

from pymigrate.mm.frames.frames import folio_of
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.plan.calls import Call, Mbind
from pymigrate.plan.chunks import MOST, PERIOD
from pymigrate.plan.pause import HIGH
from pymigrate.plan.plan import Goal, Limits, Outcome, Plan, PlanError, play, told
from pymigrate.units import PAGE_SHIFT
from pymigrate.units import size_of_pages as size


def make_cut(machine: Machine, goal: Goal, limits: Limits) -> Plan:
    """The plan of *goal*, whose calls are mbind(), within *limits*.

    Each call that takes too long is cut and all are tried again, until none does. Raises
    PlanError for a folio that breaks a limit alone, and for too much memory.
    """
    calls = list(goal.calls)
    outcome = play(machine, goal, calls)
    if sum(outcome.sizes) > MOST:
        raise PlanError(f"more than {size(MOST)} cannot follow a policy in pieces")
    while True:
        shorter = list(_shorter(machine, calls, outcome, limits))
        if len(shorter) == len(calls):
            return told(machine, goal, calls, outcome, limits)
        calls = shorter
        outcome = play(machine, goal, calls)


def _shorter(
    machine: Machine, calls: Sequence[Call], outcome: Outcome, limits: Limits
) -> Iterator[Call]:
    """*calls*, with those that break *limits* cut; what comes after a refusal is not known."""
    most_nr = limits.most_nr(PERIOD)
    for number, call in enumerate(calls):
        if number >= len(outcome.times) or not isinstance(call, Mbind):
            yield call
            continue
        us, nr = outcome.times[number] * HIGH, outcome.sizes[number]
        is_late = bool(limits.max_pause) and us > limits.max_pause
        parts = max(ceil(us / limits.max_pause) if is_late else 1, ceil(nr / most_nr))
        cut = list(_cut(machine, call, parts)) if parts > 1 else [call]
        if is_late and len(cut) == 1:
            raise PlanError(f"a folio waits up to {us:.3g} us, longer than the pause may be")
        yield from cut


def _cut(machine: Machine, call: Mbind, parts: int) -> Iterator[Mbind]:
    """The call in about so many *parts*, none of which ends within a folio."""
    task = machine.tasks[call.pid]
    start, end = call.addr >> PAGE_SHIFT, call.addr + call.length >> PAGE_SHIFT
    step = max(-(-(end - start) // parts), 1)
    at = start
    while at < end:
        after = min(at + step, end)
        if after < end:
            first, last = _folio(task, machine, after)
            after = first if first > at else min(last, end)
        yield call._replace(addr=at << PAGE_SHIFT, length=after - at << PAGE_SHIFT)
        at = after


def _folio(task: Task, machine: Machine, page: int) -> tuple[int, int]:
    """From where to where the folio of *page* is mapped; without one, as if it were a page."""
    run = task.mm.page_table.at(page)
    if run is None or not run.lanes:
        return page, page + 1
    entry = page - (page - run.start) % (1 << run.order)
    pfn = run.clip(entry, entry + (1 << run.order)).lanes[0]
    folio = folio_of(machine, pfn)
    first = entry - (pfn - folio.pfn)
    return first, first + folio.nr
