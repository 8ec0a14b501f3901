"""RunMap on plain extents; tests/property compares it with a dictionary."""

from collections.abc import Callable

import pytest

from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.runs import Extent, RunMap, coalesce, pages_to_extents


def runs(*extents: tuple[int, int]) -> list[Extent]:
    return [Extent(*extent) for extent in extents]


def test_at_finds_the_run_that_covers_a_number() -> None:
    found = RunMap(runs((2, 3), (8, 1)))
    told = [found.at(x) for x in (1, 2, 4, 5, 8, 9)]
    assert told == [None, Extent(2, 3), Extent(2, 3), None, Extent(8, 1), None]


def test_between_clips_at_both_ends() -> None:
    assert RunMap(runs((0, 4), (6, 4), (12, 4))).between(2, 13) == runs((2, 2), (6, 4), (12, 1))
    assert RunMap(runs((0, 4), (6, 4))).between(4, 6) == []


def test_spans_name_what_is_missing_too() -> None:
    found = RunMap(runs((2, 2), (4, 3))).spans(1, 9)
    assert found == [(1, 2, None), (2, 4, Extent(2, 2)), (4, 7, Extent(4, 3)), (7, 9, None)]


def test_put_replaces_what_lies_there() -> None:
    found = RunMap(runs((0, 10)))
    found.put(3, 6)
    assert found.runs == runs((0, 3), (6, 4))


def test_new_runs_join_both_neighbours() -> None:
    found = RunMap(runs((0, 3), (6, 4)))
    found.put(3, 6, Extent(3, 3))
    assert found.runs == runs((0, 10))


def test_all_edits_are_made_in_one_sweep() -> None:
    found = RunMap(runs((0, 100)))
    found.edit([(10, 20, []), (30, 40, [Extent(32, 2)]), (90, 110, [Extent(105, 5)])])
    assert found.runs == runs((0, 10), (20, 10), (32, 2), (40, 50), (105, 5))


@pytest.mark.parametrize("nr", [0, 5000], ids=["few runs", "many"])
def test_edits_next_to_each_other_are_made_in_one_sweep(nr: int) -> None:
    tables = [scattered(0, 4000), scattered(4002, 200)]
    found = RunMap([*tables, *(PteRun(9000 + 2 * i, 1, (), 0, 0) for i in range(nr))])
    found.edit([(4000, 4001, [scattered(4000, 1)]), (4001, 4002, [scattered(4001, 1)])])
    assert [run.nr for run in found.runs[:2]] == [4002, 200]


def scattered(start: int, nr: int) -> PteRun:
    """Pages that do not lie together."""
    return PteRun(start, nr, tuple(7 * page for page in range(start, start + nr)), 0, 1)


def test_only_edits_set_the_mark_that_something_changed() -> None:
    found = RunMap(runs((0, 3)))
    found.edit([])
    assert not found.changed
    found.put(0, 1)
    assert found.changed


@pytest.mark.parametrize(
    ("nr", "taken", "left"),
    [
        (0, [], [(0, 3), (6, 4)]),
        (2, [(0, 2)], [(2, 1), (6, 4)]),
        (3, [(0, 3)], [(6, 4)]),
        (4, [(0, 3), (6, 1)], [(7, 3)]),
        (7, [(0, 3), (6, 4)], []),
    ],
)
def test_pop_front(nr: int, taken: list[tuple[int, int]], left: list[tuple[int, int]]) -> None:
    found = RunMap(runs((0, 3), (6, 4)))
    assert found.pop_front(nr) == runs(*taken)
    assert (found.runs, found.starts) == (runs(*left), [start for start, _ in left])


def test_no_more_can_be_popped_than_there_is() -> None:
    with pytest.raises(AssertionError, match="1 more are wanted"):
        RunMap(runs((0, 3))).pop_front(4)


def test_coalesce_sorts_and_joins() -> None:
    assert coalesce([(6, 2), (0, 3), (3, 3), (9, 1)]) == runs((0, 8), (9, 1))


@pytest.mark.parametrize(
    ("pages", "extents"),
    [([], []), ([4], [(4, 1)]), ([3, 1, 2], [(1, 3)]), ([9, 1, 2, 7], [(1, 2), (7, 1), (9, 1)])],
)
def test_pages_to_extents(pages: list[int], extents: list[tuple[int, int]]) -> None:
    assert pages_to_extents(pages) == runs(*extents)


def test_map_is_loaded_once_when_it_is_first_looked_at() -> None:
    loaded = []
    runs = RunMap(load=lambda: loaded.append(1) or [Extent(5, 6)])
    assert (runs.is_unread, loaded) == (True, [])
    assert runs.at(7) == Extent(5, 6)
    assert runs.between(0, 8) == [Extent(5, 3)]
    assert (runs.is_unread, loaded, runs.changed) == (False, [1], False)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda runs: runs.put(20, 21, Extent(20, 1)), id="put"),
        pytest.param(lambda runs: runs.pop_front(1), id="pop_front"),
        pytest.param(lambda runs: runs.insert([Extent(20, 1)]), id="insert"),
        pytest.param(lambda runs: runs.edit_points([6], lambda run, _: [run]), id="edit_points"),
    ],
)
def test_change_loads_a_map_first(change: Callable[[RunMap[Extent]], object]) -> None:
    plain, lazy = RunMap([Extent(5, 6)]), RunMap(load=lambda: [Extent(5, 6)])
    change(plain)
    change(lazy)
    assert lazy.runs == plain.runs
    assert lazy.changed


def test_runs_are_read_when_they_are_looked_at() -> None:
    found = RunMap(load=lambda: runs((2, 3)))
    assert (found.is_unread, found.between(0, 4), found.is_unread) == (True, runs((2, 2)), False)


def test_a_run_in_a_gap_is_put_there_without_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunMap, "_edit", None)
    found = RunMap(runs((0, 3), (6, 4), (20, 1)))
    for start, nr in ((12, 2), (10, 2), (30, 1), (3, 3)):
        found.put(start, start + nr, Extent(start, nr))
    assert found.runs == runs((0, 14), (20, 1), (30, 1))
    assert found.starts == [0, 20, 30]
