"""Names for addresses: what the scenario calls a task's memory."""

from bisect import bisect_right
from collections.abc import Callable

from pymigrate.mm.state.machine import Machine, owners_of, regions_of
from pymigrate.mm.state.task import Task
from pymigrate.units import PAGE_SHIFT, format_size


def region_names(machine: Machine, task: Task) -> Callable[[int], str]:
    """A function from a page of *task* to the name of the region it lies in.

    A region that the task has by fork bears its parent's name for it; what no region covers is
    called by its address.
    """
    owners = owners_of(machine, task)
    known = sorted(
        (region.start, -owners.index(owner), region.nr, name)
        for (owner, name), region in machine.regions.items()
        if owner in owners
    )
    starts = [start for start, *_ in known]

    def name(page: int) -> str:
        i = bisect_right(starts, page) - 1
        if i >= 0 and page < starts[i] + known[i][2]:
            return known[i][3]
        return f"{page << PAGE_SHIFT:08x}"

    return name


def region_offsets(machine: Machine, task: Task) -> Callable[[int], str]:
    """A function from a page of *task* to ``REGION+OFFSET``: where in its region it lies."""
    names, known = region_names(machine, task), regions_of(machine, task)

    def name(page: int) -> str:
        called = names(page)
        offset = page - known[called].start if called in known else 0
        return f"{called}+{format_size(offset << PAGE_SHIFT)}" if offset > 0 else called

    return name
