"""What compaction's scanners have isolated is moved: pages to the frames of the free scanner."""

from __future__ import annotations

from pymigrate.mm.base.memmap import Frame, looks_movable
from pymigrate.mm.base.pageblock import PAGEBLOCK_ORDER, MigrateType
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import extents_in_order
from pymigrate.mm.compact.control import CompactControl
from pymigrate.mm.compact.free_scanner import compaction_alloc, compaction_free
from pymigrate.mm.compact.migrate_scanner import Isolated, of_drivers, put_back
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


class _Page(NamedTuple):
    """A page that moves: its number, as rmap.mappings() counts, and its frames."""

    page: int
    old: int
    new: int
    frame: Frame


def move_isolated(cc: CompactControl, isolated: list[Isolated]) -> Moved:
    """Move what was isolated, the last first, as it lies on the kernel's list."""
    pairs = [
        (pfn, frame)
        for start, nr, frame in reversed(isolated)
        for pfn in range(start + nr - 1, start - 1, -1)
    ]
    targets = compaction_alloc(cc, len(pairs))
    machine = cc.machine
    pages = _plain_pages(cc, isolated, pairs, targets)
    if pages is None:
        of_driver = of_drivers(cc, isolated)
        try:
            succeeded, is_enomem = _move_watched(cc, pairs, targets)
        finally:
            put_back(cc, of_driver)
    else:
        succeeded, is_enomem = len(pages), False
        _move_at_once(cc, pages)
    text = f"nr_migrated={succeeded} nr_failed={len(pairs) - succeeded}"
    call_event(machine, "mm_compaction_migratepages", text)
    cc.nr_migratepages, cc.moved = 0, cc.moved + succeeded
    if cc.is_direct and succeeded:
        _capture(cc, [pfn for pfn, _ in pairs])
    return Moved(len(pairs) - succeeded, is_enomem)


def _plain_pages(
    cc: CompactControl,
    isolated: list[Isolated],
    pairs: list[tuple[int, Frame]],
    targets: list[int],
) -> list[_Page] | None:
    """Which page goes where; None if that must be seen page by page, or if something can fail."""
    machine = cc.machine
    if machine.is_watched or len(targets) < len(pairs):
        return None
    if not all(surely_moves(machine, frame) for frame in {part.frame for part in isolated}):
        return None
    pages = []
    for (pfn, frame), new in zip(pairs, targets, strict=True):
        page = cc.owners.page(pfn, frame)
        if page is None:
            return None
        pages.append(_Page(page, pfn, new, frame))
    return pages


def _move_at_once(cc: CompactControl, pages: list[_Page]) -> None:
    """Move pages that nothing can go wrong with.

    The free scanner's frames go to the pages one by one, so it makes no difference in which order
    those are moved; neighbours that are alike are moved as one run.
    """
    moves = Moves(cc.machine, MigrateReason.COMPACTION)
    pages.sort(key=lambda page: (page.frame, page.page))
    first = 0
    for i in range(1, len(pages) + 1):
        if i < len(pages):
            last, page = pages[i - 1], pages[i]
            if page.frame == last.frame and page.page == last.page + 1:
                continue
        moves.place(
            _neighbours(pages[first:i]), extents_in_order(page.new for page in pages[first:i])
        )
        first = i
    moves.commit()
    for page in pages:
        cc.owners.moved(page.old, page.new, page.page, page.frame)
    cc.machine.counters.add("pgmigrate_success", len(pages))


def _neighbours(pages: list[_Page]) -> Slice:
    """Consecutive pages that are alike."""
    page, pfns = pages[0], tuple([page.old for page in pages])
    is_extent = pfns == tuple(range(page.old, page.old + len(pages)))
    lanes = (page.old,) if is_extent else pfns
    return Slice.whole(PteRun(page.page, len(pages), lanes, 0, 0), page.frame, page.page)


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
