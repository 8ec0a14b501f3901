"""The events of the migration tracepoints as text."""

from bisect import bisect_right

from pymigrate.mm.machine import Machine
from pymigrate.mm.trace import Step
from pymigrate.units import PAGE_SHIFT


def lines(machine: Machine) -> list[str]:
    """A line for each event; an address is written as REGION+PAGE where a region has it."""
    regions = sorted(machine.regions.values(), key=lambda region: region.start)
    starts = [region.start for region in regions]
    out = []
    for event in machine.events or ():
        if isinstance(event, Step):
            continue
        if event.page is None:
            out.append(f"{event.name}: {event.text}")
            continue
        i = bisect_right(starts, event.page) - 1
        place = f"{event.page << PAGE_SHIFT:x}"
        if i >= 0 and event.page < starts[i] + regions[i].nr:
            place = f"{regions[i].name}+{event.page - starts[i]}"
        text = f", {event.text}" if event.text else ""
        out.append(f"{event.name}: addr={place}{text}")
    return out
