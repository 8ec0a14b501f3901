"""Why pages stayed where they are: those of a task that a migration from some nodes left there."""

from collections.abc import Sequence
from typing import NamedTuple

from pymigrate.mm.frames import uniform_parts
from pymigrate.mm.machine import Machine, Task
from pymigrate.mm.memmap import Frame, nid_of
from pymigrate.mm.pte import Pte
from pymigrate.mm.vma import is_migratable
from pymigrate.views.regions import region_names

SHARED = "mapped more than once (only a caller with CAP_SYS_NICE moves such pages)"
PINNED = "pinned"
HELD = "held by another reference"
UNMOVABLE = "in a mapping that is never migrated"
NO_ROOM = "the target node is full"
OTHER = "the call ended before their turn"


class Stayed(NamedTuple):
    """*nr* pages of one mapping, on one node, for one reason."""

    mapping: str
    node: int
    nr: int
    why: str


def rows(
    machine: Machine,
    task: Task,
    pairs: Sequence[tuple[int, int]],
    *,
    move_all: bool,
    is_full: bool,
) -> list[Stayed]:
    """The pages of *task* that moves from node to node (*pairs*) have left, and why.

    *move_all*: shared ones were to move too; *is_full*: the call ended for want of memory. On a
    node that pages have also come to, only those are named that cannot have moved.
    """
    nodes = {source for source, _ in pairs}
    filled = {dest for _, dest in pairs}
    found: dict[tuple[str, int, str], int] = {}
    names = region_names(machine, task)
    for vma in task.mm.vmas:
        for run in task.mm.page_table.between(vma.start, vma.end):
            if not run.lanes or not run.flags & Pte.PRESENT:
                continue
            for part, frames in uniform_parts(machine, run):
                for lane, pfn in enumerate(part.lanes):
                    if nid_of(pfn) in nodes:
                        frame = frames[lane % len(frames)]
                        why = _why(frame, is_migratable(vma), move_all, is_full)
                        if why in (NO_ROOM, OTHER) and nid_of(pfn) in filled:
                            continue
                        key = names(part.start), nid_of(pfn), why
                        found[key] = found.get(key, 0) + part.count(lane)
    return [Stayed(mapping, node, nr, why) for (mapping, node, why), nr in found.items()]


def format_rows(task: Task, stayed: list[Stayed], verb: str = "stayed") -> list[str]:
    """A line for each reason; *verb* is what the pages did."""
    lines = []
    for why in dict.fromkeys(row.why for row in stayed):
        group = [row for row in stayed if row.why == why]
        total = sum(row.nr for row in group)
        where = ", ".join(f"{row.nr} of {row.mapping} on node {row.node}" for row in group)
        plural = "" if total == 1 else "s"
        lines.append(f"{total} page{plural} of process {task.pid} {verb}: {why}: {where}")
    return lines


def _why(frame: Frame, movable: bool, move_all: bool, is_full: bool) -> str:
    if not movable:
        return UNMOVABLE
    if frame.likely_shared and not move_all:
        return SHARED
    if frame.pins:
        return PINNED
    if frame.extra_refs:
        return HELD
    return NO_ROOM if is_full else OTHER
