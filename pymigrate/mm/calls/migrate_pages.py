"""migrate_pages(): pairs of nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pymigrate.errors import KernelError
from pymigrate.mm.base.why import Why
from pymigrate.mm.engine.folio_list import stays_of
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.engine.queue_folios import Queue, Walk
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.frames.placement import ThisNode
from pymigrate.mm.reclaim.room import FOR_CALLS
from pymigrate.mm.state.machine import Machine, note_left
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import is_migratable
from pymigrate.nodemask import Nodemask
from pymigrate.units import END_OF_MEMORY


def do_migrate_pages(
    machine: Machine, caller: Task, mm: Mm, old: Nodemask, new: Nodemask, move_all: bool
) -> int:
    """Move the pages of *mm* from nodes *old* to nodes *new*, pair by pair.

    Returns how many folios stayed behind. Raises KernelError ENOMEM with those that moved left
    moved. Mirrors do_migrate_pages(), mm/mempolicy.c.
    """
    lru_add_drain_all(machine)
    stayed = 0
    pairs = node_pairs(old, new)
    for source, dest in pairs:
        queue = _queue(machine, mm, source, move_all)
        stayed += queue.failed
        note_left(machine, queue.stays())
        if not queue.slices:
            continue
        result = migrate_pages(machine, caller, queue.slices, ThisNode(dest), room=FOR_CALLS)
        note_left(machine, result.stays())
        if result.is_enomem:
            if machine.watch.left is not None:
                _note_others(machine, mm, [source for source, _ in pairs], move_all)
            raise KernelError("ENOMEM", f"node {dest} is full")
        stayed += result.stayed
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


def _queue(machine: Machine, mm: Mm, source: int, move_all: bool) -> Queue:
    """The pages on one node that are to go to another. Mirrors migrate_to_node()."""
    queue = Queue(machine, Walk(lambda nid: nid == source, not move_all, move_all))
    node = machine.nodes.get(source)
    if node is None or not node.memmap.runs:
        return queue
    for vma, a, b in mm.parts(0, END_OF_MEMORY):
        if is_migratable(vma):
            queue.add_vma(mm, vma, a, b)
        else:
            queue.pass_over(mm, vma, a, b)
    return queue


def _note_others(machine: Machine, mm: Mm, sources: Iterable[int], move_all: bool) -> None:
    """Note the pages of the pairs that the call did not come to."""
    for source in sources:
        queue = _queue(machine, mm, source, move_all)
        note_left(machine, queue.stays())
        note_left(machine, stays_of((part, Why.ENDED) for part in queue.slices))
