"""migrate_pages(): pairs of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.errors import KernelError
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.engine.queue_folios import Queue, Walk
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.frames.placement import ThisNode
from pymigrate.mm.reclaim.room import FOR_CALLS
from pymigrate.mm.state.vma import is_migratable
from pymigrate.units import END_OF_MEMORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymigrate.mm.state.machine import Machine
    from pymigrate.mm.state.mm import Mm
    from pymigrate.mm.state.task import Task
    from pymigrate.nodemask import Nodemask


def do_migrate_pages(
    machine: Machine, caller: Task, mm: Mm, old: Nodemask, new: Nodemask, move_all: bool
) -> int:
    """Move the pages of *mm* from nodes *old* to nodes *new*, pair by pair.

    Returns how many folios stayed behind. Raises KernelError ENOMEM with those that moved left
    moved. Mirrors do_migrate_pages(), mm/mempolicy.c.
    """
    lru_add_drain_all(machine)
    stayed = 0
    for source, dest in node_pairs(old, new):
        stayed += _migrate_to_node(machine, caller, mm, source, dest, move_all)
    return stayed


def node_pairs(old: Nodemask, new: Nodemask) -> Iterator[tuple[int, int]]:
    """The moves from node to node, in the order in which they are made.

    A node is emptied before it is filled, as far as that is possible.
    """
    left = set(old)
    while True:
        found = None
        for source in sorted(left):
            if len(old) != len(new) and source in new:
                continue
            dest = old.remap(source, new)
            if source == dest:
                continue
            found = source, dest
            if dest not in left:
                break
        if found is None:
            return
        left.discard(found[0])
        yield found


def _migrate_to_node(
    machine: Machine, caller: Task, mm: Mm, source: int, dest: int, move_all: bool
) -> int:
    """Move the pages on one node to another. Mirrors migrate_to_node()."""
    queue = Queue(machine, Walk(lambda nid: nid == source, not move_all, move_all))
    node = machine.nodes.get(source)
    if node is None or not node.memmap.runs:
        return 0
    for vma, a, b in mm.parts(0, END_OF_MEMORY):
        if is_migratable(vma):
            queue.add_vma(mm, vma, a, b)
    if not queue.slices:
        return queue.failed
    result = migrate_pages(machine, caller, queue.slices, ThisNode(dest), room=FOR_CALLS)
    if result.is_enomem:
        raise KernelError("ENOMEM", f"node {dest} is full")
    return queue.failed + result.stayed
