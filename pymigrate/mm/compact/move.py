"""What compaction's scanners have isolated is moved: pages to the frames of the free scanner."""

from __future__ import annotations

from itertools import pairwise

from pymigrate.mm.base.memmap import Frame, FrameRun, looks_movable
from pymigrate.mm.base.pageblock import PAGEBLOCK_ORDER, MigrateType
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import extents_in_order
from pymigrate.mm.compact.control import CompactControl, MovedPage
from pymigrate.mm.compact.free_scanner import compaction_alloc, compaction_free
from pymigrate.mm.compact.migrate_scanner import of_drivers, put_back
from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.engine.migrate import migrate_pages
from pymigrate.mm.engine.migrate_bulk import Moves
from pymigrate.mm.engine.migrate_ops import surely_moves
from pymigrate.mm.engine.room import InFrames
from pymigrate.mm.frames.buddy import migratetype_of
from pymigrate.mm.frames.frames import frame_of
from pymigrate.mm.frames.placement import ThisNode
from pymigrate.mm.state.events import MigrateReason
from pymigrate.mm.state.trace import call_event
from pymigrate.records import NamedTuple


class Moved(NamedTuple):
    """How many pages stayed of those that were to move, and whether frames ran out."""

    stayed: int
    is_enomem: bool


def move_isolated(cc: CompactControl, isolated: list[FrameRun]) -> Moved:
    """Move what was isolated, the last first, as it lies on the kernel's list."""
    pairs = [
        (pfn, frame)
        for start, nr, frame in reversed(isolated)
        for pfn in range(start + nr - 1, start - 1, -1)
    ]
    targets = compaction_alloc(cc, len(pairs))
    machine = cc.machine
    pages = _plain_pages(cc, pairs, targets)
    if pages is None:
        of_driver = of_drivers(cc, isolated)
        try:
            succeeded, is_enomem = _move_watched(cc, pairs, targets)
        finally:
            put_back(cc, of_driver)
    else:
        succeeded, is_enomem = len(pairs), False
        _move_at_once(cc, pages)
    text = f"nr_migrated={succeeded} nr_failed={len(pairs) - succeeded}"
    call_event(machine, "mm_compaction_migratepages", text)
    cc.nr_migratepages, cc.moved = 0, cc.moved + succeeded
    if cc.is_direct and succeeded:
        _capture(cc, [pfn for pfn, _ in pairs])
    return Moved(len(pairs) - succeeded, is_enomem)


def _plain_pages(
    cc: CompactControl, pairs: list[tuple[int, Frame]], targets: list[int]
) -> dict[Frame, list[MovedPage]] | None:
    """Which page goes where, by the state of the frames, in the order of the pages.

    None if that must be seen page by page, or if something can fail.
    """
    machine = cc.machine
    if machine.is_watched or len(targets) < len(pairs):
        return None
    frames: dict[Frame, tuple[list[int], list[int]]] = {}
    for (pfn, frame), new in zip(pairs, targets, strict=True):
        old, to = frames.setdefault(frame, ([], []))
        old.append(pfn)
        to.append(new)
    moving = {}
    for frame, (old, to) in sorted(frames.items()):
        pages = cc.owners.pages_of(old, frame) if surely_moves(machine, frame) else None
        if pages is None:
            return None
        moving[frame] = sorted(zip(pages, old, to, strict=True))
    return moving


def _move_at_once(cc: CompactControl, moving: dict[Frame, list[MovedPage]]) -> None:
    """Move pages that nothing can go wrong with.

    The free scanner's frames go to the pages one by one, so it makes no difference in which order
    those are moved; neighbours that are alike are moved as one run.
    """
    moves = Moves(cc.machine, MigrateReason.COMPACTION)
    for frame, pages in moving.items():
        cuts = [i for i in range(1, len(pages)) if pages[i][0] != pages[i - 1][0] + 1]
        for first, end in pairwise([0, *cuts, len(pages)]):
            part = pages[first:end]
            moves.place(_neighbours(part, frame), extents_in_order([new for _, _, new in part]))
    moves.commit()
    for frame, pages in moving.items():
        cc.owners.moved(pages, frame)
        cc.machine.counters.add("pgmigrate_success", len(pages))


def _neighbours(pages: list[MovedPage], frame: Frame) -> Slice:
    """Consecutive pages that are alike."""
    page, first, _ = pages[0]
    pfns = tuple([old for _, old, _ in pages])
    is_extent = pfns == tuple(range(first, first + len(pages)))
    lanes = (first,) if is_extent else pfns
    return Slice.whole(PteRun(page, len(pages), lanes, 0, 0), frame, page)


def _move_watched(
    cc: CompactControl, pairs: list[tuple[int, Frame]], targets: list[int]
) -> tuple[int, bool]:
    """Move pages one by one, for somebody watches or something can go wrong; how many moved."""
    machine = cc.machine
    queue = []
    for pfn, frame in pairs:
        if looks_movable(frame):
            frame = frame_of(machine, pfn)
            page: int | None = cc.owners.driven(pfn)[1]
        else:
            page = cc.owners.page(pfn, frame)
        if page is None:
            continue
        run = PteRun(page, 1, (pfn,), 0, Pte.PRESENT)
        queue.append(Slice.whole(run, frame, page))
    where = ThisNode(cc.node.nid)
    reason = MigrateReason.COMPACTION
    try:
        result = migrate_pages(
            machine, machine.shell_of(0), queue, where, reason, cc.mode, InFrames(targets)
        )
    finally:
        used, free = cc.node.memmap, cc.zone.free
        compaction_free(cc, [pfn for pfn in targets if not used.at(pfn) and not free.at(pfn)])
        cc.owners.is_stale = True
    return result.succeeded, result.is_enomem


def _capture(cc: CompactControl, freed: list[int]) -> None:
    """Keep a block of the order that has just become free for the allocation that wants it.

    Mirrors compaction_capture().
    """
    zone, order = cc.zone, cc.order
    for pfn in freed:
        extent = zone.free.at(pfn)
        low = pfn >> order << order
        if extent is None or low < extent.start or low + (1 << order) > extent.start + extent.nr:
            continue
        kind = migratetype_of(zone, low)
        if kind in (MigrateType.CMA, MigrateType.ISOLATE):
            continue
        if order < PAGEBLOCK_ORDER and kind == MigrateType.MOVABLE != cc.migratetype:
            continue
        zone.free.put(low, low + (1 << order))
        zone.nr_free -= 1 << order
        cc.captured = low
        return
