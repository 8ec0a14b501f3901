"""Striped runs of entries, as pictures of a few pages."""

import pytest

from pymigrate.mm.base.pte import Pte, PteRun, weave
from pymigrate.mm.base.runs import Extent


def run(start: int, nr: int, *lanes: int, order: int = 0, flags: int = 1) -> PteRun:
    return PteRun(start, nr, lanes, order, flags)


@pytest.mark.parametrize(
    ("entries", "pfns"),
    [
        pytest.param(run(0, 4, 100), (100, 101, 102, 103), id="extent"),
        pytest.param(run(0, 5, 100, 200), (100, 200, 101, 201, 102), id="two lanes"),
        pytest.param(run(8, 4, 7, 3, 9, 4), (7, 3, 9, 4), id="table"),
        pytest.param(run(0, 12, 512, order=2), (512, 516, 520), id="order 2"),
        pytest.param(run(0, 12, 512, 1024, order=2), (512, 1024, 516), id="order 2, two lanes"),
    ],
)
def test_entry_lies_in_its_lane(entries: PteRun, pfns: tuple[int, ...]) -> None:
    assert entries.pfns() == pfns
    step = 1 << entries.order
    assert tuple(entries.pfn(page) for page in range(entries.start, entries.end, step)) == pfns


def test_a_page_inside_a_large_entry_has_its_own_frame() -> None:
    assert run(0, 12, 512, 1024, order=2).pfn(6) == 1026


@pytest.mark.parametrize(
    ("whole", "at", "parts"),
    [
        pytest.param(run(0, 9, 100), 4, (run(0, 4, 100), run(4, 5, 104)), id="extent"),
        pytest.param(
            run(0, 6, 100, 200), 2, (run(0, 2, 100, 200), run(2, 4, 101, 201)), id="whole rows"
        ),
        pytest.param(
            run(0, 6, 100, 200), 3, (run(0, 3, 100, 200), run(3, 3, 201, 102)), id="rotated"
        ),
        pytest.param(
            run(0, 6, 100, 200, 300), 1, (run(0, 1, 100), run(1, 5, 200, 300, 101)), id="short head"
        ),
        pytest.param(
            run(0, 6, 100, 200, 300), 5, (run(0, 5, 100, 200, 300), run(5, 1, 301)), id="short tail"
        ),
        pytest.param(run(0, 3, 9, 4, 7), 1, (run(0, 1, 9), run(1, 2, 4, 7)), id="table"),
        pytest.param(run(0, 3), 1, (run(0, 1), run(1, 2)), id="zero page"),
        pytest.param(
            run(0, 16, 0, 512, order=2),
            4,
            (run(0, 4, 0, order=2), run(4, 12, 512, 4, order=2)),
            id="order 2",
        ),
        pytest.param(
            run(0, 24, 0, 512, order=2),
            12,
            (run(0, 12, 0, 512, order=2), run(12, 12, 516, 8, order=2)),
            id="order 2, behind a row",
        ),
    ],
)
def test_split(whole: PteRun, at: int, parts: tuple[PteRun, PteRun]) -> None:
    assert whole.split(at) == parts
    joined = parts[0].join(parts[1])
    assert joined is not None
    assert joined.lanes[: len(whole.lanes)] == whole.lanes


@pytest.mark.parametrize(
    ("a", "b", "part"), [(0, 8, run(2, 4, 50)), (3, 5, run(3, 2, 51)), (4, 9, run(4, 2, 52))]
)
def test_clip_is_what_lies_inside(a: int, b: int, part: PteRun) -> None:
    assert run(2, 4, 50).clip(a, b) == part


@pytest.mark.parametrize(
    ("head", "tail", "joined"),
    [
        pytest.param(run(0, 2, 10), run(2, 2, 12), run(0, 4, 10), id="continues"),
        pytest.param(run(0, 2, 10), run(2, 2, 20), run(0, 4, 10, 11, 20, 21), id="small table"),
        pytest.param(run(0, 9, 10), run(9, 9, 90), None, id="too long for a table"),
        pytest.param(run(0, 9, 1, 50), run(9, 1, 54), run(0, 10, 1, 50), id="lanes continue"),
        pytest.param(run(0, 9, 1, 50), run(9, 9, 54, 7), None, id="lane breaks off"),
        pytest.param(run(0, 2, 10, flags=3), run(2, 2, 12), None, id="other flags"),
        pytest.param(run(0, 4, 12, order=2), run(4, 1, 16), None, id="other order"),
        pytest.param(run(0, 2), run(2, 3), run(0, 5), id="zero page"),
        pytest.param(run(0, 2), run(2, 2, 12), None, id="zero page and memory"),
        pytest.param(run(0, 2, 12), run(2, 2), None, id="memory and zero page"),
    ],
)
def test_join(head: PteRun, tail: PteRun, joined: PteRun | None) -> None:
    assert head.join(tail) == joined


def test_tables_are_not_joined_without_end() -> None:
    head = PteRun(0, 4095, tuple(range(0, 8190, 2)))
    assert head.join(run(4095, 1, 50000)) is not None
    assert head.join(run(4095, 2, 50000, 60000)) is None


def test_frames_are_counted_lane_by_lane() -> None:
    whole = run(0, 20, 0, 512, 1024, order=2)
    assert [whole.count(lane) for lane in range(3)] == [2, 2, 1]
    assert whole.extents() == [Extent(0, 8), Extent(512, 8), Extent(1024, 4)]
    assert run(0, 2, 9, 4).extents() == [Extent(9, 1), Extent(4, 1)]


def test_tables_have_so_many_entries_at_most() -> None:
    found = [(t.start, t.nr, len(t.lanes)) for t in run(100, 9000, 0, 50000).tables()]
    assert found == [(100, 4096, 4096), (4196, 4096, 4096), (8292, 808, 808)]


def test_moved_and_with_flags_keep_the_frames() -> None:
    assert run(0, 2, 9, 4).moved(7) == run(7, 2, 9, 4)
    assert run(0, 2, 9, 4).with_flags(Pte.PRESENT | Pte.DIRTY) == run(0, 2, 9, 4, flags=5)


@pytest.mark.parametrize(
    ("nr", "lanes", "woven"),
    [
        pytest.param(3, [[(10, 3)]], [run(0, 3, 10)], id="one extent"),
        pytest.param(3, [[(10, 1), (20, 2)]], [run(0, 1, 10), run(1, 2, 20)], id="two extents"),
        pytest.param(4, [[(10, 2)], [(50, 2)]], [run(0, 4, 10, 50)], id="two lanes"),
        pytest.param(
            5,
            [[(10, 1), (30, 2)], [(50, 2)]],
            [run(0, 2, 10, 50), run(2, 3, 30, 51)],
            id="a lane breaks off",
        ),
    ],
)
def test_weave(nr: int, lanes: list[list[tuple[int, int]]], woven: list[PteRun]) -> None:
    extents = [[Extent(*extent) for extent in lane] for lane in lanes]
    assert weave(0, nr, extents, 0, 1) == woven


@pytest.mark.parametrize(
    ("whole", "parts"),
    [
        pytest.param(run(0, 4, 9, 4, 7, 1), [run(0, 4, 9, 900, 7, 901)], id="table"),
        pytest.param(
            run(0, 40, 100),
            [run(0, 1, 100), run(1, 1, 900), run(2, 1, 102), run(3, 1, 901), run(4, 36, 104)],
            id="extent",
        ),
        pytest.param(
            run(0, 40, 100, 200),
            [run(0, 1, 100), run(1, 1, 900), run(2, 1, 101), run(3, 1, 901), run(4, 36, 102, 202)],
            id="lanes",
        ),
    ],
)
def test_scattered_gives_single_pages_other_frames(whole: PteRun, parts: list[PteRun]) -> None:
    found = whole.scattered([1, 3], [900, 901])
    assert [pfn for part in found for pfn in part.pfns()] == [
        pfn for part in parts for pfn in part.pfns()
    ]
    assert len(found) <= 2
