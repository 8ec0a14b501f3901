import pytest

from pymigrate.report import figures
from pymigrate.report.figures import Part


def test_equal_cells_are_one_part() -> None:
    assert figures.strip([0, 0, 1, -1]) == [
        Part(0, 500, "n0"),
        Part(500, 250, "n1"),
        Part(750, 250, "absent"),
    ]


def test_marks_are_drawn_where_something_happens() -> None:
    assert figures.marks(">> p+-") == [
        Part(0, 333.33, "moves"),
        Part(500, 166.67, "stays"),
        Part(666.67, 333.33, "moves"),
    ]


def test_heat_is_relative_to_the_hottest() -> None:
    assert [part.kind for part in figures.heat([8.0, 4.0, 0.0], 8.0)] == ["h9", "h8", "h0"]


def test_a_bar_stands_for_the_whole() -> None:
    amounts = [("n0", 1, ""), ("n1", 0, ""), ("n2", 2, "")]
    assert figures.stacked(amounts, 4) == [Part(0, 250, "n0"), Part(250, 500, "n2")]
    assert figures.stacked(amounts, 0) == []


def test_flows_are_as_thick_as_they_are_large() -> None:
    drawn = figures.flows({(0, 1): 300, (0, 2): 100}, {0: 100})
    thick = {band.text: band.width for band in drawn.bands}

    assert thick["1.17 MiB from node 0 to node 1"] == pytest.approx(90)
    assert thick["400 KiB from node 0 to node 2"] == pytest.approx(30)
    assert thick["400 KiB stay on node 0"] == pytest.approx(30)


def test_nodes_are_as_high_as_their_flows_and_do_not_overlap() -> None:
    drawn = figures.flows({(0, 1): 300, (0, 2): 1, (1, 2): 1}, {0: 100})
    for x in (0, 350):
        boxes = [box for box in drawn.boxes if box.x == x]
        ends = [box.y + box.height for box in boxes]
        assert all(end < after.y for end, after in zip(ends, boxes[1:], strict=False))
        assert max(ends) <= drawn.height
    assert [box.text for box in drawn.boxes if box.x == 350] == [
        "node 0: 400 KiB stay",
        "node 1: 1.17 MiB",
        "node 2: 8 KiB",
    ]


def test_where_nothing_flows_nothing_is_drawn() -> None:
    assert figures.flows({}, {}) == figures.Flows(8, [], [])
