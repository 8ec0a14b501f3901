"""Traces as text, and for trace viewers."""

import pytest

from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.events import Event, Name, Step
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Driver
from pymigrate.mm.state.task import Region
from pymigrate.views.told.trace import (
    Actor,
    Part,
    all_lines,
    as_json,
    chrome,
    format_ftrace,
    lines,
    recorded_lines,
)
from tests.conftest import mapped, new_file, new_task, two_nodes

START = Event("mm_migrate_pages_start", "mode=MIGRATE_SYNC reason=syscall_or_cpuset")
SET = Event("set_migration_pte", "pte=write order=0", 0x102, 100)
STEP = Step(
    "6", "count the references", "refcount 3, expected 2", "EAGAIN", Name(0x102, 100), 5, 1, 4
)
END = Event("mm_migrate_pages", "nr_succeeded=0 nr_failed=1")
EVENTS = (START, SET, STEP, END)
ACTOR = Actor("a name that is too long", 7, 3)


@pytest.fixture
def machine() -> Machine:
    machine = two_nodes()
    machine.next_pid = 100
    for pid, task, region in ((100, "a", "heap"), (101, "b", "other")):
        assert new_task(machine, task).pid == pid
        machine.regions[task, region] = Region(task, region, 0x100, 4)
    return machine


def test_lines_leave_the_steps_out(machine: Machine) -> None:
    assert lines(machine, EVENTS) == [
        f"{START.name}: {START.text}",
        "set_migration_pte: addr=heap+2, pte=write order=0 pid=100",
        f"{END.name}: {END.text}",
    ]
    assert all_lines(machine, EVENTS)[2] == (
        "migrate_step: 6 count the references, folio heap+2 on node 0, attempt 4:"
        " refcount 3, expected 2: backs out with EAGAIN"
    )


def test_ftrace_has_addresses_and_numbers_for_times(machine: Machine) -> None:
    text = format_ftrace(machine, Part(ACTOR, [SET] * 1_000_001)).splitlines()
    event = "set_migration_pte: addr=102000, pte=write order=0 pid=100"
    assert text[0] == f" a name that is -7       [003] .....     0.000000: {event}"
    assert text[-1] == f" a name that is -7       [003] .....     1.000000: {event}"


def test_recorded_traces_do_not_say_whose_entries_move(machine: Machine) -> None:
    assert recorded_lines(machine, [SET]) == ["set_migration_pte: addr=heap+2, pte=write order=0"]


@pytest.mark.parametrize(
    ("pid", "place"),
    [
        pytest.param(100, "heap+2", id="of the process whose page table it is"),
        pytest.param(101, "other+2", id="and of no other at the same address"),
        pytest.param(102, "102000", id="of no process that there still is"),
    ],
)
def test_a_page_is_named_by_a_region_of_its_process(machine: Machine, pid: int, place: str) -> None:
    event, step = SET._replace(pid=pid), STEP._replace(folio=Name(0x102, pid))
    entry, folio = all_lines(machine, [event, step])
    assert entry == f"set_migration_pte: addr={place}, pte=write order=0 pid={pid}"
    assert f" folio {place} on node 0" in folio


def test_shared_memory_is_called_what_the_first_process_that_maps_it_calls_it(
    machine: Machine,
) -> None:
    space = machine.spaces[7] = AddressSpace(7, "", "shm", 16384)
    step = STEP._replace(folio=Name(3, owner=7))
    assert "folio /dev/zero (deleted)+3" in all_lines(machine, [step])[0]
    for name in ("b", "a"):
        task = machine.task(name)
        start = mapped(machine, task, "16KiB", space=space, is_shared=True) >> 12
        machine.regions[name, f"buffers_{name}"] = Region(name, f"buffers_{name}", start, 4)
        assert f"folio buffers_{name}+3 on" in all_lines(machine, [step])[0]


def test_a_drivers_page_is_called_by_its_driver(machine: Machine) -> None:
    machine.drivers["zs"] = Driver(9, "zs", "zsmalloc")
    step = STEP._replace(folio=Name(3, owner=9))
    assert "folio zs+3 on node 0" in all_lines(machine, [step])[0]


def test_folio_of_a_file_is_named_by_the_file(machine: Machine) -> None:
    space = new_file(machine, "16KiB")
    step = STEP._replace(folio=Name(3, owner=space.space_id), failed="", found="", nr=2)
    assert all_lines(machine, [step]) == [
        "migrate_step: 6 count the references, folio /data+3 (2 pages) on node 0, attempt 4"
    ]
    del machine.spaces[space.space_id]
    assert "folio a file+3" in all_lines(machine, [step])[0]


def test_json(machine: Machine) -> None:
    start, entry, step, _ = as_json(machine, Part(ACTOR, EVENTS))
    assert start == {"event": START.name, "text": START.text}
    assert (entry["place"], entry["pid"]) == ("heap+2", 100)
    assert step == {
        "step": "6",
        "name": "count the references",
        "function": None,
        "folio": "heap+2",
        "node": 0,
        "pages": 1,
        "attempt": 4,
        "mode": None,
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
