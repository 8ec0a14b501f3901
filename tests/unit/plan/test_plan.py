"""A plan is what its calls do, and changes nothing."""

import pytest

from pymigrate.arguments import parse_mode
from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Nodemask
from pymigrate.plan import goal
from pymigrate.plan.plan import make_plan
from pymigrate.scenario.boot.build import boot
from pymigrate.scenario.spec.models import MachineSpec
from pymigrate.store.codec import rows_of
from pymigrate.syscalls import cpuset, migrate
from tests.conftest import four_nodes, hold, new_task, nodes_of, touched, two_nodes


def to_one(machine: Machine, who: str = "a") -> goal.Goal:
    return goal.to_nodes(machine, 0, machine.task(who), None, Nodemask.of(1))


def test_plan_tells_what_moves_and_leaves_the_machine_alone() -> None:
    machine = two_nodes()
    touched(machine, new_task(machine), "4MiB")
    before = rows_of(machine)
    plan = make_plan(machine, to_one(machine))
    assert rows_of(machine) == before
    assert (plan.nr, plan.stays, plan.is_whole) == (1024, (), True)
    [moved] = plan.moves
    assert (moved.before, moved.after, moved.nr) == ({0: 1024}, {1: 1024}, 1024)
    assert plan.counters["pgmigrate_success"] == 1024


def test_plan_is_what_the_call_then_does() -> None:
    machine = two_nodes()
    task = new_task(machine)
    addr = touched(machine, task, "4MiB")
    hold(machine, task, addr + 4096, 3)
    plan = make_plan(machine, to_one(machine))
    migrate.migrate_pages(machine, machine.shell_of(0), task, Nodemask.of(0), Nodemask.of(1))
    assert {name: machine.counters[name] for name in ("pgmigrate_success", "pgmigrate_fail")} == {
        name: plan.counters[name] for name in ("pgmigrate_success", "pgmigrate_fail")
    }
    assert nodes_of(machine, task, addr, "4MiB") == [[1, 1], [3, 0], [1020, 1]]
    assert [(row.nr, row.node, row.why) for row in plan.stays] == [(3, 0, "pinned")]


def test_node_that_is_too_small_is_told_by_how_much() -> None:
    machine = two_nodes("16MiB")
    touched(machine, new_task(machine, "other", cpu=1), "12MiB", node=1)
    touched(machine, new_task(machine), "8MiB")
    plan = make_plan(machine, to_one(machine))
    assert plan.refused is not None
    assert plan.refused.name == "ENOMEM"
    left, target = plan.nodes
    assert (left.verdict, target.verdict) == ("nothing arrives", "full")
    assert target.full + plan.nr == 2048
    assert target.arrives == plan.nr == left.leaves


def test_page_cache_that_gives_way_is_counted() -> None:
    nodes = {0: {"cpus": "0", "memory": "64MiB"}, 1: {"memory": "64MiB", "cache": "56MiB"}}
    machine = boot(MachineSpec.model_validate({"nodes": nodes}), "6.12")
    touched(machine, new_task(machine), "32MiB")
    plan = make_plan(machine, to_one(machine))
    [_, target] = plan.nodes
    assert target.verdict == "fits as page cache gives way"
    assert target.dropped >= (32 << 8) - target.free
    assert plan.nr == 8192


def test_pages_that_fall_back_are_told() -> None:
    machine = four_nodes("16MiB")
    touched(machine, new_task(machine, "other", cpu=1), "12MiB", node=1)
    task = new_task(machine)
    touched(machine, task, "8MiB")
    policy = parse_mode("preferred:1")
    plan = make_plan(machine, goal.to_policy(machine, 0, task, policy, "preferred:1"))
    assert plan.refused is None
    assert sum(plan.elsewhere.values()) + plan.nodes[1].arrives == plan.nr == 2048
    assert set(plan.elsewhere) <= {0, 2, 3}


@pytest.mark.parametrize("nodes", ["0", "1", "0-1"])
def test_cpuset_takes_the_memory_of_its_tasks_along(nodes: str) -> None:
    machine = two_nodes()
    task = new_task(machine)
    touched(machine, task, "4MiB")
    shell = machine.shell_of(0)
    cpuset.create(machine, shell, "g", machine.cpus, machine.memory_nodes, True)
    cpuset.attach_task(machine, shell, task, "g")
    plan = make_plan(machine, goal.to_mems(machine, 0, "g", Nodemask.parse(nodes)))
    assert plan.nr == (1024 if nodes == "1" else 0)
    assert plan.goal.pids == (task.pid,)
