"""Drivers' pages that are on no LRU list: their functions, and what each answer leads to."""

from typing import Any

import pytest

from pymigrate.mm.base.memmap import Frame, FrameFlag, is_movable, looks_movable, mapping_bits
from pymigrate.mm.engine.movable_ops import (
    clear_movable,
    isolate_movable_page,
    putback_movable_page,
)
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.spec.runner import Runner
from pymigrate.views.proc.vmstat import rows
from tests.property.invariants import check

HEAD = """
machine:
  nodes:
    0: {cpus: "0", memory: 64MiB}
    1: {cpus: "1", memory: 64MiB}
"""


def booted(driver: str, steps: str = "") -> tuple[Machine, list[dict[str, Any]]]:
    """A machine with the driver d, and what the steps answer."""
    text = f"{HEAD}drivers:\n  d: {{node: 0, pages: 4, {driver}}}\n"
    scenario = load_text(text + (f"steps:\n{steps}" if steps else ""))
    machine = build(scenario)
    machine.watch = Watch([])
    records = list(Runner(machine).run(scenario.steps))
    check(machine)
    return machine, records


def moved(driver: str, mode: str = "sync", pages: str = "[0]") -> dict[str, Any]:
    step = f"  - {{op: migrate_driver, driver: d, to: 1, mode: {mode}, pages: {pages}}}\n"
    [record] = booted(driver, step)[1]
    return record


def calls(record: dict[str, Any]) -> list[str]:
    return [f"{call} {answer}".strip() for call, _, answer in record["calls"]]


def test_zsmalloc_always_isolates_and_moves() -> None:
    record = moved("kind: zsmalloc", pages="[0, 1, 2, 3]")
    assert (record["ret"], record["nodes"]) == (0, [[4, 1]])
    assert calls(record) == ["isolate_page true"] * 4 + ["migrate_page 0"] * 4


def test_there_are_no_events_of_entries() -> None:
    record = moved("kind: zsmalloc")
    found = [line.split(":")[0] for line in record["trace"]]
    assert found == ["mm_migrate_pages_start", "mm_migrate_pages"]
    assert "nr_succeeded=1 nr_failed=0" in record["trace"][1]


def test_each_page_counts_like_a_small_folio() -> None:
    step = "  - {op: migrate_driver, driver: d, to: 1}\n"
    machine, _ = booted("kind: scripted, migrate: [success, EBUSY]", step)
    counters = machine.counters
    assert (counters["pgmigrate_success"], counters["pgmigrate_fail"]) == (1, 3)
    assert counters["thp_migration_fail"] == 0


def test_zsmallocs_pages_are_counted() -> None:
    assert rows(booted("kind: zsmalloc")[0])["nr_zspages"] == 4


@pytest.mark.parametrize(
    ("migrate", "ret", "answers"),
    [
        pytest.param("EAGAIN, EAGAIN, success", 0, ["EAGAIN", "EAGAIN", "0"], id="for a while"),
        pytest.param("EAGAIN", 1, ["EAGAIN"] * 10, id="it stays taken, and the page goes back"),
    ],
)
def test_the_balloon_is_asked_again_while_its_lock_is_taken(
    migrate: str, ret: int, answers: list[str]
) -> None:
    step = "  - {op: migrate_driver, driver: d, to: 1, pages: [0]}\n"
    machine, [record] = booted(f"kind: virtio-balloon, migrate: [{migrate}]", step)
    assert (record["ret"], record["nodes"][0]) == (ret, [4, 0] if ret else [1, 1])
    moves = [f"migrate_page {answer}" for answer in answers]
    assert calls(record) == ["isolate_page true", *moves, *["putback_page"] * ret]
    assert machine.counters["balloon_migrate"] == 1 - ret
    assert machine.drivers["d"].isolated == 0


@pytest.mark.parametrize(("mode", "tries"), [("async", 1), ("sync_light", 2), ("sync", 2)])
def test_another_error_is_final_in_its_stage(mode: str, tries: int) -> None:
    record = moved("kind: scripted, migrate: [EINVAL]", mode)
    assert calls(record) == ["isolate_page true", *["migrate_page EINVAL"] * tries, "putback_page"]


def test_a_script_answers_in_order() -> None:
    record = moved(
        "kind: scripted, isolate: [false, true], migrate: [EAGAIN, success]", pages="[0, 1]"
    )
    assert record["calls"] == [
        ["isolate_page", 0, "false"],
        ["isolate_page", 1, "true"],
        ["migrate_page", 1, "EAGAIN"],
        ["migrate_page", 1, "0"],
    ]
    assert record["nodes"] == [[1, 0], [1, 1], [2, 0]]


def test_the_interface_of_2016_calls_it_migratepage() -> None:
    record = moved("kind: scripted, interface: '2016'")
    assert calls(record) == ["isolate_page true", "migratepage 0"]


def test_a_page_that_its_driver_gives_up_is_a_success_without_a_call() -> None:
    record = moved("kind: scripted, isolate: [free]")
    assert (record["ret"], calls(record)) == (0, ["isolate_page true"])
    assert record["nodes"] == [[1, -1], [3, 0]]


def test_the_low_bits_say_what_a_mapping_is() -> None:
    assert mapping_bits(Frame(1, 0)) == 0
    assert mapping_bits(Frame(1, FrameFlag.ANON)) == 1
    assert mapping_bits(Frame(1, FrameFlag.MOVABLE)) == 2


def test_a_cleared_page_looks_movable_without_its_lock_only() -> None:
    machine, _ = booted("kind: scripted")
    pfn = machine.drivers["d"].pages[0]
    assert looks_movable(frame_of(machine, pfn))
    assert is_movable(frame_of(machine, pfn))
    clear_movable(machine, pfn)
    assert looks_movable(frame_of(machine, pfn))
    assert not is_movable(frame_of(machine, pfn))
    machine.watch = Watch(driver_calls=[])
    assert not isolate_movable_page(machine, machine.drivers["d"], 0)
    assert machine.watch.driver_calls == []  # the driver was not asked


def test_an_isolated_page_is_not_isolated_again() -> None:
    machine, _ = booted("kind: scripted")
    driver = machine.drivers["d"]
    assert isolate_movable_page(machine, driver, 2)
    assert frame_of(machine, driver.pages[2]).flags & FrameFlag.ISOLATED
    assert not isolate_movable_page(machine, driver, 2)
    putback_movable_page(machine, driver, 2)
    assert isolate_movable_page(machine, driver, 2)


def test_putback_of_a_page_that_was_given_up_frees_it() -> None:
    machine, _ = booted("kind: scripted, isolate: [free]")
    driver = machine.drivers["d"]
    free = machine.nodes[0].nr_free
    machine.watch = Watch(driver_calls=[])
    assert isolate_movable_page(machine, driver, 1)
    putback_movable_page(machine, driver, 1)
    assert (driver.pages[1], machine.nodes[0].nr_free) == (-1, free + 1)
    assert [call.call for call in machine.watch.driver_calls] == ["isolate_page"]
    check(machine)


@pytest.mark.parametrize(
    ("step", "errno"), [("driver: d, to: 7", "ENODEV"), ("driver: d, to: 1, pages: [4]", "EINVAL")]
)
def test_refusals(step: str, errno: str) -> None:
    _, [record] = booted("kind: zsmalloc", f"  - {{op: migrate_driver, {step}}}\n")
    assert (record["ret"], record["errno"]) == (-1, errno)
