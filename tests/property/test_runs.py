"""Runs against a dictionary of pages: whatever is edited, both must say the same."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from pymigrate.mm.base.memmap import Frame, FrameRun, States
from pymigrate.mm.base.pte import Pte, PteRun, weave
from pymigrate.mm.base.runs import Edit, Extent, RunMap, coalesce, pages_to_extents
from pymigrate.mm.engine.folio_list import Slice
from tests.conftest import many
from tests.property.invariants import check_run_map

ENTRIES = 48  # the numbers that the runs lie in
Model = dict[int, tuple[int | None, int]]  # entry -> frame, flags

# Regular ways to place entry i; runs made by one of them join.
SHAPES: list[Callable[[int], int]] = [
    lambda i: 10_000 + i,
    lambda i: (1 << 32) + i,
    lambda i: (i % 2 << 32) + 20_000 + i // 2,
    lambda i: (i % 3 << 32) + 30_000 + i // 3,
    lambda i: ((0, 0, 1)[i % 3] << 32) + 40_000 + (i // 3 if i % 3 == 2 else i),
    lambda i: 50_000 - 7 * i,
]
WIDTHS = [1, 1, 2, 3, 3, 0]  # lanes of each shape; 0: a table
FLAGS = st.sampled_from([Pte.PRESENT, Pte.PRESENT | Pte.WRITE])
ORDERS = pytest.mark.parametrize("order", [0, 2, 9], ids="order {}".format)


@st.composite
def pte_runs(draw: st.DrawFn, order: int, first: int = 0, last: int = ENTRIES) -> PteRun:
    """A run of entries in [first, last), placed by one of the shapes or at random."""
    a = draw(st.integers(first, last - 1))
    nr = draw(st.integers(1, last - a))
    flags = draw(FLAGS)
    kind = draw(st.integers(-2, len(SHAPES) - 1))
    if kind == -2:
        lanes: tuple[int, ...] = ()
    elif kind == -1:
        pfns = st.integers(0, 1 << 10).map(lambda pfn: pfn << order)
        lanes = tuple(draw(st.lists(pfns, min_size=nr, max_size=nr)))
    else:
        width = min(WIDTHS[kind], nr) or nr
        lanes = tuple(SHAPES[kind](a + i) << order for i in range(width))
    return PteRun(a << order, nr << order, lanes, order, flags)


def modelled(run: PteRun) -> Model:
    """The entries of *run*, each by the definition of a lane."""
    model: Model = {}
    k, first = len(run.lanes), run.start >> run.order
    for i in range(run.nr >> run.order):
        pfn = run.lanes[i % k] + (i // k << run.order) if k else None
        model[first + i] = pfn, run.flags
    return model


def everything(runs: RunMap[PteRun]) -> Model:
    """All entries of *runs*."""
    return {entry: state for run in runs.runs for entry, state in modelled(run).items()}


@st.composite
def batches(draw: st.DrawFn, order: int) -> list[Edit[PteRun]]:
    """Sorted disjoint edits, each with runs inside its range or none."""
    cuts = draw(st.lists(st.integers(0, ENTRIES), min_size=2, max_size=8, unique=True))
    cuts.sort()
    edits: list[Edit[PteRun]] = []
    for a, b in zip(cuts[::2], cuts[1::2], strict=False):
        runs: list[PteRun] = []
        at = a
        while at < b and draw(st.booleans()):
            runs.append(draw(pte_runs(order, at, b)))
            at = runs[-1].end >> order
        edits.append((a << order, b << order, tuple(runs)))
    return edits


@ORDERS
@given(st.data())
def test_edits_change_what_they_name_and_nothing_else(order: int, data: st.DataObject) -> None:
    runs: RunMap[PteRun] = RunMap()
    model: Model = {}
    for edits in data.draw(st.lists(batches(order), max_size=6)):
        runs.edit(edits)
        for a, b, new in edits:
            for entry in range(a >> order, b >> order):
                model.pop(entry, None)
            for run in new:
                model |= modelled(run)
        assert everything(runs) == model
        check_run_map(runs, is_maximal=False)


@given(st.data())
def test_many_edits_at_once_are_those_edits_one_by_one(data: st.DataObject) -> None:
    states = st.lists(st.integers(0, 2), min_size=120, max_size=120)  # 0: nothing lies there

    def runs_of(numbers: list[int], values: list[int]) -> RunMap[FrameRun]:
        runs: RunMap[FrameRun] = RunMap()
        for i in numbers:
            runs.put(i, i + 1, *[FrameRun(i, 1, Frame(values[i], 0))] * (values[i] > 0))
        return runs

    before, after = data.draw(states), data.draw(states)
    kind = data.draw(st.sampled_from(["any", "gaps", "runs"]))
    numbers = [*range(120)]
    whole = runs_of(numbers, before)
    if kind == "gaps":
        numbers = [i for i in numbers if not before[i]]
    elif kind == "runs":
        numbers = [run.start for run in whole.runs if run.nr == 1]
        after = [0] * 120
    singly, at_once = runs_of([*range(120)], before), whole
    edits = [(i, i + 1, (FrameRun(i, 1, Frame(after[i], 0)),) if after[i] else ()) for i in numbers]
    for edit in edits:
        singly.edit([edit])
    at_once.edit(edits)
    assert at_once.runs == singly.runs
    check_run_map(at_once, is_maximal=True)
    assert at_once.starts == [run.start for run in at_once.runs]


@given(st.lists(st.integers(0, 2), min_size=120, max_size=120))
def test_removing_and_inserting_many_runs_gives_what_was_there(states: list[int]) -> None:
    ours = coalesce((i, 1) for i, state in enumerate(states) if state == 1)
    theirs = coalesce((i, 1) for i, state in enumerate(states) if state == 2)
    runs = RunMap(ours)
    runs.insert(theirs)
    assert runs.runs == coalesce([*ours, *theirs])
    runs.remove(theirs)
    assert runs.runs == ours
    runs.remove(ours)
    assert (runs.runs, runs.starts) == ([], [])


@ORDERS
@given(st.data())
def test_a_window_shows_what_lies_in_it(order: int, data: st.DataObject) -> None:
    runs: RunMap[PteRun] = RunMap()
    for edits in data.draw(st.lists(batches(order), max_size=4)):
        runs.edit(edits)
    model = everything(runs)
    a, b = sorted(data.draw(st.tuples(*[st.integers(0, ENTRIES)] * 2)))
    window = RunMap(runs.between(a << order, b << order))
    assert everything(window) == {entry: model[entry] for entry in model if a <= entry < b}
    assert everything(runs) == model
    at = a
    for start, end, run in runs.spans(a << order, b << order):
        assert start == at << order
        if run is None:
            assert not any(entry in model for entry in range(at, end >> order))
        else:
            assert (run.start, run.end) == (start, end)
        at = end >> order
    assert at == b
    for entry in range(ENTRIES):
        found = runs.at(entry << order)
        assert (found is not None) == (entry in model)
        if found is not None and found.lanes:
            assert found.pfn(entry << order) == model[entry][0]


def any_run(order: int) -> SearchStrategy[PteRun]:
    """One run; those of the zero page have no frames to look at."""
    return pte_runs(order).filter(lambda run: bool(run.lanes))


@ORDERS
@given(st.data())
def test_a_run_says_the_same_in_every_form(order: int, data: st.DataObject) -> None:
    run = data.draw(any_run(order))
    pfns = [pfn for pfn, _ in modelled(run).values()]
    assert list(run.pfns()) == pfns
    assert [run.pfn(run.start + (i << order)) for i in range(len(pfns))] == pfns
    assert sum(run.count(lane) for lane in range(len(run.lanes))) == run.nr >> order
    tables = RunMap(run.tables())
    assert everything(tables) == modelled(run)
    assert all(len(table.lanes) == table.nr >> order for table in tables.runs)
    frames = [pfn for start, nr in run.extents() for pfn in range(start, start + nr, 1 << order)]
    assert sorted(frames) == sorted(pfns)
    assert run.moved(run.start).with_flags(run.flags) == run


@ORDERS
@given(st.data())
def test_a_split_keeps_the_entries_and_a_join_of_the_parts_too(
    order: int, data: st.DataObject
) -> None:
    run = data.draw(pte_runs(order).filter(lambda run: run.nr > 1 << order))
    at = data.draw(st.integers((run.start >> order) + 1, (run.end >> order) - 1)) << order
    head, tail = run.split(at)
    assert modelled(head) | modelled(tail) == modelled(run)
    assert (head.end, tail.start, tail.end) == (at, at, run.end)
    assert len(head.lanes) <= head.nr >> order
    assert len(tail.lanes) <= tail.nr >> order
    assert run.clip(run.start, at) == head
    assert run.clip(at, run.end) == tail
    joined = head.join(tail)
    assert joined is None or modelled(joined) == modelled(run)
    if len(run.lanes) <= 1 or run.nr >> order <= len(head.lanes) + len(tail.lanes) + 4:
        assert joined is not None


@ORDERS
@given(st.data())
def test_neighbours_that_join_say_what_both_said(order: int, data: st.DataObject) -> None:
    middle = data.draw(st.integers(1, ENTRIES - 1))
    head = data.draw(pte_runs(order, 0, middle).filter(lambda run: run.end == middle << order))
    tail = data.draw(pte_runs(order, middle)).moved(middle << order)
    joined = head.join(tail)
    if joined is not None:
        assert modelled(joined) == modelled(head) | modelled(tail)


@ORDERS
@given(st.data())
def test_woven_runs_take_each_lanes_frames_in_turn(order: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, 4))
    nr = data.draw(st.integers(k, ENTRIES))
    lanes: list[list[Extent]] = []
    for lane in range(k):
        left, extents = len(range(lane, nr, k)), []
        while left:
            part = data.draw(st.integers(1, left))
            start = lane << 32 | data.draw(st.integers(0, 1 << 10)) << order
            extents.append(Extent(start, part << order))
            left -= part
        lanes.append(extents)
    takers = [
        iter([p for start, n in extents for p in range(start, start + n, 1 << order)])
        for extents in lanes
    ]
    expected: Model = {5 + i: (next(takers[i % k]), 1) for i in range(nr)}
    woven = weave(5 << order, nr << order, lanes, order, 1)
    assert everything(RunMap(woven)) == expected
    check_run_map(RunMap(woven), is_maximal=False)


@given(st.sets(st.integers(0, 60)))
def test_extents_cover_just_the_pages_that_they_are_made_of(pages: set[int]) -> None:
    extents = pages_to_extents(list(pages))
    assert [p for start, nr in extents for p in range(start, start + nr)] == sorted(pages)
    check_run_map(RunMap(extents), is_maximal=True)
    assert coalesce((page, 1) for page in pages) == extents


@given(st.sets(st.integers(0, 60)), st.data())
def test_pages_are_taken_from_the_front(pages: set[int], data: st.DataObject) -> None:
    free = RunMap(pages_to_extents(list(pages)))
    nr = data.draw(st.integers(0, len(pages)))
    taken = [p for start, n in free.pop_front(nr) for p in range(start, start + n)]
    assert taken == sorted(pages)[:nr]
    left = [p for start, n in free.runs for p in range(start, start + n)]
    assert left == sorted(pages)[nr:]
    check_run_map(free, is_maximal=True)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8), st.integers(0, 2))))
def test_frames_that_are_alike_are_one_run(writes: list[tuple[int, int, int]]) -> None:
    memmap: RunMap[FrameRun] = RunMap()
    model: dict[int, int] = {}
    for start, nr, owner in writes:
        memmap.put(start, start + nr, FrameRun(start, nr, Frame(owner, 0)))
        model |= dict.fromkeys(range(start, start + nr), owner)
    assert model == {run.start + i: run.frame.owner for run in memmap.runs for i in range(run.nr)}
    check_run_map(memmap, is_maximal=True)


@st.composite
def slices(draw: st.DrawFn) -> Slice:
    """Some lanes of a run, all alike or each different from the others."""
    run = draw(any_run(0))
    k = len(run.lanes)
    picked = sorted(draw(st.sets(st.integers(0, k - 1), min_size=1)))
    alike = draw(st.booleans())
    frames = tuple(Frame(0 if alike else lane, 0, 1) for lane in picked)
    return Slice(run, tuple(picked), States.of(frames), run.start)


def picked_pages(part: Slice) -> dict[int, tuple[int, Frame]]:
    """The folio index of each page that is picked, with its frame."""
    k = len(part.run.lanes)
    by_lane = dict(zip(part.picked, part.states.each, strict=True))
    return {
        part.first + i: (pfn, by_lane[i % k])
        for i, pfn in enumerate(part.run.pfns())
        if i % k in by_lane
    }


@given(slices())
def test_a_slice_keeps_its_pages_as_tables_and_one_by_one(part: Slice) -> None:
    model = picked_pages(part)
    assert part.nr == len(model)
    for parts in (list(part.tables()), list(part.folios())):
        found = [picked_pages(piece) for piece in parts]
        assert {index: state for piece in found for index, state in piece.items()} == model
        assert [index for piece in found for index in piece] == sorted(model)


@given(slices(), st.data())
def test_a_slice_is_cut_behind_as_many_pages_as_are_wanted(
    part: Slice, data: st.DataObject
) -> None:
    if part.nr < 2:
        return
    nr = data.draw(st.integers(1, part.nr - 1))
    head, tail = part.split_picked(nr)
    assert (head.nr, tail.nr) == (nr, part.nr - nr)
    assert picked_pages(head) | picked_pages(tail) == picked_pages(part)


@pytest.mark.slow
@ORDERS
@many(4000)
@given(st.data())
def test_many_more_edits(order: int, data: st.DataObject) -> None:
    test_edits_change_what_they_name_and_nothing_else.hypothesis.inner_test(order, data)
    test_a_window_shows_what_lies_in_it.hypothesis.inner_test(order, data)
