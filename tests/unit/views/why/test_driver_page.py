"""What is told of a driver's page."""

import pytest

from pymigrate.mm.base.memmap import FrameFlag
from pymigrate.mm.engine.movable_ops import clear_movable, isolate_movable_page
from pymigrate.mm.frames.frames import update_frames
from pymigrate.mm.state.machine import Machine
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.views.why import driver_page


@pytest.fixture
def machine() -> Machine:
    return build(
        load_text(
            'machine: {nodes: {0: {cpus: "0", memory: 64MiB}}}\n'
            "drivers:\n"
            "  zs: {kind: zsmalloc, node: 0, pages: 2}\n"
            '  old: {kind: scripted, node: 0, pages: 1, interface: "2016"}\n'
        )
    )


def text_of(machine: Machine, name: str, number: int = 0) -> dict[str, str]:
    found = driver_page.row(machine, machine.drivers[name], number)
    lines = (line.split(None, 1) for line in driver_page.format_row(found).splitlines())
    return dict(lines)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "mapping"),
    [
        ("zs", "zs's movable_operations | 2 (MOVABLE)"),
        ("old", "old's address_space_operations | 2 (MOVABLE)"),
    ],
)
def test_a_page_is_marked_by_the_low_bits_of_its_mapping(
    machine: Machine, name: str, mapping: str
) -> None:
    told = text_of(machine, name)
    assert told["page"] == f"{name}+0"
    assert told["mapping"] == mapping
    assert told["flags"] == "none"
    assert told["__PageMovable()"].startswith("yes")
    assert told["PageMovable()"].startswith("yes")


def test_a_page_that_its_driver_has_cleared_still_looks_movable(machine: Machine) -> None:
    clear_movable(machine, machine.drivers["zs"].pages[1])
    told = text_of(machine, "zs", 1)
    assert told["mapping"] == "none | 2 (MOVABLE)"
    assert told["__PageMovable()"].startswith("yes")
    assert told["PageMovable()"].startswith("no")


def test_an_isolated_page_says_so(machine: Machine) -> None:
    driver = machine.drivers["zs"]
    assert isolate_movable_page(machine, driver, 0)
    locked = FrameFlag.LOCKED
    update_frames(machine, [(driver.pages[0], 1)], lambda frame: frame.with_flags(locked))
    assert text_of(machine, "zs")["flags"] == "locked isolated"
    assert driver_page.as_json(driver_page.row(machine, driver, 0))["flags"] == [
        "locked",
        "isolated",
    ]


def test_a_page_that_was_freed_has_no_frame(machine: Machine) -> None:
    machine.drivers["zs"].pages[1] = -1
    assert text_of(machine, "zs", 1) == {"page": "zs+1", "pfn": "none: its driver has freed it"}
    found = driver_page.row(machine, machine.drivers["zs"], 1)
    assert driver_page.as_json(found)["pfn"] is None
