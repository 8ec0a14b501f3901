"""What the methods of a Machine take: tasks, places, nodes, each in several spellings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from pymigrate import arguments
from pymigrate.api.results import Region
from pymigrate.mm.state import machine as core
from pymigrate.mm.state import task as core_task
from pymigrate.nodemask import Bitmap
from pymigrate.units import parse_size

Who = int | str  # a pid, a task's name, or a comm that just one task has
Place = int | str | Region  # an address, or REGION[+OFFSET[:LENGTH]] as the commands take it
Set = int | str | Iterable[int]  # of nodes or CPUs: one, the kernel's list format, or several
Size = int | str  # bytes, or "4MiB"

B = TypeVar("B", bound=Bitmap)


def range_of(
    machine: core.Machine, task: core_task.Task, place: Place, length: Size | None
) -> tuple[int, int]:
    """The address and length in bytes that are meant; *length* wins over that of *place*.

    Raises ValueError if nothing says how long it is.
    """
    addr, own = place_of(machine, task, place)
    size = own if length is None else parse_size(length)
    if size is None:
        raise ValueError(f"{place!r} is an address; expected a length with it")
    return addr, size


def place_of(machine: core.Machine, task: core_task.Task, place: Place) -> tuple[int, int | None]:
    """The address that is meant, and the length in bytes if there is one. Raises ValueError."""
    if isinstance(place, Region):
        return place.address, place.size
    if isinstance(place, int):
        return place, None
    return arguments.find_range(machine, task, place)


def set_of(kind: type[B], members: Set) -> B:
    """The nodes or the CPUs that are meant. Raises ValueError."""
    if isinstance(members, Bitmap):
        return kind(members)
    if isinstance(members, str):
        return kind.parse(members)
    listed = [members] if isinstance(members, int) else list(members)
    return kind.parse(",".join(str(member) for member in listed))
