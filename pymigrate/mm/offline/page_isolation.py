"""Ranges of frames that nobody may allocate, and the folios in them, which are to go elsewhere.

Mirrors mm/page_isolation.c, and how its users find what lies in a range.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pymigrate.mm.base.memmap import (
    Frame,
    FrameFlag,
    FrameRun,
    States,
    is_pooled,
    looks_movable,
    nid_of,
)
from pymigrate.mm.base.pageblock import MigrateType
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.engine.movable_ops import (
    driver_of,
    isolate_movable_page,
    putback_movable_page,
    queue_of,
)
from pymigrate.mm.frames.frames import folio_of
from pymigrate.mm.spaces.rmap import page_of
from pymigrate.mm.state.machine import Machine, telling
from pymigrate.mm.state.node import Driver, Isolated
from pymigrate.records import NamedTuple


class InRange(NamedTuple):
    """Folios that were isolated, and which pages of drivers are among them."""

    queue: list[Slice]
    driver_pages: list[tuple[Driver, int]]


def has_unmovable_pages(machine: Machine, a: int, b: int) -> str:
    """What in frames [a, b) of a zone can never move; "" if there is nothing.

    Pages that are pinned, or that their file system keeps, are not known to stay before it is
    tried. Mirrors has_unmovable_pages() for MIGRATE_MOVABLE.
    """
    zone = machine.nodes[nid_of(a)].zone_of(a)
    blocks = zone.pageblocks.between(a, b)
    if any(block.migratetype == MigrateType.CMA for block in blocks):
        return "a part of it is kept for CMA"
    if zone.name == "movable":
        return ""
    kernel = [r for r in machine.memmap_of(a).between(a, b) if is_kernel(r.frame)]
    nr = sum(run.nr for run in kernel)
    return f"the kernel's own memory ({nr} page{'s' if nr > 1 else ''})" if nr else ""


def is_kernel(frame: Frame) -> bool:
    """Whether a page is the kernel's own, which never moves."""
    return bool(frame.flags & (FrameFlag.KERNEL | FrameFlag.CONTIG))


@contextmanager
def isolated_page_range(machine: Machine, a: int, b: int) -> Iterator[Isolated]:
    """Let nobody allocate of frames [a, b), which lie in one zone, while the block runs.

    Free ones count as used. At the end what is free of them may be allocated again: the block takes
    out of it what it wants to keep. Mirrors start_isolate_page_range(), undo_isolate_page_range().
    """
    assert machine.scope.isolated is None, "one range is isolated at a time"
    zone = machine.nodes[nid_of(a)].zone_of(a)
    isolated = Isolated(a, b, RunMap(zone.free.between(a, b)))
    zone.free.put(a, b)
    zone.nr_free -= isolated.nr_free
    try:
        with telling(machine, machine.scope._replace(isolated=isolated)):
            yield isolated
    finally:
        zone.free.insert(isolated.free.runs)
        zone.nr_free += isolated.nr_free


def movable_runs(machine: Machine, a: int, b: int) -> list[FrameRun]:
    """The frames of [a, b) in use that are to go elsewhere. Mirrors scan_movable_pages()."""
    return [
        run
        for run in machine.memmap_of(a).between(a, b)
        if not is_pooled(run.frame) and not run.frame.flags & FrameFlag.HWPOISON
    ]


def isolate_range(
    machine: Machine, a: int, b: int, driver_pages: list[tuple[Driver, int]] | None = None
) -> InRange:
    """The folios that begin in frames [a, b), off their lists, for the engine to move.

    Pages of drivers are those of *driver_pages* that are still there, if they were isolated before.
    All come highest frame first, as the kernel adds each to the head of its list; where nobody
    watches, runs of them stay whole. Mirrors isolate_folio_to_list().
    """
    found = _Folios(machine, a, b)
    found.add_mapped()
    parts = found.parts
    if driver_pages is None:
        driver_pages = _isolate_driver_pages(machine, found.runs)
    for driver, number in driver_pages:
        if a <= driver.pages[number] < b:
            parts += queue_of(machine, driver, [number])
    if machine.is_watched:
        parts = [one for part in parts for one in part.folios()]
    parts.sort(key=lambda part: -part.run.lanes[part.picked[0]])
    return InRange(parts, driver_pages)


@contextmanager
def isolated_range(machine: Machine, a: int, b: int) -> Iterator[InRange]:
    """What isolate_range() gives, while the block runs.

    Then drivers have back those of their pages that did not move. Mirrors putback_movable_pages().
    """
    taken = isolate_range(machine, a, b)
    try:
        yield taken
    finally:
        for driver, number in taken.driver_pages:
            putback_movable_page(machine, driver, number)


def _isolate_driver_pages(machine: Machine, runs: list[FrameRun]) -> list[tuple[Driver, int]]:
    taken = []
    for run in runs:
        if looks_movable(run.frame):
            driver = driver_of(machine, run.frame)
            numbers = {pfn: number for number, pfn in enumerate(driver.pages)}
            for pfn in range(run.start, run.start + run.nr):
                number = numbers.get(pfn)
                if number is not None and isolate_movable_page(machine, driver, number):
                    taken.append((driver, number))
    return taken


class _Folios:
    """The folios of a range of frames, each once, by the tables that name them."""

    def __init__(self, machine: Machine, a: int, b: int) -> None:
        self.machine, self.a, self.b = machine, a, b
        self.runs = movable_runs(machine, a, b)
        self.parts: list[Slice] = []
        self.seen: RunMap[Extent] = RunMap()

    def add_mapped(self) -> None:
        """Add what a page cache, a page table or the stable tree names, and what is only held."""
        lru = [r for r in self.runs if not looks_movable(r.frame) and not is_kernel(r.frame)]
        owners = {(run.frame.is_anon, run.frame.owner) for run in lru}
        for run in lru:
            self._add_merged(run)
        self._add_tables(owners)
        for run in lru:
            if run.frame.is_anon:
                self._add_held(run)

    def _add_tables(self, owners: set[tuple[bool, int]]) -> None:
        for mm in self.machine.mms.values():
            if (True, mm.family) in owners:
                for entries in self._near(mm.named_runs()):
                    if not entries.flags & (Pte.KSM | Pte.DEVICE):
                        self._add(entries, is_anon=True)
        for space in self.machine.spaces.values():
            if (False, space.space_id) in owners:
                for entries in self._near(space.pages.runs):
                    self._add(entries, is_anon=False)

    def _near(self, runs: Iterable[PteRun]) -> list[PteRun]:
        """Those of *runs* that may name frames of the range."""
        a, b = self.a, self.b
        return [r for r in runs if r.lanes and min(r.lanes) < b and max(r.lanes) + r.nr > a]

    def _add_merged(self, run: FrameRun) -> None:
        if not run.frame.flags & FrameFlag.KSM:
            return
        pfn, frame = page_of(self.machine, run.frame.owner)
        if frame is not None:
            self._take(PteRun(run.frame.owner, 1, (pfn,), 0, Pte.PRESENT | Pte.KSM), frame)

    def _add_held(self, run: FrameRun) -> None:
        """Anonymous folios that nothing maps any more, but that somebody holds."""
        for a, b, known in self.seen.spans(run.start, run.start + run.nr):
            at = a
            while known is None and at < b:
                folio = folio_of(self.machine, at)
                page = PteRun(0, folio.nr, (folio.pfn,), folio.order)
                self._take(page, folio.merged())
                at = folio.pfn + folio.nr

    def _add(self, run: PteRun, is_anon: bool) -> None:
        for entries, pfn, nr in _inside(run, self.a, self.b):
            at = pfn
            for low, high, known in self.seen.spans(pfn, pfn + nr):
                if known is None:
                    at = self._add_unseen(entries, is_anon, pfn, max(low, at), high)

    def _add_unseen(self, run: PteRun, is_anon: bool, pfn: int, a: int, b: int) -> int:
        """Add frames [a, b) of the first lane of *run*, which lies at *pfn*; where it ended."""
        k, memmap = len(run.lanes), self.machine.memmap_of(pfn)
        at = a
        while at < b:
            found = memmap.at(at)
            assert found is not None, f"frame {at:#x} is named but in nobody's use"
            frame = found.frame
            page = run.start + (at - pfn >> run.order) * (k << run.order)
            is_bad = frame.flags & FrameFlag.HWPOISON  # in the cache of shared memory
            if frame.is_anon != is_anon or is_bad:  # a private copy stands in a file's range
                at = min(b, found.start + found.nr)
            elif frame.order:
                folio = folio_of(self.machine, at)
                first = page - (at - folio.pfn)
                whole = PteRun(first, folio.nr, (folio.pfn,), folio.order, run.flags)
                self._take(whole, folio.merged())
                at = folio.pfn + folio.nr
            else:
                nr = min(b, found.start + found.nr) - at
                self._take(run.clip(page, page + (nr - 1) * k + 1), frame, nr)
                at += nr
        return at

    def _take(self, run: PteRun, frame: Frame, nr: int = 0) -> None:
        pfn, nr = run.lanes[0], nr or run.nr
        self.seen.put(pfn, pfn + nr, Extent(pfn, nr))
        self.parts.append(Slice(run, (0,), States.same(frame), run.start))


def _inside(run: PteRun, a: int, b: int) -> Iterator[tuple[PteRun, int, int]]:
    """The lanes of *run* that meet frames [a, b): from which entry on, the first frame, how many.

    The run that is given begins with the lane's first entry inside.
    """
    lanes, order = run.lanes, run.order
    k, entries = len(lanes), run.nr >> order
    for i, pfn in enumerate(lanes):
        nr = 1 if k == entries else run.count(i)
        skip = max(0, a - pfn >> order)
        end = min(nr, b - pfn + (1 << order) - 1 >> order)
        if skip < end:
            page = run.start + (i + skip * k << order)
            yield run.clip(page, run.end), pfn + (skip << order), end - skip << order
