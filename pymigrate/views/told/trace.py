"""What was traced while pages moved, as text, and for trace viewers.

The events are the kernel's migration tracepoints; the steps of each folio stand among them if they
were asked for. The core has no clock: an event's time is its number, in microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pymigrate.mm.base.memmap import nid_of
from pymigrate.mm.state.events import Event, Name, Step
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Region
from pymigrate.mm.state.trace import STACK
from pymigrate.records import NamedTuple
from pymigrate.units import PAGE_SHIFT
from pymigrate.views.pages.regions import object_name, region_finder
from pymigrate.views.told.fold import FLUSH, Told, Wanted, fold, select

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


def recorded_lines(machine: Machine, events: Iterable[Event | Step]) -> list[str]:
    """The events as the kernel's recorded traces have them, which do not say whose entries move.

    Compaction's own events are not among them.
    """
    return [text for text, _ in _lines(machine, events)]


def lines(machine: Machine, events: Iterable[Event | Step]) -> list[str]:
    """A line for each event of migration; an address is written as REGION+PAGE if a region has it.

    The region is one of the process whose page table it is, and that process is named. Compaction's
    own events are not among them.
    """
    return [text + _whose(event) for text, event in _lines(machine, events)]


def all_lines(machine: Machine, events: Iterable[Event | Step]) -> list[str]:
    """A line for each event and for each step of a folio, compaction's own among them."""
    names = _Names(machine)
    return [_told(Told(event, i, event), names, names.place) for i, event in enumerate(events)]


def folded_lines(machine: Machine, events: Sequence[Event | Step]) -> list[str]:
    """The same, a line for all neighbours that go the same way."""
    names = _Names(machine)
    return [_told(told, names, names.place) for told in fold(events, names.folio)]


def wanted_of(
    machine: Machine, events: Sequence[Event | Step], wanted: Wanted | None
) -> list[Event | Step]:
    """Those of the events that are wanted, without stacks."""
    kept = [event for event in events if event.name != STACK]
    return select(kept, wanted, _Names(machine).folio) if wanted else kept


def format_ftrace(machine: Machine, part: Part) -> str:
    """The events as the file trace of tracefs shows them, with the steps of each folio.

    To an event of a page table the process is added that it belongs to. With steps, neighbours that
    go the same way are one line, whose time is the first one's.
    """
    names = _Names(machine)
    comm, pid, cpu = part.actor
    head = f"{comm[:15]:>16}-{pid:<7} [{cpu:03}] ....."
    if any(isinstance(event, Step) for event in part.events):
        told = fold(part.events, names.folio)
    else:
        told = [Told(event, i, event) for i, event in enumerate(part.events)]
    return "".join(
        f"{head} {each.number // 1000000:5}.{each.number % 1000000:06}:"
        f" {_told(each, names, _address)}\n"
        for each in told
    )


def as_json(machine: Machine, part: Part) -> list[dict[str, object]]:
    """The events for machines."""
    names = _Names(machine)
    return [_facts(event, names) for event in part.events]


def chrome(machine: Machine, parts: Iterable[Part]) -> dict[str, object]:
    """The events in the Trace Event Format, which ui.perfetto.dev and chrome://tracing read.

    Each actor is a process; a call of the engine spans what happened in it.
    """
    names = _Names(machine)
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
            out.append(_chrome_event(event, names) | {"ts": at, **where})
            at += 1
    return {"traceEvents": out, "displayTimeUnit": "ns"}


def _lines(machine: Machine, events: Iterable[Event | Step]) -> list[tuple[str, Event]]:
    place = _Names(machine).place
    return [
        (_short(event, place), event)
        for event in events
        if isinstance(event, Event) and not event.name.startswith("mm_compaction_")
    ]


def _chrome_event(event: Event | Step, names: _Names) -> dict[str, object]:
    facts = _facts(event, names)
    if isinstance(event, Step):
        category = "migrate_step,failed" if event.failed else "migrate_step"
        name = f"{event.number} {event.name}"
        return {"ph": "X", "dur": 1, "name": name, "cat": category, "args": facts}
    phase = {START: "B", END: "E"}.get(event.name, "X")
    name = "mm_migrate_pages" if event.name in (START, END) else event.name
    shown: dict[str, object] = {"ph": phase, "name": name, "cat": "migrate", "args": facts}
    return shown if phase != "X" else shown | {"dur": 1}


def _facts(event: Event | Step, names: _Names) -> dict[str, object]:
    if isinstance(event, Step):
        return {
            "step": event.number,
            "name": event.name,
            "function": event.function or None,
            "folio": names.folio(event.folio),
            "node": nid_of(event.pfn),
            "pages": event.nr,
            "attempt": event.attempt,
            "mode": None if event.mode is None else event.mode.name.lower(),
            "found": event.found,
            "failed": event.failed or None,
        }
    facts: dict[str, object] = {"event": event.name}
    if event.page is not None:
        place = names.place(event.page, event.pid)
        facts |= {"address": f"{event.page << PAGE_SHIFT:#x}", "place": place, "pid": event.pid}
    return facts | ({"text": event.text} if event.text else {})


def _short(event: Event, place: Callable[[int, int], str]) -> str:
    if event.page is None:
        return f"{event.name}: {event.text}"
    text = f", {event.text}" if event.text else ""
    return f"{event.name}: addr={place(event.page, event.pid)}{text}"


def _whose(event: Event) -> str:
    return "" if event.page is None else f" pid={event.pid}"


def _told(told: Told, names: _Names, place: Callable[[int, int], str]) -> str:
    """What happened, to one folio or to several."""
    if isinstance(told.event, Step) and isinstance(told.last, Step):
        return _step(told.event, told, names.folio(told.event.folio), names.folio(told.last.folio))
    assert isinstance(told.event, Event)
    assert isinstance(told.last, Event)
    if told.nr > 1 and told.event.page is not None and told.last.page is not None:
        event, last = told.event, place(told.last.page, told.last.pid)
        text = _short(event, lambda page, pid: f"{place(page, pid)} to {last}")
        return f"{text}{_whose(event)}: {told.nr} entries"
    return _short(told.event, place) + _whose(told.event)


def _step(step: Step, told: Told, first: str, last: str) -> str:
    size = f" ({step.nr} pages)" if step.nr > 1 else ""
    which, found = f"folio {first}{size}", step.found
    if told.nr > 1:
        each = f" ({step.nr} pages each)" if step.nr > 1 else ""
        which = f"{told.nr} folios {first} to {last}{each}"
    if step.number == FLUSH and told.batches > 1:
        which, found = f"folios from {first}", f"once for each of {told.batches} batches"
    function = f" [{step.function}]" if step.function else ""
    failed = f": backs out with {step.failed}" if step.failed else ""
    mode = "" if step.mode is None else f" ({step.mode.name.lower()})"
    return (
        f"migrate_step: {step.number} {step.name}{function}, {which} on node {nid_of(step.pfn)},"
        f" attempt {step.attempt}{mode}{f': {found}' if found else ''}{failed}"
    )


def _address(page: int, _: int) -> str:
    return f"{page << PAGE_SHIFT:x}"


class _Names:
    """What pages are called, each process's by its own regions."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.finders: dict[int, Callable[[int], Region | None]] = {}  # of each process
        self.owners: dict[int, str] = {}  # of what is no process's

    def place(self, page: int, pid: int) -> str:
        """REGION+PAGE, or the address of what lies in no region of process *pid*."""
        if pid not in self.finders:
            task = self.machine.tasks.get(pid)
            self.finders[pid] = region_finder(self.machine, task) if task else _nowhere
        region = self.finders[pid](page)
        return f"{region.name}+{page - region.start}" if region else _address(page, pid)

    def folio(self, name: Name) -> str:
        """The same of a folio; what is no process's own is known by its number in its owner."""
        if not name.owner:
            return self.place(name.page, name.pid)
        if name.owner not in self.owners:
            self.owners[name.owner] = self._owner(name.owner)
        return f"{self.owners[name.owner]}+{name.page}"

    def _owner(self, number: int) -> str:
        if space := self.machine.spaces.get(number):
            return object_name(self.machine, space)
        drivers = self.machine.drivers.values()
        found = (driver.name for driver in drivers if driver.driver_id == number)
        return next(found, "a file")


def _nowhere(_: int) -> None:
    return None
