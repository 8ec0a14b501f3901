"""What a kernel thread does to drivers' pages: isolate them, move them, put them back."""

from collections.abc import Sequence

from pymigrate.errors import KernelError
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.engine.movable_ops import isolate_movable_page, putback_movable_page, queue_of
from pymigrate.mm.frames.placement import ThisNode
from pymigrate.mm.state.events import MigrateMode, MigrateReason
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Driver


def migrate_driver(
    machine: Machine, driver: Driver, numbers: Sequence[int], nid: int, mode: MigrateMode
) -> int:
    """Move pages *numbers* of *driver* to node *nid*; return how many isolated ones stayed.

    Raises KernelError ENODEV; ENOMEM with those that moved left moved. It is what compaction does
    to such pages, with the same reason.
    """
    if nid not in machine.memory_nodes:
        raise KernelError("ENODEV", f"node {nid} has no memory")
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
        for number in isolated:
            putback_movable_page(machine, driver, number)
    if result.is_enomem:
        raise KernelError("ENOMEM", f"node {nid} is full")
    return result.stayed
