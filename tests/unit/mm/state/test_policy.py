"""Policies: what they are made of, and how they print."""

import pytest

from pymigrate.mm.base.release import RELEASES
from pymigrate.mm.state.policy import (
    Mempolicy,
    mpol_equal,
    new_policy,
    rebind,
    set_nodemask,
    split_mode,
)
from pymigrate.nodemask import Nodemask
from pymigrate.uapi import BALANCING, MPOL, RELATIVE, STATIC
from tests.conftest import errno_of

PREFERRED, BIND, INTERLEAVE = MPOL.PREFERRED, MPOL.BIND, MPOL.INTERLEAVE
NAMED = [MPOL.PREFERRED, MPOL.BIND, MPOL.INTERLEAVE, MPOL.PREFERRED_MANY, MPOL.WEIGHTED_INTERLEAVE]


def mask(text: str) -> Nodemask:
    return Nodemask.parse(text)


def policy(
    mode: MPOL, nodes: str, flags: int = 0, origin: str = "0-3", home: int = -1
) -> Mempolicy:
    return Mempolicy(mode, flags, mask(nodes), mask(origin), home)


def built(mode: int, nodes: str, allowed: str = "0-3", kernel: str = "6.12") -> Mempolicy | None:
    """All of BUILD: what set_mempolicy() makes of its arguments."""
    kind, flags = split_mode(mode, RELEASES[kernel])
    return set_nodemask(new_policy(kind, flags, mask(nodes)), mask(allowed))


def outcome(mode: int, nodes: str) -> str:
    """What becomes of a mode with its flags: the policy's text, or the error."""
    try:
        return str(built(mode, nodes))
    except Exception as error:  # noqa: BLE001  (the errno is all that counts)
        return str(getattr(error, "name", error))


@pytest.mark.parametrize(
    ("mode", "text", "nodes", "may_balance", "empty"),
    [
        (1, "prefer", "1", False, "local"),
        (2, "bind", "1-2", True, "EINVAL"),
        (3, "interleave", "1-2", False, "EINVAL"),
        (5, "prefer (many)", "1-2", True, "EINVAL"),
        (6, "weighted interleave", "1-2", False, "EINVAL"),
    ],
)
def test_modes_that_name_nodes(
    mode: int, text: str, nodes: str, may_balance: bool, empty: str
) -> None:
    assert outcome(mode, "1-2") == f"{text}:{nodes}"
    assert outcome(mode | STATIC, "1-2") == f"{text}=static:{nodes}"
    assert outcome(mode | RELATIVE, "1-2") == f"{text}=relative:{nodes}"
    balancing = outcome(mode | BALANCING, "1-2")
    assert balancing == (f"{text}=balancing:{nodes}" if may_balance else "EINVAL")
    assert outcome(mode, "") == empty


@pytest.mark.parametrize(("mode", "empty"), [(0, "None"), (4, "local")], ids=["default", "local"])
def test_modes_that_name_none(mode: int, empty: str) -> None:
    for flags in (0, STATIC, RELATIVE, BALANCING):
        assert outcome(mode | flags, "1-2") == "EINVAL"
    assert outcome(mode, "") == empty


@pytest.mark.parametrize(
    ("mode", "answer"),
    [
        pytest.param(MPOL.DEFAULT | STATIC, "None", id="default, static"),
        pytest.param(MPOL.DEFAULT | RELATIVE, "None", id="default, relative"),
        pytest.param(MPOL.DEFAULT | BALANCING, "EINVAL", id="default, balancing"),
        pytest.param(MPOL.LOCAL | STATIC, "EINVAL", id="local, static"),
        pytest.param(MPOL.LOCAL | RELATIVE, "EINVAL", id="local, relative"),
        pytest.param(PREFERRED | STATIC, "EINVAL", id="preferred, static"),
        pytest.param(PREFERRED | RELATIVE, "EINVAL", id="preferred, relative"),
    ],
)
def test_flags_with_an_empty_mask(mode: int, answer: str) -> None:
    assert outcome(mode, "") == answer


@pytest.mark.parametrize(
    "mode", [7, 8, -1, BIND | STATIC | RELATIVE, BIND | 0x1000, BIND | 0x10000]
)
def test_unknown_modes_and_both_kinds_of_masks_are_refused(mode: int) -> None:
    assert errno_of(split_mode, mode, RELEASES["6.12"]) == "EINVAL"


def test_6_1_knows_no_weights_and_balances_only_bind() -> None:
    old = RELEASES["6.1"]
    assert errno_of(split_mode, 6, old) == "EINVAL"
    assert errno_of(split_mode, 5 | BALANCING, old) == "EINVAL"
    assert split_mode(2 | BALANCING, old) == (BIND, BALANCING)


@pytest.mark.parametrize("mode", NAMED)
def test_nodes_that_are_not_allowed_are_dropped_and_none_left_is_einval(mode: MPOL) -> None:
    found = built(mode, "1,7", "0-1")
    assert found is not None
    assert found.nodes == mask("1")
    assert errno_of(built, mode, "7", "0-1") == "EINVAL"


def test_preferred_keeps_the_lowest_node_that_is_allowed() -> None:
    found = built(PREFERRED, "0-2", "1-3")
    assert found is not None
    assert (str(found), found.user_nodes) == ("prefer:1", mask("1"))


@pytest.mark.parametrize(
    ("mode", "user_nodes"),
    [
        (BIND, "1"),
        (BIND | STATIC, "1,7"),
        (BIND | BALANCING, "1,7"),
        (PREFERRED | STATIC, "1,7"),
    ],
)
def test_with_a_flag_the_nodes_asked_for_are_remembered(mode: int, user_nodes: str) -> None:
    found = built(mode, "1,7", "0-1")
    assert found is not None
    assert (found.nodes, found.user_nodes) == (mask("1"), mask(user_nodes))


def test_relative_nodes_are_ranks_among_the_allowed() -> None:
    found = built(BIND | RELATIVE, "0", "1-2")
    assert found is not None
    assert (str(found), found.user_nodes) == ("bind=relative:1", mask("0"))


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (policy(PREFERRED, "1"), "prefer:1"),
        (policy(BIND, "0-1"), "bind:0-1"),
        (policy(INTERLEAVE, "0,2", STATIC), "interleave=static:0,2"),
        (policy(BIND, "1", RELATIVE | BALANCING), "bind=relative|balancing:1"),
        (policy(BIND, "1", STATIC | BALANCING), "bind=static|balancing:1"),
        (policy(MPOL.PREFERRED_MANY, "0-1"), "prefer (many):0-1"),
        (policy(MPOL.WEIGHTED_INTERLEAVE, "0-3"), "weighted interleave:0-3"),
        (policy(MPOL.LOCAL, ""), "local"),
        (policy(BIND, "0", home=1), "bind:0"),
    ],
)
def test_text(found: Mempolicy, text: str) -> None:
    assert str(found) == text


def test_text_is_cut_at_63_characters() -> None:
    nodes = ",".join(str(nid) for nid in range(0, 60, 2))
    text = str(policy(BIND, nodes))
    assert text == f"bind:{nodes}"[:63]


@pytest.mark.parametrize(
    ("a", "b", "answer"),
    [
        pytest.param(None, None, True, id="both default"),
        pytest.param(None, policy(MPOL.LOCAL, ""), False, id="default and local"),
        pytest.param(policy(BIND, "1"), policy(BIND, "1"), True, id="same"),
        pytest.param(policy(BIND, "1"), policy(BIND, "1", origin="1"), True, id="other mems"),
        pytest.param(
            policy(BIND, "1", STATIC, "1"),
            policy(BIND, "1", STATIC, "1,7"),
            False,
            id="other nodes asked for",
        ),
        pytest.param(policy(BIND, "1"), policy(BIND, "2"), False, id="nodes"),
        pytest.param(policy(BIND, "1"), policy(INTERLEAVE, "1"), False, id="modes"),
        pytest.param(policy(BIND, "1"), policy(BIND, "1", home=0), False, id="home"),
        pytest.param(
            policy(BIND, "1", STATIC, "1"),
            policy(BIND, "1", RELATIVE, "1"),
            False,
            id="flags",
        ),
    ],
)
def test_equality(a: Mempolicy | None, b: Mempolicy | None, answer: bool) -> None:
    assert mpol_equal(a, b) is answer


@pytest.mark.parametrize(
    ("before", "mems", "nodes", "origin"),
    [
        pytest.param(policy(BIND, "1", origin="0-1"), "2-3", "3", "2-3", id="bind"),
        pytest.param(policy(INTERLEAVE, "0-1", origin="0-1"), "1", "1", "1", id="shrinks"),
        pytest.param(policy(INTERLEAVE, "1", origin="1"), "0-1", "0", "0-1", id="grows"),
        pytest.param(policy(BIND, "1", STATIC, "1"), "0-1", "1", "1", id="static"),
        pytest.param(policy(BIND, "1", STATIC, "1"), "2-3", "2-3", "1", id="static, none left"),
        pytest.param(policy(BIND, "1", RELATIVE, "1"), "2-3", "3", "1", id="relative"),
        pytest.param(
            policy(BIND, "1", BALANCING, "1"), "2-3", "2", "2-3", id="balancing, by own mask"
        ),
        pytest.param(policy(PREFERRED, "1", origin="0-1"), "2-3", "1", "2-3", id="preferred"),
        pytest.param(
            policy(PREFERRED, "1", STATIC, "1"), "2-3", "1", "2-3", id="preferred, static"
        ),
        pytest.param(
            policy(MPOL.PREFERRED_MANY, "0-1", RELATIVE, "0-1"),
            "2-3",
            "0-1",
            "2-3",
            id="preferred-many, relative",
        ),
    ],
)
def test_rebind(before: Mempolicy, mems: str, nodes: str, origin: str) -> None:
    after = rebind(before, mask(mems))
    assert after == before._replace(nodes=mask(nodes), origin=mask(origin))


@pytest.mark.parametrize(
    "before",
    [None, policy(MPOL.LOCAL, "", origin=""), policy(BIND, "2", origin="2-3")],
    ids=["default", "local", "mems are the same"],
)
def test_rebind_leaves_alone(before: Mempolicy | None) -> None:
    assert rebind(before, mask("2-3")) == before
