"""mbind() by ranges keeps limits, and comes to what one call does."""

import pytest

from pymigrate.arguments import parse_mode
from pymigrate.mm.state.machine import Machine
from pymigrate.plan import goal
from pymigrate.plan.calls import Mbind
from pymigrate.plan.chunked import make_chunked
from pymigrate.plan.plan import Goal, Limits, Plan, PlanError, make_plan
from tests.conftest import four_nodes, new_task, touched, two_nodes

HUGE_PAGE = 2 << 20


def to_policy(machine: Machine, text: str = "bind:1") -> Goal:
    return goal.to_policy(machine, 0, machine.task("a"), parse_mode(text), text)


def ranges(plan: Plan) -> list[tuple[int, int]]:
    return [(call.addr, call.length) for call in plan.calls if isinstance(call, Mbind)]


def test_ranges_cover_the_memory_and_keep_the_pause() -> None:
    machine = two_nodes()
    addr = touched(machine, new_task(machine), "8MiB")
    whole = make_plan(machine, to_policy(machine))
    plan = make_chunked(machine, to_policy(machine), Limits(max_pause=1000.0))
    assert whole.pause.thread * 2 > 1000 >= plan.pause.thread * 2
    assert plan.pause.page <= plan.pause.thread
    assert len(ranges(plan)) > 5
    at = addr
    for start, length in ranges(plan):
        assert start == at
        at += length
    assert at == addr + (8 << 20)
    assert (plan.moves, plan.counters) == (whole.moves, whole.counters)


def test_rate_bounds_a_range() -> None:
    machine = two_nodes()
    touched(machine, new_task(machine), "8MiB")
    plan = make_chunked(machine, to_policy(machine), Limits(rate=10 << 20))
    assert [length for _, length in ranges(plan)] == [1 << 20] * 8


def test_range_does_not_end_within_a_huge_page() -> None:
    machine = two_nodes()
    machine.thp = "always"
    addr = touched(machine, new_task(machine), "8MiB")
    plan = make_chunked(machine, to_policy(machine), Limits(rate=1 << 20))
    assert ranges(plan) == [(addr + i * HUGE_PAGE, HUGE_PAGE) for i in range(4)]
    assert "thp_split_pmd" not in plan.counters
    with pytest.raises(PlanError, match=r"a folio waits up to .* us, longer than the pause may be"):
        make_chunked(machine, to_policy(machine), Limits(max_pause=100.0))


def test_policy_of_interleaved_memory_comes_to_what_one_call_does() -> None:
    machine = four_nodes()
    touched(machine, new_task(machine), "4MiB")
    wanted = to_policy(machine, "interleave:1-2")
    whole = make_plan(machine, wanted)
    plan = make_chunked(machine, wanted, Limits(max_pause=300.0))
    assert len(plan.calls) > 3
    assert (plan.moves, plan.counters) == (whole.moves, whole.counters)
