"""Steps of a scenario, given by a program one by one."""

import pytest

import pymigrate
from pymigrate import Machine


def test_a_step_answers_with_its_record(machine: Machine) -> None:
    assert machine.step({"op": "mmap", "task": "a", "as": "new", "length": "8KiB"}) == {
        "op": "mmap",
        "ret": 0,
        "errno": None,
    }
    machine.step({"op": "touch", "task": "a", "at": "new"})
    assert machine.step({"op": "placement", "task": "a", "at": "new"})["nodes"] == [[2, 0]]


def test_what_the_kernel_refuses_is_in_the_record(machine: Machine) -> None:
    record = machine.step({"op": "migrate_pages", "task": "a", "from": "0", "to": "9"})
    why = "nodes 9 are not allowed to process 100 (CAP_SYS_NICE would drop them)"
    assert record == {"op": "migrate_pages", "ret": -1, "errno": "EPERM", "why": why}


def test_vmstat_tells_what_changed_since_the_last_one(machine: Machine) -> None:
    machine.step({"op": "migrate_pages", "task": "b", "from": "0", "to": "1"})
    assert machine.step({"op": "vmstat"})["delta"] == {"pgmigrate_success": 4}
    assert machine.step({"op": "vmstat"})["delta"] == {}


def test_a_child_names_its_parents_memory(machine: Machine) -> None:
    machine.step({"op": "fork", "task": "a", "as": "child"})
    assert machine.step({"op": "placement", "task": "child", "at": "heap"})["nodes"] == [
        [6, 0],
        [2, 1],
    ]


def test_steps_and_methods_know_each_others_names(machine: Machine) -> None:
    machine.mmap("a", "new", "4KiB", populate=True)
    machine.fork("a", "child")
    assert machine.step({"op": "placement", "task": "child", "at": "new"})["nodes"] == [[1, 0]]
    machine.step({"op": "mmap", "task": "b", "as": "other", "length": "4KiB"})
    assert machine.touch("b", "other") is None


@pytest.mark.parametrize(
    ("step", "message"),
    [
        pytest.param(
            {"op": "mmpa"}, r"step: unknown op 'mmpa'; .*nearest valid op 'mmap'", id="op"
        ),
        pytest.param({"task": "a"}, "step: unknown op nothing; expected mmap", id="no op"),
        pytest.param(
            {"op": "touch", "task": "a", "at": "hep"},
            "step touch: at: unknown region 'hep'; .*nearest valid region 'heap'",
            id="region",
        ),
        pytest.param(
            {"op": "exit", "task": "c"},
            "step exit: task: unknown task 'c'; expected a or b",
            id="task",
        ),
        pytest.param(
            {"op": "touch", "task": "a", "at": "heap", "lenght": 1},
            "step touch: lenght: unknown key 'lenght'; .*nearest valid key 'length'",
            id="key",
        ),
        pytest.param(
            {"op": "move_pages", "task": "a", "at": "heap", "pages": [0, 1], "nodes": [0]},
            "step move_pages: nodes: ",
            id="nodes",
        ),
        pytest.param(
            {"op": "cpuset_attach", "task": "a", "cpuset": "x"}, "unknown cpuset 'x'", id="cpuset"
        ),
    ],
)
def test_a_wrong_step_says_what_was_expected(
    machine: Machine, step: dict[str, object], message: str
) -> None:
    with pytest.raises(pymigrate.ScenarioError, match=message):
        machine.step(step)
