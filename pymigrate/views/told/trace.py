"""What was traced while pages moved, as text, and for trace viewers.

The events are the kernel's migration tracepoints; the steps of each folio stand among them if they
were asked for. The core has no clock: an event's time is its number, in microseconds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.state.events import Event, Step
from pymigrate.mm.state.machine import Machine
from pymigrate.units import PAGE_SHIFT

START, END = "mm_migrate_pages_start", "mm_migrate_pages"


class Actor(NamedTuple):
    """Who made a call: what ftrace prints before each event."""

    comm: str
    pid: int
    cpu: int


class Part(NamedTuple):
    """The events of one call, or of one step of a scenario."""

    actor: Actor
    events: Sequence[Event | Step]


def lines(machine: Machine, events: Iterable[Event | Step]) -> list[str]:
    """A line for each event of migration; an address is written as REGION+PAGE if a region has it.

    Compaction's own events are not among them: recorded traces do not have them.
    """
    place = _places(machine)
    return [
        _short(event, place)
        for event in events
        if isinstance(event, Event) and not event.name.startswith("mm_compaction_")
    ]


def all_lines(machine: Machine, events: Iterable[Event | Step]) -> list[str]:
    """A line for each event and for each step of a folio, compaction's own among them."""
    place = _places(machine)
    return [
        _short(event, place) if isinstance(event, Event) else _step(machine, event, place)
        for event in events
    ]


def format_ftrace(machine: Machine, part: Part) -> str:
    """The events as the file trace of tracefs shows them, with the steps of each folio."""
    place = _places(machine)
    comm, pid, cpu = part.actor
    head = f"{comm[:15]:>16}-{pid:<7} [{cpu:03}] ....."
    out = []
    for i, event in enumerate(part.events):
        text = _step(machine, event, place) if isinstance(event, Step) else _short(event, _address)
        out.append(f"{head} {i // 1000000:5}.{i % 1000000:06}: {text}\n")
    return "".join(out)


def as_json(machine: Machine, part: Part) -> list[dict[str, object]]:
    """The events for machines."""
    place = _places(machine)
    return [_facts(machine, event, place) for event in part.events]


def chrome(machine: Machine, parts: Iterable[Part]) -> dict[str, object]:
    """The events in the Trace Event Format, which ui.perfetto.dev and chrome://tracing read.

    Each actor is a process; a call of the engine spans what happened in it.
    """
    place = _places(machine)
    out: list[dict[str, object]] = []
    at = 0
    seen: set[int] = set()
    for actor, events in parts:
        where = {"pid": actor.pid, "tid": actor.pid}
        if events and actor.pid not in seen:
            seen.add(actor.pid)
            name = {"name": actor.comm}
            out += [
                {"ph": "M", "name": kind, "args": name, **where}
                for kind in ("process_name", "thread_name")
            ]
        for event in events:
            out.append(_chrome_event(machine, event, place) | {"ts": at, **where})
            at += 1
    return {"traceEvents": out, "displayTimeUnit": "ns"}


def _chrome_event(
    machine: Machine, event: Event | Step, place: Callable[[int], str]
) -> dict[str, object]:
    facts = _facts(machine, event, place)
    if isinstance(event, Step):
        category = "migrate_step,failed" if event.failed else "migrate_step"
        name = f"{event.number} {event.name}"
        return {"ph": "X", "dur": 1, "name": name, "cat": category, "args": facts}
    phase = {START: "B", END: "E"}.get(event.name, "X")
    name = "mm_migrate_pages" if event.name in (START, END) else event.name
    shown: dict[str, object] = {"ph": phase, "name": name, "cat": "migrate", "args": facts}
    return shown if phase != "X" else shown | {"dur": 1}


def _facts(machine: Machine, event: Event | Step, place: Callable[[int], str]) -> dict[str, object]:
    if isinstance(event, Step):
        return {
            "step": event.number,
            "name": event.name,
            "folio": _folio(machine, event, place),
            "node": nid_of(event.pfn),
            "pages": event.nr,
            "attempt": event.attempt,
            "found": event.found,
            "failed": event.failed or None,
        }
    facts: dict[str, object] = {"event": event.name}
    if event.page is not None:
        facts |= {"address": f"{event.page << PAGE_SHIFT:#x}", "place": place(event.page)}
    return facts | ({"text": event.text} if event.text else {})


def _short(event: Event, place: Callable[[int], str]) -> str:
    if event.page is None:
        return f"{event.name}: {event.text}"
    text = f", {event.text}" if event.text else ""
    return f"{event.name}: addr={place(event.page)}{text}"


def _step(machine: Machine, step: Step, place: Callable[[int], str]) -> str:
    size = f" ({step.nr} pages)" if step.nr > 1 else ""
    found = f": {step.found}" if step.found else ""
    failed = f": backs out with {step.failed}" if step.failed else ""
    return (
        f"migrate_step: {step.number} {step.name}, folio {_folio(machine, step, place)}{size}"
        f" on node {nid_of(step.pfn)}, attempt {step.attempt}{found}{failed}"
    )


def _folio(machine: Machine, step: Step, place: Callable[[int], str]) -> str:
    """Where a folio begins; a file's is known by its number in the file."""
    if not step.space:
        return place(step.page)
    space = machine.spaces.get(step.space)
    return f"{space.path if space else 'a file'}+{step.page}"


def _address(page: int) -> str:
    return f"{page << PAGE_SHIFT:x}"


def _places(machine: Machine) -> Callable[[int], str]:
    """A function from a page to REGION+PAGE, or to its address where it lies in no region."""
    regions = sorted(machine.regions.values(), key=lambda region: region.start)
    starts = [region.start for region in regions]

    def place(page: int) -> str:
        i = bisect_right(starts, page) - 1
        if i >= 0 and page < starts[i] + regions[i].nr:
            return f"{regions[i].name}+{page - starts[i]}"
        return _address(page)

    return place
