"""Names for addresses: what the scenario calls a task's memory."""

from bisect import bisect_right
from collections.abc import Callable

from pymigrate.mm.state.address_space import UNNAMED, AddressSpace
from pymigrate.mm.state.machine import Machine, owners_of, regions_of
from pymigrate.mm.state.task import Region, Task
from pymigrate.units import PAGE_SHIFT, format_size


def region_finder(machine: Machine, task: Task) -> Callable[[int], Region | None]:
    """A function from a page of *task* to the region it lies in, if any.

    A region that the task has by fork is its parent's.
    """
    owners = owners_of(machine, task)
    known = sorted(
        (region.start, -owners.index(owner), region.nr, name, region)
        for (owner, name), region in machine.regions.items()
        if owner in owners
    )
    starts = [start for start, *_ in known]

    def find(page: int) -> Region | None:
        i = bisect_right(starts, page) - 1
        if i >= 0 and page < starts[i] + known[i][2]:
            return known[i][-1]
        return None

    return find


def region_names(machine: Machine, task: Task) -> Callable[[int], str]:
    """A function from a page of *task* to the name of the region it lies in.

    What no region covers is called by its address.
    """
    find = region_finder(machine, task)

    def name(page: int) -> str:
        region = find(page)
        return region.name if region else f"{page << PAGE_SHIFT:08x}"

    return name


def region_offsets(machine: Machine, task: Task) -> Callable[[int], str]:
    """A function from a page of *task* to ``REGION+OFFSET``: where in its region it lies."""
    find = region_finder(machine, task)

    def name(page: int) -> str:
        region = find(page)
        if region is None:
            return f"{page << PAGE_SHIFT:08x}"
        offset = (page - region.start) << PAGE_SHIFT
        return f"{region.name}+{format_size(offset)}" if offset else region.name

    return name


def object_name(machine: Machine, space: AddressSpace) -> str:
    """What a file or a shared memory object is called: its path.

    One without a name is called what the first process that maps it calls the memory.
    """
    if space.fs in UNNAMED:
        for task in machine.tasks.values():
            for region in regions_of(machine, task).values():
                vma = task.mm.find_vma(region.start)
                if vma and vma.space == space.space_id:
                    return region.name
    return space.path
