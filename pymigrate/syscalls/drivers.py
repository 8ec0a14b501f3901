"""What drivers' pages go through: a kernel thread moves them; a device takes a process's pages."""

from collections.abc import Sequence

from pymigrate.errors import KernelError
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.engine.movable_ops import isolate_movable_page, putback_movable_page, queue_of
from pymigrate.mm.faults.migrate_device import Moved, migrate_from_device, migrate_to_device
from pymigrate.mm.frames.placement import ThisNode
from pymigrate.mm.state.events import MigrateMode, MigrateReason
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Driver
from pymigrate.mm.state.task import Task
from pymigrate.syscalls.checks import system_call
from pymigrate.units import PAGE_SHIFT

RAM = "ram"


def migrate_driver(
    machine: Machine,
    driver: Driver,
    numbers: Sequence[int],
    nid: int,
    mode: MigrateMode,
    held: Sequence[int] = (),
) -> int:
    """Move pages *numbers* of *driver* to node *nid*; return how many isolated ones stayed.

    Somebody else has isolated those of *held* before, and puts them back when all is done.
    Raises KernelError ENODEV; ENOMEM with those that moved left moved. It is what compaction does
    to such pages, with the same reason.
    """
    if nid not in machine.memory_nodes:
        raise KernelError("ENODEV", f"node {nid} has no memory")
    others = [number for number in held if isolate_movable_page(machine, driver, number)]
    isolated = [number for number in numbers if isolate_movable_page(machine, driver, number)]
    try:
        result = migrate_pages(
            machine,
            machine.shell_of(0),
            queue_of(machine, driver, isolated),
            ThisNode(nid),
            MigrateReason.COMPACTION,
            mode=mode,
        )
    finally:
        for number in [*isolated, *others]:
            putback_movable_page(machine, driver, number)
    if result.is_enomem:
        raise KernelError("ENOMEM", f"node {nid} is full")
    return result.stayed


@system_call
def migrate_vma(machine: Machine, task: Task, addr: int, length: int, to: str) -> Moved:
    """Move the pages of *length* bytes of one mapping to the device called *to*, or back to RAM.

    Raises KernelError ENODEV, EINVAL.
    """
    a, b = addr >> PAGE_SHIFT, addr + length >> PAGE_SHIFT
    if to == RAM:
        return migrate_from_device(machine, task, a, b)
    if to not in machine.devices:
        raise KernelError("ENODEV", f"there is no device called {to}")
    return migrate_to_device(machine, task, machine.devices[to], a, b)
