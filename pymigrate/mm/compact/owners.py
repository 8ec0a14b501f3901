"""From a frame to the page that it holds: compaction walks frames, the engine takes pages."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from pymigrate.mm.base.memmap import Frame, FrameFlag
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.spaces.rmap import page_of
from pymigrate.mm.state.machine import Machine


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
        self.anon = _Layer(run for mm in machine.mms.values() for run in mm.page_table.runs)
        self.cached = _Layer(run for space in machine.spaces.values() for run in space.pages.runs)
        for node in machine.stable_tree.items:
            pfn, frame = page_of(machine, node)
            if frame is not None:
                self.anon.pages[pfn] = node
        self.driven = {
            pfn: (driver, number)
            for driver in machine.drivers.values()
            for number, pfn in enumerate(driver.pages)
        }

    def page(self, pfn: int, frame: Frame) -> int | None:
        """The page that frame *pfn* holds; None if no table has it."""
        return self._layer(frame).find(pfn)

    def moved(self, old: int, new: int, page: int, frame: Frame) -> None:
        """The page has another frame now."""
        pages = self._layer(frame).pages
        pages.pop(old, None)
        pages[new] = page

    def _layer(self, frame: Frame) -> _Layer:
        is_mapped = frame.is_anon or frame.flags & FrameFlag.KSM
        return self.anon if is_mapped else self.cached
