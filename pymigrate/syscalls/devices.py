"""What a device's driver does to a process's pages: they go to the device, or come back."""

from pymigrate.errors import KernelError
from pymigrate.mm.faults.migrate_device import Moved, migrate_from_device, migrate_to_device
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.units import PAGE_SHIFT

RAM = "ram"


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
