"""Compaction: base pages go from the low end of a zone to free frames at its high end.

Whole zones are compacted, as vm.compact_memory asks for: the migrate scanner goes up and the free
scanner down, pageblock by pageblock, until they meet. Mirrors mm/compaction.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pymigrate.mm.folio_list import Slice
from pymigrate.mm.ksm import page_of
from pymigrate.mm.memmap import FrameFlag
from pymigrate.mm.mempolicy import Placement
from pymigrate.mm.migrate import migrate_pages
from pymigrate.mm.migrate_bulk import Moves
from pymigrate.mm.migrate_ops import OPS
from pymigrate.mm.pte import Pte, PteRun
from pymigrate.mm.runs import Extent, RunMap
from pymigrate.mm.trace import MigrateReason
from pymigrate.units import HPAGE_PMD_NR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymigrate.mm.machine import Machine, Node, Zone
    from pymigrate.mm.memmap import Frame, FrameRun

PAGEBLOCK_NR = HPAGE_PMD_NR
CLUSTER = 32  # COMPACT_CLUSTER_MAX: pages that are isolated and moved together
_FIXED = FrameFlag.HUGETLB | FrameFlag.MOVABLE | FrameFlag.CLEARED | FrameFlag.WRITEBACK
_FIXED |= FrameFlag.LOCKED | FrameFlag.LOCKED_BUFFER


class Place(NamedTuple):
    """*nr* frames from *start* that hold consecutive pages of an owner, from *page* on."""

    start: int
    nr: int
    page: int
    flags: int  # of an entry that maps them

    def cuts(self, at: int) -> tuple[int, int]:
        """It can be cut anywhere."""
        return at, at

    def split(self, at: int) -> tuple[Place, Place]:
        """Cut before frame *at*."""
        nr = at - self.start
        return (
            Place(self.start, nr, self.page, self.flags),
            Place(at, self.nr - nr, self.page + nr, self.flags),
        )

    def join(self, tail: Place) -> Place | None:
        """Never: it costs more than it gives."""
        return None


def compact_memory(machine: Machine) -> None:
    """Compact every zone of every node. Mirrors compact_nodes()."""
    places = _places(machine)
    for _, node in sorted(machine.nodes.items()):
        for zone in node.zones:
            _compact_zone(machine, node, zone, places)


def _compact_zone(machine: Machine, node: Node, zone: Zone, places: RunMap[Place]) -> None:
    """Mirrors compact_zone() for order -1, which ends when the scanners meet."""
    pairs, meeting = _plan(machine, node, zone)
    nr = sum(pair[2] for pair in pairs)
    counters = machine.counters
    counters.add("compact_migrate_scanned", meeting - zone.start)
    counters.add("compact_free_scanned", zone.end - meeting)
    counters.add("compact_isolated", 2 * nr)
    if machine.events is not None:
        _move_watched(machine, node, zone, pairs, places)
    elif pairs:
        _move(machine, node, zone, pairs, places)


def _plan(machine: Machine, node: Node, zone: Zone) -> tuple[list[tuple[int, int, int]], int]:
    """Which frames go where, as (old, new, number), and where the scanners meet."""
    free = list(zone.free.runs)
    pairs: list[tuple[int, int, int]] = []
    end = zone.end
    for used in node.memmap.between(zone.start, zone.end):
        if not _is_movable(machine, used.frame):
            continue
        at = used.start
        while at < used.start + used.nr:
            block_end = (at // PAGEBLOCK_NR + 1) * PAGEBLOCK_NR
            wanted = min(used.start + used.nr, block_end) - at
            while wanted and free and free[-1].start + free[-1].nr > block_end:
                last = free.pop()
                room = last.start + last.nr - max(last.start, block_end)
                nr = min(wanted, room)
                new = last.start + last.nr - nr
                pairs.append((at, new, nr))
                if last.nr > nr:
                    free.append(Extent(last.start, last.nr - nr))
                at, wanted, end = at + nr, wanted - nr, new
            if wanted:
                return pairs, max(min(end, block_end), zone.start)
    return pairs, end


def _is_movable(machine: Machine, frame: Frame) -> bool:
    """Whether the migrate scanner isolates a page, and nothing keeps it from moving."""
    if frame.order or frame.is_held or frame.flags & _FIXED:
        return False
    if frame.is_anon:
        return True
    return frame.owner in machine.spaces and OPS[machine.spaces[frame.owner].fs].always_moves


def _places(machine: Machine) -> RunMap[Place]:
    """Whose pages the frames of base pages hold."""
    found: dict[int, Place] = {}
    tables = [(mm.page_table, True) for mm in machine.mms.values()]
    tables += [(space.pages, False) for space in machine.spaces.values()]
    for table, is_anon in tables:
        for run in table.runs:
            if not run.order and run.lanes and not run.flags & Pte.KSM:
                for place in _places_of(run):
                    # What is mapped of a file is found by its cache, which comes later.
                    if not is_anon or place.start not in found:
                        found[place.start] = place
    for node in machine.stable_tree.items:
        pfn, frame = page_of(machine, node)
        if frame is not None:
            found[pfn] = Place(pfn, 1, node, 0)
    return _disjoint(sorted(found.values()))


def _places_of(run: PteRun) -> Iterator[Place]:
    if len(run.lanes) == 1:
        yield Place(run.lanes[0], run.nr, run.start, run.flags)
        return
    for entry in run.entries():
        yield Place(entry.lanes[0], 1, entry.start, entry.flags)


def _disjoint(places: list[Place]) -> RunMap[Place]:
    """*places* (sorted) without what lies in two of them."""
    out: list[Place] = []
    end = -1
    for place in places:
        if place.start + place.nr <= end:
            continue
        kept = place.split(end)[1] if place.start < end else place
        out.append(kept)
        end = kept.start + kept.nr
    return RunMap(out)


def _moving(
    node: Node, pairs: list[tuple[int, int, int]], places: RunMap[Place]
) -> Iterator[tuple[Place, int, FrameRun]]:
    """The frames that move, cut where owners or states differ: place, new frame, old frames."""
    for old, new, nr in pairs:
        for place in places.between(old, old + nr):
            for found in node.memmap.between(place.start, place.start + place.nr):
                _, inside = place.split(found.start) if found.start > place.start else (None, place)
                part = inside.split(found.start + found.nr)[0] if inside.nr > found.nr else inside
                yield part, new + part.start - old, found


def _move(
    machine: Machine,
    node: Node,
    zone: Zone,
    pairs: list[tuple[int, int, int]],
    places: RunMap[Place],
) -> None:
    """Move all pairs at once."""
    moves, moved = Moves(machine), 0
    for place, new, found in list(_moving(node, pairs, places)):
        target = Extent(new, place.nr)
        zone.free.put(new, new + place.nr)
        zone.nr_free -= place.nr
        moves.frames.set([target], found.frame)
        moves.old.append(Extent(place.start, place.nr))
        moves.add(
            PteRun(place.page, place.nr, (place.start,), 0, 0),
            PteRun(place.page, place.nr, (new,), 0, 0),
            found.frame,
        )
        moved += place.nr
    moves.commit()
    machine.counters.add("pgmigrate_success", moved)


def _move_watched(
    machine: Machine,
    node: Node,
    zone: Zone,
    pairs: list[tuple[int, int, int]],
    places: RunMap[Place],
) -> None:
    """Move the pairs as the kernel does, some at a time, for somebody watches."""
    queue: list[Slice] = []
    targets: list[int] = []
    for place, new, found in list(_moving(node, pairs, places)):
        for i in range(place.nr):
            run = PteRun(place.page + i, 1, (place.start + i,), 0, place.flags | Pte.PRESENT)
            queue.append(Slice(run, (0,), (found.frame,), place.page + i))
            targets.append(new + i)
    for start in range(0, len(queue), CLUSTER):
        fresh = targets[start : start + CLUSTER]
        for pfn in fresh:
            zone.free.put(pfn, pfn + 1)
            zone.nr_free -= 1
        migrate_pages(
            machine,
            machine.shell,
            queue[start : start + CLUSTER],
            Placement((node.nid,), this_node=True),
            MigrateReason.COMPACTION,
            targets=fresh,
        )
