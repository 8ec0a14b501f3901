"""Names for addresses: what the scenario calls a task's memory."""

from bisect import bisect_right
from collections.abc import Callable

from pymigrate.mm.machine import Machine, Task
from pymigrate.units import PAGE_SHIFT


def region_names(machine: Machine, task: Task) -> Callable[[int], str]:
    """A function from a page of *task* to the name of the region it lies in.

    A region that the task has by fork bears its parent's name for it; what no region covers is
    called by its address.
    """
    owners = [task.name]
    parents = {t.name: t.parent for t in machine.tasks.values()}
    while owners[-1] and parents.get(owners[-1]):
        owners.append(parents[owners[-1]])
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
