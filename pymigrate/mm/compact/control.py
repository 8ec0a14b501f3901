"""One run of compaction over a zone: its parameters, its progress and how it ends.

It walks frames, and the engine takes pages: Owners knows which page a frame holds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from enum import IntEnum

from pymigrate.mm.base.memmap import Frame, FrameFlag
from pymigrate.mm.base.pageblock import MigrateType, block_floor
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.frames.buddy import NR_PAGE_ORDERS
from pymigrate.mm.spaces.rmap import page_of
from pymigrate.mm.state.events import MigrateMode
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import Driver, Node, Zone
from pymigrate.records import NamedTuple, field, record

WHOLE_ZONE = -1  # the order of a run that wants no block of some order
CLUSTER = 32  # COMPACT_CLUSTER_MAX: pages that are isolated and moved together


class CompactResult(IntEnum):
    """How a run ends (enum compact_result, linux/compaction.h)."""

    NOT_SUITABLE_ZONE = 0
    SKIPPED = 1
    DEFERRED = 2
    NO_SUITABLE_PAGE = 3
    CONTINUE = 4
    COMPLETE = 5
    PARTIAL_SKIPPED = 6
    CONTENDED = 7
    SUCCESS = 8


class CompactPriority(IntEnum):
    """How hard a direct compaction tries (enum compact_priority): the lower the harder."""

    SYNC_FULL = 0
    SYNC_LIGHT = 1
    ASYNC = 2


@record
class CompactControl:
    """One run over a zone: what it is told, and how far it has come (struct compact_control)."""

    machine: Machine
    node: Node
    zone: Zone
    owners: Owners
    cpu: int  # whose LRU batch is drained
    order: int = WHOLE_ZONE
    mode: MigrateMode = MigrateMode.SYNC
    migratetype: MigrateType = MigrateType.UNMOVABLE
    has_fs: bool = True  # __GFP_FS
    whole_zone: bool = False
    ignore_skip_hint: bool = False
    ignore_block_suitable: bool = False
    is_direct: bool = False
    is_proactive: bool = False
    finish_pageblock: bool = False
    migrate_pfn: int = 0
    free_pfn: int = 0
    checked_pfn: int = -1  # below it no suitable block is free
    nr_migratepages: int = 0
    freepages: list[list[int]] = field(default_factory=lambda: [[] for _ in range(NR_PAGE_ORDERS)])
    nr_freepages: int = 0
    migrate_scanned: int = 0
    free_scanned: int = 0
    moved: int = 0  # pages
    search_order: int = -1  # where the search of the free lists begins; -1: at the highest order
    fast_tops: dict[int, int] = field(default_factory=dict)  # above: no free block of that order
    captured: int = -1  # the first frame of a block that the run hands over
    waiting: frozenset[int] = frozenset()  # frames on no LRU list yet

    @property
    def is_sync(self) -> bool:
        """Whether it may wait."""
        return self.mode != MigrateMode.ASYNC

    @property
    def is_async_direct(self) -> bool:
        """Whether it only takes what is easily had."""
        return self.is_direct and not self.is_sync

    @property
    def is_met(self) -> bool:
        """Whether the scanners have met. Mirrors compact_scanners_met()."""
        return block_floor(self.free_pfn) <= block_floor(self.migrate_pfn)


MovedPage = tuple[int, int, int]  # a page as rmap.mappings() counts, its old and its new frame


class _Lane(NamedTuple):
    """*nr* frames from *start* hold every *step*-th page from *page* on."""

    start: int
    nr: int
    page: int
    step: int


class _Layer:
    """Frames that are found by one kind of table."""

    def __init__(self, runs: Iterable[PteRun]) -> None:
        self.pages: dict[int, int] = {}
        lanes: list[_Lane] = []
        for run in runs:
            k = len(run.lanes)
            if run.order or not k or run.flags & Pte.KSM:
                continue
            if k == run.nr and k > 1:
                self.pages.update(zip(run.lanes, range(run.start, run.end), strict=True))
            else:
                lanes += [
                    _Lane(pfn, run.count(i), run.start + i, k) for i, pfn in enumerate(run.lanes)
                ]
        self.lanes = sorted(lanes)
        self.starts = [lane.start for lane in self.lanes]

    def find(self, pfn: int) -> int | None:
        """The page that frame *pfn* holds."""
        page = self.pages.get(pfn)
        if page is None:
            i = bisect_right(self.starts, pfn) - 1
            if i >= 0 and pfn < self.lanes[i].start + self.lanes[i].nr:
                lane = self.lanes[i]
                page = lane.page + (pfn - lane.start) * lane.step
        return page


class Owners:
    """The pages of frames, as rmap.mappings() counts them, when a run begins; moves are told."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.is_stale = machine, True
        self.refresh()

    def refresh(self) -> None:
        """Look again, if pages have moved that nobody told of."""
        if not self.is_stale:
            return
        machine, self.is_stale = self.machine, False
        self.anon = _Layer(run for mm in machine.mms.values() for run in mm.named_runs())
        self.cached = _Layer(run for space in machine.spaces.values() for run in space.pages.runs)
        for node in machine.stable_tree.items:
            pfn, frame = page_of(machine, node)
            if frame is not None:
                self.anon.pages[pfn] = node
        self._driven: dict[int, tuple[Driver, int]] = {}

    def driven(self, pfn: int) -> tuple[Driver, int]:
        """The driver whose page frame *pfn* holds, and the page's number."""
        driver, number = self._driven.get(pfn, (None, 0))
        if driver is None or driver.pages[number] != pfn:  # pages have moved since
            self._driven = {
                there: (driver, number)
                for driver in self.machine.drivers.values()
                for number, there in enumerate(driver.pages)
            }
        return self._driven[pfn]

    def page(self, pfn: int, frame: Frame) -> int | None:
        """The page that frame *pfn* holds; None if no table has it."""
        return self._layer(frame).find(pfn)

    def pages_of(self, pfns: Sequence[int], frame: Frame) -> list[int] | None:
        """The pages that the frames *pfns*, all alike, hold; None if no table has one of them."""
        layer = self._layer(frame)
        found = [*map(layer.pages.get, pfns)]
        if None in found:
            found = [*map(layer.find, pfns)]
        pages = [page for page in found if page is not None]
        return pages if len(pages) == len(found) else None

    def moved(self, pages: Sequence[MovedPage], frame: Frame) -> None:
        """*pages*, whose frames are all alike, have other frames now."""
        known = self._layer(frame).pages
        for _, old, _ in pages:
            known.pop(old, None)
        known.update((new, page) for page, _, new in pages)

    def _layer(self, frame: Frame) -> _Layer:
        is_mapped = frame.is_anon or frame.flags & FrameFlag.KSM
        return self.anon if is_mapped else self.cached
