"""From the kernel's lines of trace to a case's trace file."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pymigrate.units import PAGE_SHIFT, PAGE_SIZE, parse_size
from tests.oracle.guest import Line
from tests.oracle.hardware import UnrecordableError
from tests.oracle.program import Case

FIRST_REGION = 0x200004000000
ALIGNMENT = "2MiB"
SHORTEST_RUN = 3
_CALLS = ("mm_migrate_pages_start", "mm_migrate_pages")
_KINDS = {28: "read", 29: "read-exclusive", 30: "write"}  # swap types of kernels with devices
_ENTRY = re.compile(r"addr=([0-9a-f]+), (pte|pmd)=([0-9a-f]+)( order=\d+)?")
_OFFSET_BITS, _OFFSET_SHIFT, _TYPE_SHIFT = 50, 9, 59
_YOUNG, _DIRTY = 40, 41  # bits of the offset


class Region(NamedTuple):
    """Where a case's region lies."""

    name: str
    start: int
    end: int


class Event(NamedTuple):
    """An event; one without an address has no region."""

    name: str
    region: str
    page: int
    rest: str


def layout(case: Case) -> list[Region]:
    """The regions of a case: one behind the other, whoever maps them."""
    found, at = [], FIRST_REGION
    for step in case["steps"]:
        if step["op"] == "mmap":
            align = parse_size(step.get("align", ALIGNMENT))
            start = -(-at // align) * align
            end = start + -(-parse_size(step["length"]) // PAGE_SIZE) * PAGE_SIZE
            found.append(Region(step["as"], start, end))
            at = end + PAGE_SIZE
    return found


def trace_of(lines: Iterable[Line], case: Case) -> list[str]:
    """The lines of the trace file. Raises UnrecordableError."""
    regions = layout(case)
    found: list[str] = []
    for line in lines:
        if "trace" in line:
            step = line["trace"]
            found.append(f"# step {step} {case['steps'][step - 1]['op']}")
            found += joined([_event(text, regions) for text in line["lines"]])
    return found


def _event(text: str, regions: Sequence[Region]) -> Event:
    name, _, what = text.partition(": ")
    if name in _CALLS:
        return Event(name, "", 0, what)
    match = _ENTRY.fullmatch(what)
    addr = int(match[1], 16) if match else 0
    region = next((r for r in regions if r.start <= addr < r.end), None)
    if match is None or region is None:
        raise UnrecordableError(f"an event that belongs to no region: {text}")
    rest = f" {match[2]}={entry(int(match[3], 16))}" if name.startswith("set") else ""
    page = (addr - region.start) >> PAGE_SHIFT
    return Event(name, region.name, page, rest + (match[4] or ""))


def entry(value: int) -> str:
    """The kind of a migration entry, and its bits.

    >>> entry(30 << 59 | ((1 << 50) - 1 & ~(1 << 40)) << 9)
    'write,young'
    """
    offset = ~(value >> _OFFSET_SHIFT) & ((1 << _OFFSET_BITS) - 1)
    words = [_KINDS[value >> _TYPE_SHIFT]]
    words += ["young"] * (offset >> _YOUNG & 1) + ["dirty"] * (offset >> _DIRTY & 1)
    return ",".join(words)


def joined(events: Sequence[Event]) -> list[str]:
    """The events as text, where three or more at equal distances are one line."""
    lines, at = [], 0
    while at < len(events):
        event = events[at]
        if not event.region:
            lines.append(f"{event.name}: {event.rest}")
            at += 1
            continue
        end = _end_of_run(events, at)
        if end - at < SHORTEST_RUN:
            end = at + 1
        more = _more(event.page, events[at + 1].page, events[end - 1].page) if end > at + 1 else ""
        rest = f",{event.rest}" if event.rest else ""
        lines.append(f"{event.name}: addr={event.region}+{event.page}{more}{rest}")
        at = end
    return lines


def _end_of_run(events: Sequence[Event], at: int) -> int:
    """Behind the last event that goes on as the one at *at* and its next do."""
    end, distance = at + 1, 0
    while end < len(events):
        step = events[end].page - events[end - 1].page
        alike = events[end]._replace(page=0) == events[at]._replace(page=0)
        if not alike or not step or (distance and step != distance):
            break
        distance, end = step, end + 1
    return end


def _more(first: int, second: int, last: int) -> str:
    distance = abs(second - first)
    return f"..{last}" + (f"/{distance}" if distance != 1 else "")
