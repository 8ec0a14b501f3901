"""Chunks keep their limits, name each folio once, and leave out what would stay."""

import pytest

from pymigrate.errors import KernelError
from pymigrate.mm.base.costs import Costs
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.nodemask import Nodemask
from pymigrate.plan import chunks, goal
from pymigrate.plan.calls import MovePages
from pymigrate.plan.chunked import make_chunked
from pymigrate.plan.plan import Limits, Plan, PlanError
from pymigrate.plan.segments import parts_of
from pymigrate.syscalls import cpuset
from pymigrate.syscalls.madvise import SIMULATED, madvise
from pymigrate.syscalls.process import touch
from pymigrate.uapi import MPOL
from tests.conftest import HUGE, four_nodes, hold, mapped, new_task, touched, two_nodes

PAGE_US = Costs().unmap_us + Costs().remap_us + 4096 / 11e3


def planned(machine: Machine, limits: Limits, uid: int = 0) -> Plan:
    return make_chunked(
        machine, goal.to_nodes(machine, uid, machine.task("a"), None, Nodemask.of(1)), limits
    )


def pages_of(plan: Plan) -> list[int]:
    calls = [call for call in plan.calls if isinstance(call, MovePages)]
    assert calls == [*plan.calls]
    return [page for call in calls for part in call.pages for page in part]


def test_no_call_takes_longer_than_the_pause_at_the_upper_end() -> None:
    machine = two_nodes()
    addr = touched(machine, new_task(machine), "8MiB")
    plan = planned(machine, Limits(max_pause=1000.0))
    assert 2 * plan.pause.thread <= 1000
    assert pages_of(plan) == [*range(addr >> 12, (addr >> 12) + 2048)]
    most = int((500 - 1) / (PAGE_US + 1 / 512))
    assert [call.nr for call in plan.calls if isinstance(call, MovePages)] == [
        *[most] * (2048 // most),
        2048 % most,
    ]
    assert plan.duration[0] == plan.time.total  # half of it, and as long a rest after each call


def test_rate_bounds_a_call_and_the_whole() -> None:
    machine = two_nodes()
    touched(machine, new_task(machine), "8MiB")
    plan = planned(machine, Limits(rate=10 << 20))
    assert [call.nr for call in plan.calls if isinstance(call, MovePages)] == [256] * 8
    assert plan.duration == pytest.approx((800_000, 800_000))


def test_folio_that_takes_longer_than_the_pause_is_an_error() -> None:
    machine = two_nodes()
    touched(machine, new_task(machine), "4KiB")
    with pytest.raises(PlanError, match=r"a folio of 4 KiB waits up to 4.55 us, longer than"):
        planned(machine, Limits(max_pause=1.0))


def test_huge_page_is_moved_whole_even_if_the_rate_is_less() -> None:
    machine = two_nodes()
    machine.thp = "always"
    touched(machine, new_task(machine), "4MiB")
    plan = planned(machine, Limits(rate=1 << 20))
    assert [(call.nr, len(call.pages)) for call in plan.calls if isinstance(call, MovePages)] == [
        (512, 1),
        (512, 1),
    ]


def test_what_stays_is_left_out_and_told() -> None:
    machine = two_nodes()
    task = new_task(machine)
    addr = touched(machine, task, "1MiB")
    hold(machine, task, addr + 8192, 2)
    plan = planned(machine, Limits(max_pause=1e6))
    first = addr >> 12
    assert pages_of(plan) == [first, first + 1, *range(first + 4, first + 256)]
    assert [(row.nr, row.why) for row in plan.stays] == [(2, "pinned")]
    assert "pgmigrate_fail" not in plan.counters


def test_interleaved_pages_are_ranges_with_gaps() -> None:
    machine = four_nodes()
    task = new_task(machine)
    nodes = Nodemask.parse("0,2")
    task.policy = Mempolicy(MPOL.INTERLEAVE, 0, nodes, nodes)
    addr = mapped(machine, task, "1MiB")
    assert touch(machine, task, addr, 1 << 20) is None
    first, task.policy = addr >> 12, None
    plan = planned(machine, Limits(max_pause=1e6))
    ranges = [part for call in plan.calls if isinstance(call, MovePages) for part in call.pages]
    assert sorted((part.start, part.step) for part in ranges) == [(first, 2), (first + 1, 2)]
    assert sorted(pages_of(plan)) == [*range(first, first + 256)]


def test_huge_page_that_is_mapped_by_pages_is_named_once() -> None:
    machine = two_nodes()
    machine.thp = "always"
    task = new_task(machine)
    addr = touched(machine, task, "2MiB")
    madvise(machine, task, addr + 4096, 4096, SIMULATED["nohugepage"])  # splits the entry
    segment = chunks.Segment(task.pid, 0, 1 << 52, 0, 1)
    assert next(parts_of(machine, segment, True)).pages.start == addr >> 12
    plan = planned(machine, Limits(max_pause=1e6))
    assert plan.nr == HUGE >> 12


def test_node_that_the_cpuset_does_not_allow_is_refused() -> None:
    machine = two_nodes()
    task = new_task(machine)
    touched(machine, task, "4KiB")
    shell = machine.shell_of(0)
    cpuset.create(machine, shell, "g", machine.cpus, Nodemask.of(0), True)
    cpuset.attach_task(machine, shell, task, "g")
    with pytest.raises(KernelError, match="Permission denied"):
        planned(machine, Limits(rate=1))


def test_other_users_may_not() -> None:
    machine = two_nodes()
    mapped(machine, new_task(machine), "4KiB")
    with pytest.raises(KernelError, match="not permitted"):
        planned(machine, Limits(rate=1), uid=7)


def test_much_memory_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "MOST", 100)
    machine = two_nodes("16MiB")
    touched(machine, new_task(machine, "other", cpu=1), "12MiB", node=1)
    touched(machine, new_task(machine), "8MiB")
    with pytest.raises(PlanError, match="there is no room for it"):
        planned(machine, Limits(max_pause=1e6))
    monkeypatch.setattr(chunks, "MOST", 1 << 20)
    plan = planned(machine, Limits(max_pause=1e3))
    assert {row.why for row in plan.stays} == {"full"}
