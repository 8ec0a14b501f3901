"""Long traces made short."""

import pytest

from pymigrate.mm.state.events import Event, Name, Step
from pymigrate.views.told.fold import Told, Wanted, fold, select

START = Event("mm_migrate_pages_start", "mode=MIGRATE_SYNC")


def step(page: int, number: str = "1", found: str = "free", failed: str = "") -> Step:
    return Step(number, "does it", found, failed, Name(page, 100), page, 1, 1)


def entry(page: int, kind: str = "set_migration_pte") -> Event:
    return Event(kind, "pte=write", page, 100, page)


def name(folio: Name) -> str:
    return f"heap+{folio.page}"


def shape(told: list[Told]) -> list[tuple[str, int, int]]:
    """The step or event of each line, how many it stands for, and in how many batches."""
    return [
        (each.event.number if isinstance(each.event, Step) else each.event.name, *each[3:])
        for each in told
    ]


def test_neighbours_that_go_the_same_way_are_one() -> None:
    events = [START, *(one for page in range(3) for one in (step(page), entry(page)))]
    told = fold(events, name)
    assert shape(told) == [(START.name, 1, 1), ("1", 3, 1), ("set_migration_pte", 3, 1)]
    assert told[1] == Told(step(0), 1, step(2), 3)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(step(1, found="locked"), id="that found something else"),
        pytest.param(step(1, number="2"), id="at another step"),
        pytest.param(step(1)._replace(attempt=2), id="in another attempt"),
        pytest.param(step(1)._replace(pfn=1 << 32), id="on another node"),
        pytest.param(step(1)._replace(folio=Name(1, 101)), id="of another process"),
        pytest.param(step(1)._replace(folio=Name(0, 100)), id="that lies before it"),
    ],
)
def test_another_folio_is_told_by_itself(other: Step) -> None:
    assert [nr for _, nr, _ in shape(fold([step(0), other], name))] == [1, 1]


def test_attempts_of_one_folio_are_told_one_by_one() -> None:
    attempts = [step(5, failed="EAGAIN")._replace(attempt=i) for i in range(1, 4)]
    assert len(fold(attempts, name)) == 3


def test_batches_that_repeat_are_one() -> None:
    events: list[Event | Step] = []
    for first, nr in ((0, 4), (4, 4), (8, 2)):
        pages = range(first, first + nr)
        events += [step(page, "4") for page in pages]
        events.append(step(first, "4b", f"once for {nr} folios"))
        events += [step(page, "12") for page in pages]
    assert shape(fold(events, name)) == [("4", 10, 3), ("4b", 3, 3), ("12", 10, 3)]


EVENTS = [
    START,
    *(step(0), entry(0), step(0, "4"), step(0, "6", failed="EAGAIN")),
    *(step(1), entry(1), step(1, "4"), entry(1, "remove_migration_pte"), step(1, "16")),
]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param(Wanted(), EVENTS, id="all"),
        pytest.param(Wanted(folio="heap+1"), [START, *EVENTS[5:]], id="one folio"),
        pytest.param(Wanted(folio="stack+1"), [START], id="none of that name"),
        pytest.param(Wanted(folio="heap"), [START], id="no name of a folio"),
        pytest.param(Wanted(failed=True), [START, EVENTS[4]], id="what failed"),
        pytest.param(Wanted(first=1), EVENTS[:5], id="the first folio"),
        pytest.param(
            Wanted(steps=frozenset({"4"})),
            [START, EVENTS[2], EVENTS[3], EVENTS[6], EVENTS[7]],
            id="a step, with its entries",
        ),
        pytest.param(
            Wanted(steps=frozenset({"16"}), first=1), [START, *EVENTS[8:]], id="two of them"
        ),
    ],
)
def test_only_what_is_wanted_is_told(wanted: Wanted, expected: list[Event | Step]) -> None:
    assert select(EVENTS, wanted, name) == expected


def test_a_large_folio_is_found_by_each_of_its_pages() -> None:
    huge = step(512)._replace(nr=512)
    assert select([huge], Wanted(folio="heap+700"), name) == [huge]
    assert select([huge], Wanted(folio="heap+1024"), name) == []
