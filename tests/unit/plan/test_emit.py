"""What a plan is for the real host, and what cannot be said so."""

import ast
import json

import pytest

from pymigrate.arguments import parse_mode
from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Nodemask
from pymigrate.plan import goal
from pymigrate.plan.chunked import make_chunked
from pymigrate.plan.emit import emit
from pymigrate.plan.goal import parse_rate, parse_time
from pymigrate.plan.plan import Goal, Limits, PlanError, make_plan
from tests.conftest import new_task, touched, two_nodes


def machine_of() -> Machine:
    machine = two_nodes()
    task = new_task(machine)
    task.pid, task.comm = 1000, "it's"
    touched(machine, task, "16KiB")
    return machine


def to_one(machine: Machine) -> Goal:
    return goal.to_nodes(machine, 0, machine.task("a"), None, Nodemask.of(1))


def test_process_is_a_command_behind_a_check() -> None:
    machine = machine_of()
    assert emit(machine, make_plan(machine, to_one(machine)), "sh").splitlines() == [
        "#!/bin/sh -e",
        "# plan: process 1000 (a) from node 0 to node 1",
        """test "$(cat /proc/1000/comm)" = 'it'"'"'s'""",
        "migratepages 1000 0 1",
    ]


def test_node_is_a_loop_over_its_blocks() -> None:
    machine = machine_of()
    text = emit(machine, make_plan(machine, goal.without_node(machine, 0, 1)), "sh")
    assert "for block in /sys/devices/system/node/node1/memory[0-9]*; do\n" in text


def test_chunks_are_a_program_that_compiles() -> None:
    machine = machine_of()
    plan = make_chunked(machine, to_one(machine), Limits(max_pause=10.0, rate=1 << 30))
    tree = ast.parse(emit(machine, plan, "python"))
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in ("COMMS", "MOVE_ALL", "RATE", "RESTS", "CHUNKS")
    }
    assert values["COMMS"] == {1000: "it's"}
    assert (values["MOVE_ALL"], values["RATE"], values["RESTS"]) == (True, 1 << 30, True)
    assert [chunk[:3] for chunk in values["CHUNKS"]] == [(1000, 1, 12288), (1000, 1, 4096)]
    assert [chunk[3][0][1:] for chunk in values["CHUNKS"]] == [(3, 4096), (1, 4096)]


def test_json_has_each_call() -> None:
    machine = machine_of()
    whole = json.loads(emit(machine, make_plan(machine, to_one(machine)), "json"))
    assert whole["calls"] == [
        {"call": "migrate_pages", "pid": 1000, "comm": "it's", "from": "0", "to": "1"}
    ]
    cut = json.loads(
        emit(machine, make_chunked(machine, to_one(machine), Limits(rate=1 << 20)), "json")
    )
    assert [call["bytes"] for call in cut["calls"]] == [16384]
    policy = goal.to_policy(machine, 0, machine.task("a"), parse_mode("bind:1"), "bind:1")
    [call] = json.loads(emit(machine, make_plan(machine, policy), "json"))["calls"]
    assert (call["call"], call["nodes"], call["length"]) == ("mbind", "1", 16384)
    off = make_plan(machine, goal.without_node(machine, 0, 1))
    assert json.loads(emit(machine, off, "json"))["calls"] == [{"call": "offline", "node": 1}]


@pytest.mark.parametrize("language", ["sh", "python"])
def test_policy_of_another_process_cannot_be_said(language: str) -> None:
    machine = machine_of()
    policy = goal.to_policy(machine, 0, machine.task("a"), parse_mode("bind:1"), "bind:1")
    with pytest.raises(PlanError, match=r"mbind\(\) sets the policy of its caller alone"):
        emit(machine, make_plan(machine, policy), language)


def test_chunks_are_no_commands_and_a_command_is_no_program() -> None:
    machine = machine_of()
    with pytest.raises(PlanError, match="--emit python moves chunks"):
        emit(machine, make_chunked(machine, to_one(machine), Limits(rate=1 << 20)), "sh")
    with pytest.raises(PlanError, match="is one command: --emit sh"):
        emit(machine, make_plan(machine, to_one(machine)), "python")


@pytest.mark.parametrize("text", ["20", "ms", "-1s", "1m"])
def test_wrong_times(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_time(text)


@pytest.mark.parametrize("text", ["2GiB/m", "2GiB/", "x/s"])
def test_wrong_rates(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_rate(text)
