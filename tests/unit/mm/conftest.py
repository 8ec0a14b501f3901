"""What tests of mm ask of a machine."""

from collections.abc import Iterator
from typing import Any

import pytest

from pymigrate.mm.base.memmap import Frame
from pymigrate.mm.engine.movable_ops import new_pages
from pymigrate.mm.frames.frames import FrameEdits, frame_of
from pymigrate.mm.frames.page_alloc import reserve_pages
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.events import Event
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Driver
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.process import touch
from pymigrate.units import parse_size
from tests.conftest import kernel_page, mapped, new_file, new_task, pfn_at, touched
from tests.property.invariants import check


@pytest.fixture(autouse=True)
def _is_sound_afterwards(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever was done to the machine of a test, it is sound in the end."""
    machine = request.getfixturevalue("machine") if "machine" in request.fixturenames else None
    yield
    if machine is not None:
        check(machine)


def frame_at(machine: Machine, task: Task, addr: int) -> Frame:
    """The state of the frame that *addr* is mapped to."""
    return frame_of(machine, pfn_at(task, addr))


def file_mapped(machine: Machine, task: Task, size: str, fs: str = "tmpfs") -> int:
    """Map all of a new file, shared; give the address."""
    return file_of(machine, task, size, fs)[1]


def file_of(
    machine: Machine, task: Task, size: str, fs: str = "tmpfs", **how: Any
) -> tuple[AddressSpace, int]:
    """A new file, and the address where all of it is mapped, shared unless *how* says otherwise."""
    file = new_file(machine, size, fs)
    return file, mapped(machine, task, size, **{"space": file, "is_shared": True, **how})


def loaded(machine: Machine, task: Task, size: str, prot: str = "rw", **how: Any) -> int:
    """Map *size* and load from all of it; give the address."""
    addr = mapped(machine, task, size, prot, **how)
    assert touch(machine, task, addr, parse_size(size), write=False) is None
    return addr


def huge(machine: Machine, task: Task, size: str = "2MiB", **how: Any) -> int:
    """Map *size* and write to all of it, with huge pages from now on; give the address."""
    machine.thp = "always"
    return touched(machine, task, size, **how)


def with_task(machine: Machine) -> tuple[Machine, Task]:
    """A machine of a test's own, and a task there."""
    return machine, new_task(machine)


def entry_events(machine: Machine) -> list[str]:
    """The names of the noted events that are about entries."""
    events = machine.watch.events or ()
    return [event.name for event in events if isinstance(event, Event) and event.page]


def huge_pages(machine: Machine) -> tuple[int, int]:
    """How many huge pages of the pools are free, and how many are reserved, of a sound machine."""
    check(machine)
    free = sum(node.hugetlb.nr_free for node in machine.nodes.values())
    return free, machine.resv_huge_pages


def with_driver(machine: Machine, kind: str, nr: int, **how: Any) -> Driver:
    """A driver with *nr* pages, and a page of the kernel's behind them."""
    driver = machine.drivers["pool"] = Driver(machine.new_id(), "pool", kind, **how)
    [extent] = reserve_pages(machine.nodes[0], nr)
    edits = FrameEdits(machine)
    edits.set([extent], Frame(driver.driver_id, 0))
    edits.commit()
    new_pages(machine, driver, range(extent.start, extent.start + nr))
    kernel_page(machine, 1024)
    return driver
