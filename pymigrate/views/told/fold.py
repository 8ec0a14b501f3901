"""A long trace made short: what was asked for of it, and equal folios told as one.

The engine unmaps the folios of a batch one after the other, flushes the TLB once, and moves them
one after the other. Neighbours that go the same way are one line; so are batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.state.events import Event, Name, Step
from pymigrate.records import NamedTuple

FLUSH = "4b"
_LONGEST_PERIOD = 6  # in folded folios: one batch of at most three kinds of them
_ENTRY_STEPS = {"set_migration": "4", "remove_migration": "16"}

FolioName = Callable[[Name], str]


class Wanted(NamedTuple):
    """What is to be told of a trace; all of it if nothing is set."""

    folio: str = ""  # of this folio alone, as the trace names it
    failed: bool = False  # the steps alone that back out
    first: int = 0  # of so many folios alone, those that come first
    steps: frozenset[str] = frozenset()  # these steps alone


class Told(NamedTuple):
    """An event, and for how many equal ones it stands."""

    event: Event | Step
    number: int  # of the first one in the trace
    last: Event | Step  # the last one
    nr: int = 1
    batches: int = 1


class _Segment(NamedTuple):
    """What happens to one folio without a break; or an event of the whole call."""

    key: tuple[object, ...]  # equal for folios that go the same way
    page: int
    told: list[Told]


def select(
    events: Iterable[Event | Step], wanted: Wanted, folio_name: FolioName
) -> list[Event | Step]:
    """The events that are wanted; those of whole calls always are."""
    kept = [event for event in events if _pfn(event) is None or _is_step(event, wanted)]
    if wanted.folio:
        kept = _of_folio(kept, wanted.folio, folio_name)
    if wanted.failed:
        kept = [event for event in kept if not isinstance(event, Step) or event.failed]
        kept = [event for event in kept if isinstance(event, Step) or event.pfn is None]
    if wanted.first:
        seen = list(dict.fromkeys(pfn for event in kept if (pfn := _pfn(event)) is not None))
        first = {None, *seen[: wanted.first]}
        kept = [event for event in kept if _pfn(event) in first]
    return kept


def fold(events: Sequence[Event | Step], folio_name: FolioName) -> list[Told]:
    """The events, with equal neighbours told as one."""
    numbered = ((event, i) for i, event in enumerate(events))
    segments = [
        _segment(list(part), folio_name)
        for _, part in groupby(numbered, lambda each: _part(each[0]))
    ]
    merged = _merge_batches(list(_merge_neighbours(segments)))
    return [told for segment in merged for told in segment.told]


def _is_step(event: Event | Step, wanted: Wanted) -> bool:
    if not wanted.steps:
        return True
    if isinstance(event, Step):
        return event.number in wanted.steps
    return _ENTRY_STEPS[event.name.rpartition("_")[0]] in wanted.steps


def _of_folio(events: list[Event | Step], folio: str, folio_name: FolioName) -> list[Event | Step]:
    """The events of the folio that is called so, or that has the page that is called so."""
    region, _, page = folio.rpartition("+")
    pfns: set[int] = set()
    for event in events:
        if isinstance(event, Step) and event.pfn not in pfns:
            name, _, first = folio_name(event.folio).rpartition("+")
            is_it = name == region and first.isdigit() and page.isdigit()
            if is_it and int(first) <= int(page) < int(first) + event.nr:
                pfns.add(event.pfn)
    return [event for event in events if _pfn(event) is None or _pfn(event) in pfns]


def _pfn(event: Event | Step) -> int | None:
    """The folio that an event is about."""
    return event.pfn


def _part(event: Event | Step) -> tuple[int | None, bool]:
    """What is the same as long as the same happens to one folio, or to a whole batch."""
    return event.pfn, isinstance(event, Step) and event.number == FLUSH


def _segment(part: list[tuple[Event | Step, int]], folio_name: FolioName) -> _Segment:
    told = [Told(event, number, event) for event, number in part]
    step = next((event for event, _ in part if isinstance(event, Step)), None)
    first = part[0][0]
    if step is not None:
        page = step.folio.page
        whose: tuple[object, ...] = (folio_name(step.folio).rpartition("+")[0], step.folio.pid)
    else:
        page = first.page or 0 if isinstance(first, Event) else 0
        whose = (_pfn(first) is None and part[0][1],)
    return _Segment((whose, *(_key(event, page) for event, _ in part)), page, told)


def _key(event: Event | Step, page: int) -> tuple[object, ...]:
    """What is equal of the events of folios that go the same way."""
    if isinstance(event, Step):
        found = "" if event.number == FLUSH else event.found
        what = (event.number, event.name, found, event.failed, event.nr, event.attempt, event.mode)
        return (*what, nid_of(event.pfn))
    return (event.name, event.text, event.pid, (event.page or 0) - page)


def _merge_neighbours(segments: Iterable[_Segment]) -> Iterator[_Segment]:
    """Runs of folios that go the same way, in the order of their pages."""
    run: _Segment | None = None
    for segment in segments:
        if run is not None and segment.key == run.key and segment.page > run.page:
            run = _joined(run, segment)
            continue
        if run is not None:
            yield run
        run = segment
    if run is not None:
        yield run


def _merge_batches(segments: list[_Segment]) -> list[_Segment]:
    """The same with batches that repeat: unmapped folios, a flush, moved folios."""
    out: list[_Segment] = []
    i = 0
    while i < len(segments):
        period, times = _repeats(segments, i)
        batch = segments[i : i + period]
        for j in range(1, times):
            again = segments[i + j * period : i + (j + 1) * period]
            batch = [_joined(a, b, nr_batches=1) for a, b in zip(batch, again, strict=True)]
        out += batch
        i += period * times
    return out


def _repeats(segments: list[_Segment], i: int) -> tuple[int, int]:
    """The period that covers most of what comes from *i* on, and how often it does."""
    best = (1, 1)
    for period in range(1, _LONGEST_PERIOD + 1):
        times = 1
        while _is_repeated(segments, i, period, times):
            times += 1
        if times > 1 and period * times > best[0] * best[1]:
            best = (period, times)
    return best


def _is_repeated(segments: list[_Segment], i: int, period: int, times: int) -> bool:
    at = i + times * period
    if at + period > len(segments):
        return False
    pairs = zip(segments[i : i + period], segments[at : at + period], strict=True)
    return all(a.key == b.key and a.page < b.page for a, b in pairs)


def _joined(a: _Segment, b: _Segment, nr_batches: int = 0) -> _Segment:
    told = [
        one._replace(last=two.last, nr=one.nr + two.nr, batches=one.batches + nr_batches)
        for one, two in zip(a.told, b.told, strict=True)
    ]
    return _Segment(a.key, b.page, told)
