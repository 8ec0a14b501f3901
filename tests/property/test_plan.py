"""A plan of any machine comes true: its calls, made there, count and place what it has said."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymigrate.arguments import parse_mode
from pymigrate.errors import KernelError, UnsupportedError
from pymigrate.mm.base.vmstat import EVENTS
from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Nodemask
from pymigrate.plan import goal
from pymigrate.plan.balance import make_balanced
from pymigrate.plan.calls import Call, MovePages
from pymigrate.plan.calls import make as make_call
from pymigrate.plan.chunked import make_chunked
from pymigrate.plan.plan import UNLIMITED, Goal, Limits, Plan, PlanError, make_plan
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.spec.runner import Runner
from pymigrate.syscalls import migrate
from pymigrate.uapi import MPOL_MF_MOVE, MPOL_MF_MOVE_ALL
from pymigrate.views.pages import placement
from tests.conftest import many
from tests.property.programs import programs

CHUNKS = (
    Limits(max_pause=60.0),
    Limits(max_pause=5000.0),
    Limits(rate=1 << 20),
    Limits(max_pause=100.0, rate=1 << 24),
)
LIMITS = st.sampled_from([UNLIMITED, *CHUNKS])


def goal_of(machine: Machine, number: int, uid: int) -> Goal:
    """One of the goals that there are on *machine*, by its number."""
    nids = [*machine.memory_nodes]
    tasks = machine.processes
    kind, number = number % 6, number // 6
    bits, number = number % ((1 << len(nids)) - 1) + 1, number // 8
    some = Nodemask.collect(nid for i, nid in enumerate(nids) if bits >> i & 1)
    task = tasks[number % len(tasks)]
    if kind == 0:
        return goal.without_node(machine, uid, nids[bits % len(nids)])
    if kind == 1:
        text = f"{('bind', 'interleave', 'preferred-many')[number % 3]}:{some}"
        return goal.to_policy(machine, uid, task, parse_mode(text), text)
    if kind == 2 and len(machine.cpusets) > 1:
        return goal.to_mems(machine, uid, [*machine.cpusets][-1], some)
    return goal.to_nodes(machine, uid, task, machine.memory_nodes if kind == 3 else None, some)


def planned(machine: Machine, number: int, limits: Limits, uid: int) -> Plan:
    """The plan of one of the goals, or of balancing."""
    if number % 7 == 6 and any(task.accesses for task in machine.processes):
        return make_balanced(machine, uid, machine.processes, limits)
    wanted = goal_of(machine, number, uid)
    return make_chunked(machine, wanted, limits) if limits.are_set else make_plan(machine, wanted)


def execute(machine: Machine, uid: int, call: Call) -> None:
    """Make one call of a plan as a program would: move_pages() page by page."""
    if not isinstance(call, MovePages):
        make_call(machine, uid, call)
        return
    shell, task = machine.shell_of(uid), machine.task(call.pid)
    addrs = [page << 12 for pages in call.pages for page in pages]
    flags = MPOL_MF_MOVE_ALL if call.move_all else MPOL_MF_MOVE
    nodes = [call.node] * len(addrs)
    answer = migrate.move_pages(machine, shell, task, addrs, nodes, flags)
    assert answer.errno in (None, "ENOMEM")


def places(machine: Machine) -> dict[int, list[list[int]]]:
    """The node of each page of each process."""
    return {
        task.pid: [
            run for vma in task.mm.vmas for run in placement.runs(machine, task, vma.start, vma.end)
        ]
        for task in machine.processes
    }


def comes_true(text: str, number: int, limits: Limits, uid: int) -> Plan | None:
    """Run a program, plan a move, make it; the plan if there was one."""
    scenario = load_text(text)
    machine = build(scenario)
    runner = Runner(machine)
    where = f"{text}\n{number} {limits} {uid}"
    try:
        for step in scenario.steps:
            runner.step(step)
        plan = planned(machine, number, limits, uid)
    except (UnsupportedError, PlanError, KernelError):
        return None
    before, was = dict(machine.counters), places(machine)
    refused = None
    try:
        for call in plan.calls:
            execute(machine, uid, call)
    except KernelError as error:
        refused = error.name
    assert refused == (plan.refused and plan.refused.name), where
    counted = machine.counters.delta(before, EVENTS)
    assert counted == {k: nr for k, nr in plan.counters.items() if k in EVENTS}, where
    for row in plan.nodes:
        assert machine.nodes[row.node].nr_free == row.free_after, where
    now = places(machine)
    for pid in plan.goal.pids:
        rises = dict.fromkeys(machine.nodes, 0)
        for move in plan.moves:
            for nid in {*move.before, *move.after} & {*rises} if move.pid == pid else ():
                rises[nid] += move.after.get(nid, 0) - move.before.get(nid, 0)
        for nid, more in rises.items():
            assert on_node(now[pid], nid) - on_node(was[pid], nid) == more, where
    return plan


def on_node(runs: list[list[int]], nid: int) -> int:
    """How many pages of *runs* lie on a node."""
    return sum(nr for nr, node in runs if node == nid)


@st.composite
def layouts(draw: Callable[[st.SearchStrategy[Any]], Any]) -> str:
    """A machine of three nodes, one of them nearly full now and then, whose tasks have memory."""
    # Memory blocks can go offline where none is of two nodes, and all of a node's is movable.
    big, full, movable = draw(
        st.sampled_from([("64MiB", "26MiB", "")] + [("128MiB", "122MiB", ", movable: 128MiB")] * 2)
    )
    small = big if movable else "32MiB"
    cache = draw(st.sampled_from(["0", "0", full]))
    thp = draw(st.sampled_from(["never", "always"]))
    kernel = draw(st.sampled_from(["6.12", "6.12", "6.1", "7.2"]))
    lines = [f"kernel: '{kernel}'", "machine:", f"  thp: {thp}", "  nodes:"]
    lines.append(f"    0: {{cpus: '0', memory: {big}}}")
    lines.append(f"    1: {{memory: {small}, cache: {cache}{movable}}}")
    lines += ["    2: {cpus: '1-3', memory: 64MiB}", "files:", "  f: {size: 1MiB, fs: ext4}"]
    lines += ["tasks:", "  a:", "    cpus: '0'", "    uid: 1000"]
    at = len(lines)
    lines.append("    memory:")
    steps = []
    for i in range(draw(st.integers(1, 4))):
        kind = draw(
            st.sampled_from(
                ["heap" if not i else "anon", "shmem", "anon", "file" if not i else "anon"]
            )
        )
        nr = 256 if kind == "file" else draw(st.sampled_from([1, 7, 300, 512, 1024, 2500]))
        runs, left = [], nr
        while left:
            part = min(left, draw(st.sampled_from([1, 2, 100, 512, 2500])))
            runs.append([part, draw(st.sampled_from([0, 0, 2, -1] + [1] * (part < 500)))])
            left -= part
        more = ", file: f" if kind == "file" else ""
        lines.append(f"      - {{as: r{i}, kind: {kind}, size: {nr * 4}KiB, pages: {runs}{more}}}")
        if draw(st.integers(0, 3)) == 0:
            way = draw(st.sampled_from(["long", "short"]))
            length = draw(st.sampled_from([1, 3, nr])) * 4096
            pin = {"op": "pin", "task": "a", "at": f"r{i}", "offset": 0, "length": length}
            steps.append(pin | {"kind": way})
    if draw(st.booleans()):
        mems = draw(st.sampled_from(["0", "0-1", "1-2", "0-2"]))
        steps += [
            {"op": "cpuset_create", "cpuset": "g", "cpus": "0-3", "mems": mems},
            {"op": "cpuset_attach", "task": "a", "cpuset": "g"},
        ]
        steps[-2]["memory_migrate"] = draw(st.sampled_from([True, True, False]))
    if draw(st.booleans()):
        lines += ["  b:", "    cpus: '1'", "    memory:", "      - {as: r0, shared: a.r0}"]
        lines.append("    access: [{region: r0, rate: 20, hot: 0.6, hot_rate: 0.9}]")
    if draw(st.booleans()):
        steps += [
            {"op": "fork", "task": "a", "as": "child"},
            {"op": "touch", "task": "a", "at": "r0"},
        ]
        steps[-1]["length"] = 4096
    lines.insert(
        at,
        f"    access: [{{region: r0, rate: {draw(st.integers(1, 50))}, hot: 0.3, hot_rate: 0.5}}]",
    )
    return "\n".join([*lines, f"steps: {json.dumps(steps)}", ""])


@settings(max_examples=60)
@given(layouts(), st.integers(0, 1 << 12), LIMITS, st.sampled_from([0, 0, 1000]))
def test_plan_of_a_layout_comes_true(text: str, number: int, limits: Limits, uid: int) -> None:
    comes_true(text, number, limits, uid)


@settings(max_examples=40)
@given(programs(8), st.integers(0, 1 << 12), LIMITS, st.sampled_from([0, 0, 1000]))
def test_plan_comes_true(text: str, number: int, limits: Limits, uid: int) -> None:
    comes_true(text, number, limits, uid)


@pytest.mark.slow
@many(1000)
@given(layouts(), st.integers(0, 1 << 12), LIMITS, st.sampled_from([0, 0, 1000]))
def test_any_layout_comes_true(text: str, number: int, limits: Limits, uid: int) -> None:
    comes_true(text, number, limits, uid)


@pytest.mark.slow
@many(1000)
@given(programs(14), st.integers(0, 1 << 12), LIMITS, st.sampled_from([0, 0, 1000]))
def test_any_plan_comes_true(text: str, number: int, limits: Limits, uid: int) -> None:
    comes_true(text, number, limits, uid)
