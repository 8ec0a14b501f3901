"""Sets of nodes and CPUs: the kernel's list format, and arithmetic."""

import pytest

from pymigrate.nodemask import Bitmap, Cpumask, Nodemask


def mask(text: str) -> Nodemask:
    return Nodemask.parse(text)


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("", []),
        (" ", []),
        ("0", [0]),
        ("0-3", [0, 1, 2, 3]),
        ("0-1,3", [0, 1, 3]),
        ("5,1, 3", [1, 3, 5]),
        ("2-2", [2]),
        ("0-2,1-4", [0, 1, 2, 3, 4]),
        ("1023", [1023]),
    ],
)
def test_list_format_is_read(text: str, members: list[int]) -> None:
    assert list(mask(text)) == members


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x", "not a list of nodes"),
        ("1,", "not a list of nodes"),
        ("-1", "not a list of nodes"),
        ("1-", "not a list of nodes"),
        ("0-7:2/4", "not a list of nodes"),
        ("3-1", "runs backwards"),
        ("1024", "node 1024 is out of range; the highest is 1023"),
    ],
)
def test_what_is_no_list_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        mask(text)


def test_cpus_go_higher_than_nodes() -> None:
    assert list(Cpumask.parse("8191")) == [8191]
    with pytest.raises(ValueError, match="CPU 8192"):
        Cpumask.parse("8192")


@pytest.mark.parametrize(
    ("members", "text"),
    [([], ""), ([0], "0"), ([0, 1], "0-1"), ([0, 1, 2, 5], "0-2,5"), ([7, 9, 10], "7,9-10")],
)
def test_list_format_is_written(members: list[int], text: str) -> None:
    assert str(Nodemask.collect(members)) == text
    assert repr(Nodemask.collect(members)) == f"Nodemask({text!r})"


def test_operators_are_those_of_sets_and_keep_the_kind() -> None:
    a, b = mask("0-2"), mask("2-3")
    assert (a & b, a | b, a - b, a ^ b) == (mask("2"), mask("0-3"), mask("0-1"), mask("0-1,3"))
    assert {type(x) for x in (a & b, a | b, a - b, a ^ b, 1 & a, 1 | a, 1 ^ a)} == {Nodemask}


def test_membership_and_size() -> None:
    nodes = mask("1,3")
    assert (len(nodes), 1 in nodes, 2 in nodes, -1 in nodes, 5000 in nodes) == (
        2,
        True,
        False,
        False,
        False,
    )
    assert bool(nodes)
    assert not Nodemask()


@pytest.mark.parametrize(
    ("a", "b", "answer"), [("", "1", True), ("1", "0-2", True), ("1,3", "3", False)]
)
def test_subset(a: str, b: str, answer: bool) -> None:
    assert mask(a).is_subset(mask(b)) is answer


def test_members_are_found_by_rank() -> None:
    nodes = mask("1,4,6")
    assert [nodes.nth(rank) for rank in range(3)] == [1, 4, 6]
    assert [nodes.rank(member) for member in (0, 1, 4, 5, 6)] == [0, 0, 1, 2, 2]
    assert nodes.first == 1


def test_an_empty_set_has_no_first_member() -> None:
    with pytest.raises(ValueError, match="no first node"):
        _ = Nodemask().first
    with pytest.raises(IndexError):
        Nodemask().nth(0)


@pytest.mark.parametrize(("member", "following"), [(-1, 1), (0, 1), (1, 4), (4, 6), (6, 1), (9, 1)])
def test_next_member_begins_again_behind_the_last(member: int, following: int) -> None:
    assert mask("1,4,6").next_in(member) == following


@pytest.mark.parametrize(
    ("node", "old", "new", "answer"),
    [
        pytest.param(0, "0-1", "2-3", 2, id="by rank"),
        pytest.param(1, "0-1", "2-3", 3, id="by rank, second"),
        pytest.param(2, "0-1", "2-3", 2, id="not in old"),
        pytest.param(0, "0-1", "", 0, id="nothing to map to"),
        pytest.param(2, "0-2", "4-5", 4, id="ranks wrap"),
        pytest.param(5, "0,5", "1", 1, id="all to one"),
    ],
)
def test_remap_is_by_rank(node: int, old: str, new: str, answer: int) -> None:
    assert mask(old).remap(node, mask(new)) == answer


def test_remap_of_a_set_maps_each_member() -> None:
    assert mask("0-1,7").remap_all(mask("0-1"), mask("1")) == mask("1,7")


@pytest.mark.parametrize(
    ("user", "allowed", "answer"),
    [
        ("0", "1-2", "1"),
        ("0,2", "1-2", "1"),
        ("3", "0-2", "0"),
        ("0-2", "4-5", "4-5"),
        ("0-2", "", ""),
        ("", "0-1", ""),
    ],
)
def test_relative_nodes_are_ranks_folded_onto_the_allowed(
    user: str, allowed: str, answer: str
) -> None:
    assert mask(user).relative_to(mask(allowed)) == mask(answer)


def test_a_bitmap_can_be_of_anything() -> None:
    assert str(Bitmap.of(1, 2, 9)) == "1-2,9"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0,1-6,", "0-6"),
        ("0-7:2/4", "0-1,4-5"),
        ("all", "0-7"),
        ("all:1/2", "0,2,4,6"),
        ("0-N", "0-7"),
        ("N", "7"),
        ("0 1\t3", "0-1,3"),
        ("", ""),
        ("1-6:2/3", "1-2,4-5"),
    ],
)
def test_lists_as_the_kernel_takes_them(text: str, expected: str) -> None:
    assert str(Nodemask.parselist(text, 8)) == expected


@pytest.mark.parametrize("text", ["x", "1-", "3-1", "0-7:0/0", "0-7:5/4", "1:", "-1", "1.2"])
def test_lists_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        Nodemask.parselist(text, 8)


def test_number_beyond_the_last() -> None:
    with pytest.raises(OverflowError, match="node 8 is out of range; 7 is the last"):
        Nodemask.parselist("0-8", 8)
