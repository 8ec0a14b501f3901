"""Compaction's migrate scanner: it goes up a zone and isolates pages that can be moved.

Mirrors isolate_migratepages() and isolate_migratepages_block(), mm/compaction.c.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate, takewhile

from pymigrate.mm.base.memmap import Frame, FrameFlag, FrameRun, looks_movable
from pymigrate.mm.base.pageblock import PAGEBLOCK_NR, MigrateType, block_ceil, block_floor
from pymigrate.mm.compact.control import CLUSTER, CompactControl
from pymigrate.mm.engine.migrate_ops import OPS, Method
from pymigrate.mm.engine.movable_ops import isolate_movable_page, putback_movable_page
from pymigrate.mm.frames.buddy import set_pageblocks
from pymigrate.mm.state.events import MigrateMode
from pymigrate.mm.state.node import Driver
from pymigrate.mm.state.trace import call_event
from pymigrate.records import NamedTuple

_NOT_LRU = FrameFlag.HUGETLB | FrameFlag.KERNEL | FrameFlag.MOVABLE | FrameFlag.CLEARED
_NOT_LRU |= FrameFlag.HWPOISON | FrameFlag.CONTIG


class _Piece(NamedTuple):
    """Frames [start, end): free (no frame), or in use."""

    start: int
    end: int
    frame: Frame | None


class _Block:
    """What was found in a pageblock so far."""

    def __init__(self, cc: CompactControl, at: int, end: int) -> None:
        self.cc, self.at, self.end = cc, at, end
        self.found: list[FrameRun] = []
        self.nr = self.scanned = 0
        # Async direct runs want whole blocks of the order: one page that stays spoils it.
        self.chunk = 1 << cc.order if cc.is_async_direct else 0
        self.next_skip = _next_multiple(at, self.chunk) if self.chunk else 0

    @property
    def wants_more(self) -> bool:
        """Whether fewer pages are isolated than are moved together."""
        return self.nr < CLUSTER or self.cc.finish_pageblock


def isolate_migratepages(cc: CompactControl) -> list[FrameRun]:
    """What the scanner takes from the next pageblock that is worth a look; maybe nothing."""
    at = cc.migrate_pfn
    while block_ceil(at + 1) <= cc.free_pfn:
        at_block = at == block_floor(at) or at == cc.zone.start
        run, foreign = cc.zone.pageblocks.at(at), cc.zone.foreign.at(at)
        if foreign is not None:
            at = _last_block(cc, foreign.start + foreign.nr)
        elif at_block and run is not None and run.skip and not cc.ignore_skip_hint:
            at = _last_block(cc, run.start + run.nr)
        elif not _is_source(cc, run.migratetype if run else MigrateType.MOVABLE):
            at = _last_block(cc, block_ceil(at + 1))
            _advance_cached(cc, at)
        elif at_block and (end := _barren_end(cc, at)) > at:
            _pass_barren(cc, at, end)
            return []
        else:
            return _isolate_block(cc, at, block_ceil(at + 1))
    cc.migrate_pfn = at
    return []


def of_drivers(cc: CompactControl, isolated: list[FrameRun]) -> list[tuple[Driver, int]]:
    """Those of *isolated* that are drivers' pages, by their numbers."""
    return [cc.owners.driven(start) for start, _, frame in isolated if looks_movable(frame)]


def put_back(cc: CompactControl, pages: list[tuple[Driver, int]]) -> None:
    """Give what of *pages* was isolated and did not move back: only drivers are told."""
    for driver, number in pages:
        putback_movable_page(cc.machine, driver, number)


def may_isolate(cc: CompactControl, frame: Frame) -> bool:
    """Whether the scanner takes a page for the LRU list it is on, or for its driver."""
    flags = frame.flags
    if looks_movable(frame):
        return not flags & FrameFlag.ISOLATED
    if frame.order or flags & _NOT_LRU:
        return False
    has_mapping = not (frame.is_anon or flags & FrameFlag.KSM) or flags & FrameFlag.SWAPCACHE
    if not has_mapping and frame.is_held:
        return False
    if has_mapping and not cc.has_fs:
        return False
    if flags & FrameFlag.MLOCKED and not cc.machine.compact_knobs.unevictable_allowed:
        return False
    if cc.mode == MigrateMode.SYNC:
        return True
    return not flags & FrameFlag.WRITEBACK and not _is_dirty_without_method(cc, frame)


def _is_dirty_without_method(cc: CompactControl, frame: Frame) -> bool:
    space = cc.machine.spaces.get(frame.owner)
    if frame.is_anon or space is None or not frame.flags & FrameFlag.DIRTY:
        return False
    return OPS[space.fs].method == Method.NONE


def _is_source(cc: CompactControl, kind: MigrateType) -> bool:
    """Async direct runs keep to blocks of their type. Mirrors suitable_migration_source()."""
    if not cc.is_async_direct:
        return True
    if cc.migratetype == MigrateType.MOVABLE:
        return kind in (MigrateType.MOVABLE, MigrateType.CMA)
    return kind == cc.migratetype


def _last_block(cc: CompactControl, end: int) -> int:
    """*end*, but not beyond the block of the free scanner."""
    return max(min(end, block_floor(cc.free_pfn)), cc.migrate_pfn)


def _barren_end(cc: CompactControl, at: int) -> int:
    """Where the whole pageblocks from *at* on end that hold nothing to isolate.

    They are alike to the scanner, so that it need not look at one after the other; only who
    watches sees it do so. An async direct run looks at less of each.
    """
    if cc.is_async_direct or _next_candidate(cc, at, block_ceil(at + 1)) is not None:
        return at
    end = block_ceil(at + 1)
    limit = min(block_floor(cc.free_pfn), _alike_until(cc, at))
    window = PAGEBLOCK_NR
    while end < limit and cc.machine.watch.events is None:
        window = min(window * 2, limit - end)
        found = _next_candidate(cc, end, end + window)
        if found is not None:
            return block_floor(found)
        end += window
    return end


def _alike_until(cc: CompactControl, at: int) -> int:
    """Where the pageblocks from *at* on end that have the same type and skip bit."""
    blocks = cc.zone.pageblocks
    run = blocks.at(at)
    if run is not None:
        return run.start + run.nr
    i, j = bisect_right(blocks.starts, at), bisect_right(cc.zone.foreign.starts, at)
    return min([*blocks.starts[i : i + 1], *cc.zone.foreign.starts[j : j + 1], cc.zone.end])


def _next_candidate(cc: CompactControl, at: int, end: int) -> int | None:
    """The first frame of [at, end) that the scanner would take."""
    return next(
        (run.start for run in cc.node.memmap.between(at, end) if may_isolate(cc, run.frame)), None
    )


def _pass_barren(cc: CompactControl, at: int, end: int) -> None:
    cc.migrate_pfn = end
    cc.migrate_scanned += end - at
    set_pageblocks(cc.zone, at, end, skip=True)
    _advance_cached(cc, end)
    _tell(cc, at, end, end - at, 0)


def _isolate_block(cc: CompactControl, at: int, end: int) -> list[FrameRun]:
    """Take what can be had of [at, end), which lies in one pageblock."""
    block = _Block(cc, at, end)
    _take_many(block)
    for piece in _pieces(cc, block.at, end) if block.wants_more else ():
        if not _take_piece(block, piece):
            break
    stop = min(block.at, end)
    cc.migrate_pfn = stop
    if stop == end and (not block.nr or cc.finish_pageblock):
        if block_floor(at) == at or at == cc.zone.start:
            set_pageblocks(cc.zone, at, end, skip=True)
        _advance_cached(cc, stop)
    _tell(cc, at, stop, block.scanned, block.nr)
    cc.migrate_scanned += block.scanned
    cc.machine.counters.add("compact_isolated", block.nr)
    return block.found


def _take_many(block: _Block) -> None:
    """Isolate the runs that the block begins with, as _take() would one after the other.

    It ends before one that stays, that a driver is asked for, or of which only a part is wanted.
    """
    cc = block.cc
    if block.chunk or cc.waiting:
        return
    runs = cc.node.memmap.between(block.at, block.end)
    frames = {run.frame for run in runs}
    taken = {f for f in frames if not looks_movable(f) and may_isolate(cc, f)}
    if len(taken) < len(frames):
        runs = [*takewhile(lambda run: run.frame in taken, runs)]
    sums = [*accumulate(run.nr for run in runs)]
    if not cc.finish_pageblock:
        del runs[bisect_right(sums, CLUSTER) :]
    if runs:
        end = runs[-1].start + runs[-1].nr
        block.found, block.nr = runs, sums[len(runs) - 1]
        block.scanned, block.at = end - block.at, end


def _take_piece(block: _Block, piece: _Piece) -> bool:
    """Go on over *piece*; False if the block ends for this time."""
    cc = block.cc
    while block.at < piece.end:
        if block.chunk and block.at >= block.next_skip:
            if block.nr:
                return False
            block.next_skip = _next_multiple(block.at, block.chunk)
        at = max(block.at, piece.start)
        if piece.frame is None:
            block.scanned += piece.end - at
            block.at = piece.end
        elif not may_isolate(cc, piece.frame) or at in cc.waiting:
            _fail(block, piece, at)
        elif not _take(block, piece, at):
            return False
    return True


def _take(block: _Block, piece: _Piece, at: int) -> bool:
    """Isolate pages of *piece* from *at* on; False once there are enough."""
    cc, frame = block.cc, piece.frame
    assert frame is not None
    nr = min(piece.end, block.next_skip if block.chunk else piece.end) - at
    if looks_movable(frame):
        driver, number = cc.owners.driven(at)
        if not isolate_movable_page(cc.machine, driver, number):
            _fail(block, _Piece(at, at + 1, frame), at)
            return True
        nr = 1
    elif not cc.finish_pageblock:
        nr = min(nr, CLUSTER - block.nr)
    if cc.waiting:
        nr = next((i for i in range(1, nr) if at + i in cc.waiting), nr)
    block.found.append(FrameRun(at, nr, frame))
    block.nr += nr
    block.scanned += nr
    block.at = at + nr
    return block.wants_more


def _fail(block: _Block, piece: _Piece, at: int) -> None:
    """Pages that stay: an async direct run gives up what they spoil."""
    frame = piece.frame
    assert frame is not None
    end = at + 1 if at in block.cc.waiting else piece.end
    if not block.chunk:
        block.scanned += end - at
        block.at = end
        return
    past = end if frame.order else at + 1
    block.scanned += past - at
    put_back(block.cc, of_drivers(block.cc, block.found))
    block.found, block.nr = [], 0
    block.at = max(block.next_skip, past)
    block.next_skip = _next_multiple(block.at, block.chunk)


def _pieces(cc: CompactControl, at: int, end: int) -> Iterator[_Piece]:
    for low, high, run in cc.node.memmap.spans(at, end):
        if run is None or not looks_movable(run.frame):
            yield _Piece(low, high, run.frame if run else None)
        else:  # a driver is asked for each
            yield from (_Piece(pfn, pfn + 1, run.frame) for pfn in range(low, high))


def _advance_cached(cc: CompactControl, pfn: int) -> None:
    """Let later runs begin behind *pfn*. Mirrors update_cached_migrate()."""
    state, pfn = cc.zone.compact, block_ceil(pfn)
    state.cached_migrate_async = max(state.cached_migrate_async, pfn)
    if cc.is_sync:
        state.cached_migrate_sync = max(state.cached_migrate_sync, pfn)


def _tell(cc: CompactControl, start: int, end: int, scanned: int, taken: int) -> None:
    text = f"range=({start:#x} ~ {end:#x}) nr_scanned={scanned} nr_taken={taken}"
    call_event(cc.machine, "mm_compaction_isolate_migratepages", text)


def _next_multiple(pfn: int, size: int) -> int:
    """The first multiple of *size* behind *pfn*. Mirrors block_end_pfn()."""
    return (pfn // size + 1) * size
