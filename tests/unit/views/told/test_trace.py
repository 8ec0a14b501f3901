"""Traces as text, and for trace viewers."""

import pytest

from pymigrate.mm.state.events import Event, Step
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Region
from pymigrate.views.told.trace import Actor, Part, all_lines, as_json, chrome, format_ftrace, lines
from tests.conftest import new_file, two_nodes

START = Event("mm_migrate_pages_start", "mode=MIGRATE_SYNC reason=syscall_or_cpuset")
SET = Event("set_migration_pte", "pte=write order=0", 0x102)
STEP = Step("6", "count the references", "refcount 3, expected 2", "EAGAIN", 0x102, 5, 1, 4)
END = Event("mm_migrate_pages", "nr_succeeded=0 nr_failed=1")
EVENTS = (START, SET, STEP, END)
ACTOR = Actor("a name that is too long", 7, 3)


@pytest.fixture
def machine() -> Machine:
    machine = two_nodes()
    machine.regions["a", "heap"] = Region("a", "heap", 0x100, 4)
    return machine


def test_lines_leave_the_steps_out(machine: Machine) -> None:
    assert lines(machine, EVENTS) == [
        f"{START.name}: {START.text}",
        "set_migration_pte: addr=heap+2, pte=write order=0",
        f"{END.name}: {END.text}",
    ]
    assert all_lines(machine, EVENTS)[2] == (
        "migrate_step: 6 count the references, folio heap+2 on node 0, attempt 4:"
        " refcount 3, expected 2: backs out with EAGAIN"
    )


def test_ftrace_has_addresses_and_numbers_for_times(machine: Machine) -> None:
    text = format_ftrace(machine, Part(ACTOR, [SET] * 1_000_001)).splitlines()
    event = "set_migration_pte: addr=102000, pte=write order=0"
    assert text[0] == f" a name that is -7       [003] .....     0.000000: {event}"
    assert text[-1] == f" a name that is -7       [003] .....     1.000000: {event}"


def test_folio_of_a_file_is_named_by_the_file(machine: Machine) -> None:
    space = new_file(machine, "16KiB")
    step = STEP._replace(space=space.space_id, page=3, failed="", found="", nr=2)
    assert all_lines(machine, [step]) == [
        "migrate_step: 6 count the references, folio /data+3 (2 pages) on node 0, attempt 4"
    ]
    del machine.spaces[space.space_id]
    assert "folio a file+3" in all_lines(machine, [step])[0]


def test_json(machine: Machine) -> None:
    start, entry, step, _ = as_json(machine, Part(ACTOR, EVENTS))
    assert start == {"event": START.name, "text": START.text}
    assert entry["place"] == "heap+2"
    assert step == {
        "step": "6",
        "name": "count the references",
        "folio": "heap+2",
        "node": 0,
        "pages": 1,
        "attempt": 4,
        "found": "refcount 3, expected 2",
        "failed": "EAGAIN",
    }


def test_chrome(machine: Machine) -> None:
    part = Part(ACTOR, EVENTS)
    trace = chrome(machine, [part, Part(ACTOR._replace(pid=8), ()), part])
    events = trace["traceEvents"]
    assert isinstance(events, list)
    assert [event["ph"] for event in events] == [*"MM", *"BXXE" * 2]
    assert [event["ts"] for event in events[2:]] == list(range(8))
    assert events[4]["name"] == "6 count the references"
    assert events[4]["cat"] == "migrate_step,failed"
    assert {(event["pid"], event["tid"]) for event in events} == {(7, 7)}
    assert all(event["dur"] == 1 for event in events if event["ph"] == "X")
