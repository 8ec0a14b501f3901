"""Where policies put pages, and the order in which nodes are asked."""

import pytest

from pymigrate.mm.frames.placement import (
    Cycle,
    Demote,
    Placement,
    Prefer,
    PreferMany,
    ThisNode,
    Within,
    cursor_placement,
    from_index,
    placement,
    rounds_of,
)
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.nodemask import Nodemask
from pymigrate.uapi import MPOL
from tests.conftest import four_nodes, new_task
from tests.unit.mm.conftest import with_task

INTERLEAVE, WEIGHTED = MPOL.INTERLEAVE, MPOL.WEIGHTED_INTERLEAVE


def mask(text: str) -> Nodemask:
    return Nodemask.parse(text)


def policy(mode: MPOL, nodes: str, home: int = -1) -> Mempolicy:
    return Mempolicy(mode, 0, mask(nodes), mask("0-3"), home)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(None, Prefer(2), id="default: the CPU's node"),
        pytest.param(policy(MPOL.LOCAL, ""), Prefer(2), id="local"),
        pytest.param(policy(MPOL.PREFERRED, "1"), Prefer(1), id="preferred"),
        pytest.param(policy(MPOL.BIND, "0-1"), Within(2, mask("0-1")), id="bind"),
        pytest.param(
            policy(MPOL.BIND, "0-1", home=1), Within(1, mask("0-1")), id="bind with a home"
        ),
        pytest.param(policy(MPOL.BIND, "7"), Prefer(2), id="bind, disjoint from mems"),
        pytest.param(
            policy(MPOL.PREFERRED_MANY, "0-1"), PreferMany(2, mask("0-1")), id="preferred-many"
        ),
        pytest.param(policy(INTERLEAVE, "0,3"), Cycle((0, 3)), id="interleave"),
        pytest.param(
            policy(WEIGHTED, "0-2"),
            Cycle((0, 1, 1, 1, 2)),
            id="weighted-interleave",
        ),
    ],
)
def test_where_a_policy_puts_pages(found: Mempolicy | None, expected: Placement) -> None:
    machine = four_nodes()
    machine.weights = {1: 3}
    made = placement(machine, new_task(machine, cpu=2), found)
    assert repr(made) == repr(expected)  # its class and its nodes


@pytest.mark.parametrize(
    ("found", "before", "turns", "after"),
    [
        pytest.param(policy(INTERLEAVE, "0-2"), (-1, 0), (0, 1, 2, 0), (0, 0), id="from reset"),
        pytest.param(policy(INTERLEAVE, "0-2"), (1, 0), (2, 0, 1, 2), (2, 0), id="goes on"),
        pytest.param(policy(INTERLEAVE, "1,3"), (2, 0), (3, 1, 3, 1), (1, 0), id="not a member"),
        pytest.param(policy(WEIGHTED, "0-2"), (-1, 0), (0, 1, 1, 2), (2, 0), id="weighted"),
        pytest.param(policy(WEIGHTED, "0-2"), (1, 1), (1, 2, 0, 1), (1, 1), id="weight left"),
        pytest.param(policy(WEIGHTED, "0,2"), (1, 1), (2, 0, 2, 0), (0, 0), id="weight gone"),
    ],
)
def test_the_cursor(
    found: Mempolicy, before: tuple[int, int], turns: tuple[int, ...], after: tuple[int, int]
) -> None:
    machine = four_nodes()
    machine.weights = {1: 2}
    task = new_task(machine)
    task.il_prev, task.il_weight = before
    where, *cursor = cursor_placement(machine, task, 4, found)
    assert (repr(where), tuple(cursor)) == (repr(Cycle(turns)), after)


def test_a_policy_that_takes_no_turns_leaves_the_cursor() -> None:
    machine, task = with_task(four_nodes())
    task.il_prev = 2
    found = cursor_placement(machine, task, 4, policy(MPOL.BIND, "1"))
    assert found == (Within(0, mask("1")), 2, 0)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        pytest.param(ThisNode(1), (mask("1"),), id="this node"),
        pytest.param(Prefer(1), (None,), id="prefer"),
        pytest.param(Within(1, mask("2-3")), (mask("2-3"),), id="within"),
        pytest.param(PreferMany(1, mask("2-3")), (mask("2-3"), None), id="prefer many"),
        pytest.param(Demote(1, mask("2-3")), (mask("1"), mask("2-3")), id="demote"),
        pytest.param(Cycle((1, 2)), (None,), id="cycle"),
    ],
)
def test_which_nodes_are_tried_one_set_after_the_other(
    where: Placement, expected: tuple[Nodemask | None, ...]
) -> None:
    assert rounds_of(where, 1) == expected


@pytest.mark.parametrize(
    ("index", "step", "turns"),
    [
        pytest.param(0, 1, (0, 1, 2, 3), id="from the first"),
        pytest.param(6, 1, (2, 3, 0, 1), id="from the seventh"),
        pytest.param(1, 2, (1, 3), id="every second"),
        pytest.param(1, 3, (1, 0, 3, 2), id="every third"),
        pytest.param(3, 4, (3,), id="every fourth"),
    ],
)
def test_turns_of_pages_from_an_index_on(index: int, step: int, turns: tuple[int, ...]) -> None:
    assert repr(from_index(Cycle((0, 1, 2, 3)), index, step)) == repr(Cycle(turns))


def test_who_takes_no_turns_asks_for_the_same_at_every_index() -> None:
    where = Within(0, mask("1"))
    assert from_index(where, 5, 3) is where


@pytest.mark.parametrize(("home", "start"), [(-1, 1), (0, 0), (2, 2)])
def test_the_search_begins_at_the_home_node_or_the_tasks(home: int, start: int) -> None:
    machine = four_nodes("4MiB")
    task, nodes = new_task(machine, cpu=1), mask("0,2")
    many, bind = (
        placement(machine, task, Mempolicy(mode, 0, nodes, nodes, home))
        for mode in (MPOL.PREFERRED_MANY, MPOL.BIND)
    )
    assert (many, bind) == (PreferMany(start, nodes), Within(start, nodes))
