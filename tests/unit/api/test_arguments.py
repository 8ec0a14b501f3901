"""What a caller gets wrong: a TypeError that names the argument; tracebacks that end there."""

import traceback
from collections.abc import Callable
from typing import Any

import pytest

import pymigrate
from pymigrate import Machine

CALLS: list[tuple[Callable[[Any], object], str]] = [
    (lambda m: m.migrate_pages(4321.0, 0, 1), "migrate_pages(): who is 4321.0, a float;"),
    (lambda m: m.migrate_pages("db", None, 1), "migrate_pages(): from_nodes is None, a NoneType;"),
    (lambda m: m.migrate_pages("db", 0, to_nodes=1.5), "migrate_pages(): to_nodes is 1.5, a float"),
    (lambda m: m.migrate_pages("db", 0, True), "migrate_pages(): to_nodes is True, a bool;"),
    (lambda m: m.touch("db", 3.5), "touch(): place is 3.5, a float; expected an address, a Region"),
    (lambda m: m.mmap("db", "x", None), "mmap(): length is None, a NoneType; expected a number of"),
    (lambda m: m.balance("1s"), "balance(): seconds is '1s', a str; expected a number"),
    (lambda m: m.fork("db", 5), "fork(): name is 5, an int; expected a str"),
    (lambda _: pymigrate.boot(5), "boot(): scenario is 5, an int; expected a path or a mapping"),
]


@pytest.fixture(scope="module")
def machine() -> Machine:
    return pymigrate.boot("two-node")


@pytest.mark.parametrize(("call", "message"), CALLS)
def test_a_wrong_type_is_told_by_the_argument_s_name(
    machine: Machine, call: Callable[[Machine], object], message: str
) -> None:
    with pytest.raises(TypeError) as caught:
        call(machine)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.migrate_pages("db", 1, 0, uid=1000),
        lambda m: m.migrate_pages("nobody", 1, 0),
        lambda m: m.move_pages("db", "nowhere", 1),
        lambda m: m.balance(-1),
        lambda m: m.step({"op": "nosuch"}),
        lambda _: pymigrate.boot("machine: {}\n"),
    ],
)
def test_a_traceback_shows_no_frames_of_ours_but_the_call(
    machine: Machine, call: Callable[[Machine], object]
) -> None:
    with pytest.raises((pymigrate.PymigrateError, ValueError)) as caught:
        call(machine)
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert [frame.name for frame in frames][1:] == ["<lambda>", "call"]
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize(
    "call",
    [
        lambda m, name: m.start(name),
        lambda m, name: m.fork("db", name),
        lambda m, name: m.clone("db", name),
        lambda m, name: m.mmap("db", name, "4KiB"),
    ],
)
@pytest.mark.parametrize("name", ["", "a b", "4321", "a\n", "x" * 65])
def test_names_are_those_of_scenarios(
    machine: Machine, call: Callable[[Machine, str], object], name: str
) -> None:
    before = machine.ps()
    with pytest.raises(ValueError, match="is not a name; expected letters, digits, _ and -"):
        call(machine, name)
    assert machine.ps() == before


def test_start_makes_a_process_of_a_user_or_of_a_task() -> None:
    machine = pymigrate.boot("two-node")
    pid = machine.start("worker", comm="postgres", uid=26)
    machine.mmap("worker", "buffer", "64KiB")
    machine.touch("worker", "buffer")
    assert machine.numa_maps(pid)[0].nodes == {0: 16}
    child = machine.start("child", caller="db")
    [row] = [row for row in machine.ps() if row.pid == child]
    assert (row.policy, row.cpus, row.uid, row.comm) == ("bind:0", "0-3", 26, "child")
    with pytest.raises(ValueError, match="a task is called 'child' already"):
        machine.start("child")


def test_a_machine_in_a_with_block() -> None:
    with pymigrate.boot("two-node") as machine:
        assert machine.migrate_pages("db", 0, 1).moved == 29187
    assert machine.tasks["db"] == 4321


def test_what_may_be_long_has_a_short_repr(machine: Machine) -> None:
    twin = machine.copy()
    with twin.trace(steps=True) as trace:
        moved = twin.move_pages("db", "heap", 1)
    plan = "<plan: process 4321 (db) from node 0 to node 1: 29187 pages move, 0 stay>"
    assert repr(pymigrate.boot("two-node").plan("db", to=1)) == plan
    assert repr(trace) == f"<Trace: {len(trace.lines)} lines>"
    assert len(trace.lines) > 1000
    assert "... and " in trace._repr_html_()
    assert len(trace._repr_html_()) < 5000
    assert str(trace).splitlines() == trace.lines
    assert repr(moved) == "MovedPages(ret=0, pages=<16384 pages>, moved=12288, stayed=())"


def test_a_machine_draws_itself_in_a_notebook(machine: Machine) -> None:
    html = machine._repr_html_()
    assert html.startswith("<pre>&lt;Machine: Linux 6.12, 2 nodes, 2 tasks&gt;\n")
    assert "buffers" in html


def test_a_refused_move_pages_goes_to_other_processes(machine: Machine) -> None:
    import pickle

    with pytest.raises(pymigrate.MovePagesError) as caught:
        machine.copy().move_pages("db", "heap+0:8KiB", 9)
    twin = pickle.loads(pickle.dumps(caught.value))
    assert (twin.name, twin.pages) == (caught.value.name, caught.value.pages)
