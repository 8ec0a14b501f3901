"""What tests of mm ask of a machine."""

from collections.abc import Iterator

import pytest

from pymigrate.mm.base.memmap import Frame
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.state.events import Event
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from tests.conftest import mapped, new_file, pfn_at
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


def file_mapped(machine: Machine, task: Task, size: str, fs: str = "tmpfs", **how: object) -> int:
    """Map all of a new file, shared; give the address."""
    return mapped(machine, task, size, space=new_file(machine, size, fs), is_shared=True, **how)


def entry_events(machine: Machine) -> list[str]:
    """The names of the noted events that are about entries."""
    events = machine.watch.events or ()
    return [event.name for event in events if isinstance(event, Event) and event.page]


def starts(machine: Machine) -> list[str]:
    """What the noted calls of the engine say of their mode and reason."""
    events = machine.watch.events or ()
    return [event.text for event in events if event.name == "mm_migrate_pages_start"]


def huge_pages(machine: Machine) -> tuple[int, int]:
    """How many huge pages of the pools are free, and how many are reserved, of a sound machine."""
    check(machine)
    free = sum(node.hugetlb.nr_free for node in machine.nodes.values())
    return free, machine.resv_huge_pages
