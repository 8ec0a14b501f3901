"""Pages go to the node that accesses them most, each once."""

import pytest

from pymigrate.mm.state.machine import Machine
from pymigrate.plan.balance import make_balanced
from pymigrate.plan.plan import Plan, PlanError
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text

SCENARIO = """\
machine:
  nodes:
    0: {cpus: "0-1", memory: 64MiB}
    1: {cpus: "2-3", memory: 64MiB}
    2: {cpus: "4", memory: 0}
  distances: [[10, 20, 40], [20, 10, 15], [40, 15, 10]]
tasks:
  a:
    cpus: "0"
    memory:
      - {as: buf, kind: shmem, size: 40KiB, pages: [[10, 1]]}
      - {as: heap, kind: heap, size: 40KiB, pages: [[5, 0], [5, 1]]}
    access:
      - {region: buf, rate: 100}
      - {region: heap, rate: 100}
  b:
    cpus: "%s"
    memory:
      - {as: buf, shared: a.buf}
    access:
      - {region: buf, rate: 150, hot: 0.5, hot_rate: 1.0}
"""


def machine_of(cpu: str = "2") -> Machine:
    return build(load_text(SCENARIO % cpu))


def moved(plan: Plan) -> dict[tuple[int, str], dict[int, int]]:
    return {(move.pid, move.mapping): move.after for move in plan.moves}


def test_shared_pages_go_to_the_node_that_accesses_them_most() -> None:
    machine = machine_of()
    plan = make_balanced(machine, 0, machine.processes)
    # The hot half of buf is b's, with 30 accesses a page to 10, the other a's alone.
    assert moved(plan) == {
        (1000, "buf"): {0: 5, 1: 5},
        (1000, "heap"): {0: 10},
    }
    assert plan.nr == 10


def test_only_pages_of_those_who_are_named_move() -> None:
    machine = machine_of("0")
    plan = make_balanced(machine, 0, [machine.task("b")])
    assert moved(plan) == {(1001, "buf"): {0: 10}}


def test_node_without_memory_stands_for_the_nearest_with_some() -> None:
    machine = machine_of("4")
    plan = make_balanced(machine, 0, [machine.task("b")])
    assert moved(plan) == {(1001, "buf"): {0: 5, 1: 5}}


def test_without_accesses_there_is_no_plan() -> None:
    machine = machine_of()
    for task in machine.processes:
        task.accesses = []
    with pytest.raises(PlanError, match="no task declares its accesses"):
        make_balanced(machine, 0, machine.processes)
