"""Cpusets and nodes' memory in chunks: move_pages() ahead, and the same end as in one piece."""

import json

import pytest

from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Nodemask
from pymigrate.plan import goal
from pymigrate.plan.calls import Call, MovePages, Offline, SetMems
from pymigrate.plan.chunked import make_chunked
from pymigrate.plan.emit import emit
from pymigrate.plan.plan import Goal, Limits, Plan, PlanError, make_plan
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.syscalls import cpuset
from tests.conftest import four_nodes, hold, new_task, touched, two_nodes

PAUSE = Limits(max_pause=1000.0)


def grouped(machine: Machine, mems: Nodemask) -> tuple[Machine, Goal]:
    """A cpuset g of node 0 with a task that has memory, and that it is to have *mems*."""
    shell = machine.shell_of(0)
    cpuset.create(machine, shell, "g", machine.cpus, Nodemask.of(0), True)
    task = new_task(machine)
    cpuset.attach_task(machine, shell, task, "g")
    touched(machine, task, "8MiB")
    return machine, goal.to_mems(machine, 0, "g", mems)


def others(plan: Plan) -> list[Call]:
    return [call for call in plan.calls if not isinstance(call, MovePages)]


def test_cpuset_has_both_its_nodes_while_chunks_move() -> None:
    machine, wanted = grouped(two_nodes(), Nodemask.of(1))
    whole = make_plan(machine, wanted)
    plan = make_chunked(machine, wanted, PAUSE)
    assert [plan.calls[0], plan.calls[-1]] == others(plan)
    assert others(plan) == [SetMems("g", Nodemask.of(0, 1)), SetMems("g", Nodemask.of(1))]
    assert len(plan.calls) > 5
    assert whole.pause.thread * 2 > 1000 >= plan.pause.thread * 2
    assert (plan.moves, plan.counters) == (whole.moves, whole.counters)
    assert plan.after.cpusets["g"].mems == Nodemask.of(1)


def test_cpuset_that_loses_nodes_is_not_widened() -> None:
    machine = four_nodes()
    shell = machine.shell_of(0)
    cpuset.create(machine, shell, "g", machine.cpus, Nodemask.of(0, 1), True)
    task = new_task(machine)
    cpuset.attach_task(machine, shell, task, "g")
    touched(machine, task, "4MiB")
    plan = make_chunked(machine, goal.to_mems(machine, 0, "g", Nodemask.of(1)), PAUSE)
    assert others(plan) == [SetMems("g", Nodemask.of(1))]
    assert plan.nr == 1024


def test_cpuset_whose_memory_does_not_follow_is_one_write() -> None:
    machine, wanted = grouped(two_nodes(kernel="6.1"), Nodemask.of(1))
    machine.cpusets["g"].memory_migrate = False
    plan = make_chunked(machine, wanted, PAUSE)
    assert [type(call) for call in plan.calls] == [SetMems, SetMems]
    assert plan.nr == 0


def test_node_is_emptied_in_chunks_and_then_goes_block_by_block() -> None:
    machine = two_nodes("256MiB")
    touched(machine, new_task(machine), "8MiB", node=1)
    wanted = goal.without_node(machine, 0, 1)
    whole = make_plan(machine, wanted)
    plan = make_chunked(machine, wanted, PAUSE)
    assert others(plan) == [Offline(1, (2, 3))]
    assert len(plan.calls) > 5
    assert whole.pause.thread * 2 > 1000 >= plan.pause.thread * 2
    assert (plan.moves, plan.blocks) == (whole.moves, whole.blocks)
    assert plan.counters["pgmigrate_success"] == whole.counters["pgmigrate_success"] == 2048


def test_memory_that_chunks_do_not_reach_may_break_the_pause() -> None:
    machine = two_nodes()
    shell, task = machine.shell_of(0), new_task(machine)
    for name in ("g", "g/h"):
        cpuset.create(machine, shell, name, machine.cpus, Nodemask.of(0), True)
    cpuset.attach_task(machine, shell, task, "g/h")
    touched(machine, task, "8MiB")
    wanted = goal.to_mems(machine, 0, "g", Nodemask.of(1))
    with pytest.raises(PlanError, match=r"the cpuset takes up to .* us with 8 MiB that move_pages"):
        make_chunked(machine, wanted, PAUSE)
    with pytest.raises(PlanError, match=r"the cpuset moves more at one go than the limit allows"):
        make_chunked(machine, wanted, Limits(rate=1 << 20))


def test_node_that_keeps_memory_is_not_emptied() -> None:
    machine = two_nodes("256MiB")
    touched(machine, new_task(machine), "8MiB")
    with pytest.raises(PlanError, match=r"memory0: .*; a node that keeps memory is not emptied"):
        make_chunked(machine, goal.without_node(machine, 0, 0), PAUSE)


def test_pinned_page_stays_and_is_told_once() -> None:
    machine, wanted = grouped(two_nodes(), Nodemask.of(1))
    start = next(iter(machine.task("a").mm.page_table.runs)).start
    hold(machine, machine.task("a"), start << 12)
    plan = make_chunked(machine, wanted, PAUSE)
    assert [row.nr for row in plan.stays] == [1]
    assert plan.nr == 2047


def test_refused_write_is_a_refused_plan() -> None:
    machine, _ = grouped(two_nodes(), Nodemask.of(1))
    plan = make_chunked(machine, goal.to_mems(machine, 1000, "g", Nodemask.of(1)), PAUSE)
    assert plan.refused is not None
    assert plan.refused.name == "EACCES"


def test_writes_are_part_of_the_program_and_of_json() -> None:
    machine, wanted = grouped(two_nodes("128MiB"), Nodemask.of(1))
    plan = make_chunked(machine, wanted, PAUSE)
    program = emit(machine, plan, "python")
    assert "    ('/sys/fs/cgroup/g/cpuset.mems', '0-1'),\n" in program
    assert "    ('/sys/fs/cgroup/g/cpuset.mems', '1'),\n)" in program
    assert json.loads(emit(machine, plan, "json"))["calls"][-1] == {
        "call": "cpuset.mems",
        "cpuset": "g",
        "mems": "1",
    }
    off = make_chunked(machine, goal.without_node(machine, 0, 1), PAUSE)
    assert "('/sys/devices/system/memory/memory1/state', 'offline')" in emit(machine, off, "python")
    assert json.loads(emit(machine, off, "json"))["calls"][-1] == {
        "call": "offline",
        "node": 1,
        "blocks": [1],
    }
    with pytest.raises(PlanError, match="--emit python moves chunks"):
        emit(machine, plan, "sh")


def test_cpuset_of_v1_lies_elsewhere() -> None:
    machine, wanted = grouped(two_nodes(kernel="6.1"), Nodemask.of(1))
    machine.release = machine.release._replace(cpuset_v1=True)
    assert "/sys/fs/cgroup/cpuset/g/cpuset.mems" in emit(machine, make_plan(machine, wanted), "sh")


CACHE = """
machine:
  nodes:
    0: {cpus: "0", memory: 512MiB}
    1: {memory: 256MiB, movable: 256MiB, cache: 200MiB}
"""


def test_blocks_that_bring_too_much_together_go_by_themselves() -> None:
    machine = build(load_text(CACHE))
    wanted = goal.without_node(machine, 0, 1)
    plan = make_chunked(machine, wanted, Limits(rate=3 << 30))
    assert [*plan.calls] == [Offline(1, (4, 5))]
    plan = make_chunked(machine, wanted, Limits(rate=3 << 29))
    assert [*plan.calls] == [Offline(1, (4,)), Offline(1, (5,))]
    with pytest.raises(PlanError, match=r"memory block 4 moves more at one go than the limit"):
        make_chunked(machine, wanted, Limits(rate=1 << 29))
