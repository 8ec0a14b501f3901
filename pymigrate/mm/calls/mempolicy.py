"""What policies' calls move: migrate_pages() by pairs of nodes, mbind() what a policy misplaces.

Mirrors do_migrate_pages() and do_mbind(), mm/mempolicy.c.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pymigrate.errors import KernelError
from pymigrate.mm.base.why import Why
from pymigrate.mm.engine.folio_list import stays_of
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.engine.queue_folios import Queue, Walk
from pymigrate.mm.frames.lru_batches import lru_add_drain_all
from pymigrate.mm.frames.placement import ThisNode, from_index, placement
from pymigrate.mm.reclaim.room import FOR_CALLS
from pymigrate.mm.spaces.huge_memory import prepare_split
from pymigrate.mm.state.events import MigrateReason
from pymigrate.mm.state.machine import Machine, note_left
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.policy import Mempolicy, mpol_equal
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vma, is_migratable
from pymigrate.nodemask import Nodemask
from pymigrate.uapi import MPOL
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
    pairs = node_pairs(old, new, Nodemask.collect(machine.nodes))
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


def node_pairs(old: Nodemask, new: Nodemask, there: Nodemask) -> Iterator[tuple[int, int]]:
    """The moves from nodes that are *there* to others, in the order in which they are made.

    A node is emptied before it is filled, as far as that is possible. Other numbers of *old* have a
    rank, too, but nothing to be moved: a call may name all that a mask has room for.
    """
    left = set(old & there)
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


def do_mbind(
    machine: Machine,
    task: Task,
    a: int,
    b: int,
    policy: Mempolicy | None,
    walk: Walk,
) -> None:
    """Give pages [a, b) of *task* *policy*; find, and move, those that *walk* calls misplaced.

    Raises KernelError: EFAULT for a hole and EIO for a misplaced page (strict without a move)
    before anything changes; EIO (strict with a move) with the policy in force and everything
    moved that could be.
    """
    if walk.may_move:
        lru_add_drain_all(machine)
    queue = Queue(machine, walk)
    _queue_range(task, a, b, policy is None, queue)
    for vma, start, end in list(task.mm.parts(a, b)):
        _set_policy(machine, task, vma, start, end, policy)
    note_left(machine, queue.stays())
    failed = bool(queue.failed)
    if queue.slices:
        where = placement(machine, task, policy or task.policy)
        where = from_index(where, _index_base(machine, task, a, b, queue))
        reason = MigrateReason.MEMPOLICY_MBIND
        result = migrate_pages(machine, task, queue.slices, where, reason, room=FOR_CALLS)
        note_left(machine, result.stays())
        failed = failed or result.stayed > 0 or result.is_enomem
    if failed and walk.strict:
        raise KernelError("EIO", "a misplaced page stayed where it was")


def set_home_node(machine: Machine, task: Task, a: int, b: int, node: int) -> None:
    """Let the policies of [a, b) begin their search at *node*.

    Raises KernelError ENOENT, EOPNOTSUPP. Mirrors the loop of sys_set_mempolicy_home_node().
    """
    found = False
    for vma, start, end in list(task.mm.parts(a, b)):
        if vma.policy is None:
            continue
        found = True
        if vma.policy.mode not in (MPOL.BIND, MPOL.PREFERRED_MANY):
            raise KernelError("EOPNOTSUPP", "a home node goes with bind and preferred-many only")
        _set_policy(machine, task, vma, start, end, vma.policy._replace(home_node=node))
    if not found:
        raise KernelError("ENOENT", "no part of the range has a policy")


def _queue_range(task: Task, a: int, b: int, may_have_holes: bool, queue: Queue) -> None:
    """Queue the misplaced folios of [a, b). Mirrors queue_pages_test_walk() and what it calls."""
    walk = queue.walk
    at = a
    parts = list(task.mm.parts(a, b))
    if not parts:
        raise KernelError("EFAULT", "nothing is mapped in the range")
    for i, (vma, start, end) in enumerate(parts):
        follows = i + 1 < len(parts) and parts[i + 1][1] == end
        if not may_have_holes and (start > at or (end < b and not follows)):
            raise KernelError("EFAULT", "the range has a hole")
        at = end
        if walk.may_move and not walk.strict and not is_migratable(vma):
            queue.pass_over(task.mm, vma, start, end)
            continue
        if not (walk.strict or walk.may_move):
            continue
        queue.add_vma(task.mm, vma, start, end)
        if walk.strict and not walk.may_move and queue.failed:
            raise KernelError("EIO", "a page does not lie on the nodes that were named")


def _set_policy(
    machine: Machine, task: Task, vma: Vma, a: int, b: int, policy: Mempolicy | None
) -> None:
    """Let pages [a, b) of *vma* have *policy*. Mirrors mbind_range(), vma_replace_policy()."""
    if mpol_equal(vma.policy, policy):
        return
    vma = prepare_split(machine, task, vma, a, b)
    new = vma.part(a, b)
    new.policy = policy
    changed = task.mm.modify(machine.release, vma, a, b, new)
    space = machine.spaces[vma.space] if vma.space else None
    if space and space.is_shmem:
        space.set_policy(changed.pgoff, changed.nr, policy)


def _index_base(machine: Machine, task: Task, a: int, b: int, queue: Queue) -> int:
    """What is added to folio indexes where pages take turns: shared memory's inode number.

    It is that of the mapping, so it counts for private copies too: shmem_get_policy(). Where the
    first folio is a huge page, it gets the place that a fault would give it now.
    """
    run, picked, _, index = queue.slices[0]
    order, skip = run.order, picked[0] << run.order
    page = run.start + skip
    if order:
        vmas = (vma for vma, _, _ in task.mm.parts(a, b) if vma.start <= page < vma.end)
        return next((vma.turn(page, order) - (index + skip >> order) for vma in vmas), 0)
    vma = queue.first_vma
    space = machine.spaces[vma.space] if vma and vma.space else None
    return space.inode if space and space.is_shmem else 0
