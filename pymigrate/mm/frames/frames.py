"""Changing the memmap: frames come into use, change, and are freed, in one sweep a node."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from operator import itemgetter, rshift

from pymigrate.mm.base.memmap import (
    NODE_SHIFT,
    POISON_FRAME,
    POOL_FRAME,
    Folio,
    Frame,
    FrameFlag,
    FrameRun,
    States,
    nid_of,
)
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import Edit, Extent, coalesce, pages_to_extents
from pymigrate.mm.frames.lru_gen import added
from pymigrate.mm.frames.page_alloc import free_extents
from pymigrate.mm.state.machine import Machine
from pymigrate.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER, MAX_NUMNODES


class FrameEdits:
    """Edits of the memmap that are collected and made together; no frame may be named twice."""

    __slots__ = ("by_node", "freed", "machine", "pooled")

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.by_node: dict[int, list[Edit[FrameRun]]] = {}
        self.freed: list[tuple[int, int]] = []
        self.pooled: list[tuple[int, int]] = []

    def set(self, extents: Iterable[tuple[int, int]], frame: Frame) -> None:
        """Let the frames of *extents* be in use, in the state *frame*."""
        for start, nr in extents:
            edits = self.by_node.setdefault(nid_of(start), [])
            edits.append((start, start + nr, (FrameRun(start, nr, frame),)))

    def free(self, extents: Iterable[tuple[int, int]], flags: int = 0) -> None:
        """Free the frames of *extents*, which have *flags* and which nobody holds any more.

        Bad ones stay out of use: memory_failure() has kept a reference to each.
        """
        if flags & FrameFlag.HUGETLB:
            extents = self._keep_in_pool(extents, flags)
        if self.machine.num_poisoned_pages:
            extents = self._keep_bad(extents)
        self.freed += extents

    def commit(self) -> None:
        """Make the edits."""
        freed = coalesce(self.freed)
        for low, high in _nodes_in(freed):
            self.machine.memmap_of(freed[low].start).remove(freed[low:high])
        for edits in self.by_node.values():
            edits.sort(key=itemgetter(0))
            self.machine.memmap_of(edits[0][0]).edit(edits)
        if self.machine.devices:
            freed = [*self._keep_on_devices(freed)]
        if freed:
            free_extents(self.machine, freed)
        for start, nr in self.pooled:
            self.machine.nodes[nid_of(start)].hugetlb.put(start, nr)
        self.by_node, self.freed, self.pooled = {}, [], []

    def _keep_on_devices(self, freed: list[Extent]) -> Iterator[Extent]:
        """Return the frames of devices to them; gives those of nodes."""
        for extent in freed:
            if nid_of(extent.start) < MAX_NUMNODES:
                yield extent
            else:
                device = self.machine.device_of(extent.start)
                device.free.put(extent.start, extent.start + extent.nr, extent)

    def _keep_bad(self, extents: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Let bad frames be out of use; gives the others. Of a bad hugetlb page the first is so."""
        good: list[tuple[int, int]] = []
        for start, nr in extents:
            at = start
            for low, size, frame in frame_runs(self.machine, [(start, nr)]):
                if not frame.flags & FrameFlag.HWPOISON:
                    continue
                is_huge = frame.flags & FrameFlag.HUGETLB
                step, bad = (HPAGE_PMD_NR, 1) if is_huge else (size, size)
                for pfn in range(low, low + size, step):
                    self.set([(pfn, bad)], POISON_FRAME)
                    good.append((at, pfn - at))
                    at = pfn + bad
            good.append((at, start + nr - at))
        return [extent for extent in good if extent[1]]

    def _keep_in_pool(
        self, extents: Iterable[tuple[int, int]], flags: int
    ) -> list[tuple[int, int]]:
        """Return hugetlb pages to their pools; gives those that are surplus there.

        Mirrors free_huge_folio().
        """
        surplus: list[tuple[int, int]] = []
        for start, nr in extents:
            if flags & FrameFlag.RESTORE:
                self.machine.resv_huge_pages += nr >> HPAGE_PMD_ORDER
            pool = self.machine.nodes[nid_of(start)].hugetlb
            gone = min(pool.surplus, nr >> HPAGE_PMD_ORDER)
            pool.surplus -= gone
            pool.nr -= gone
            cut = gone << HPAGE_PMD_ORDER
            if cut:
                surplus.append((start, cut))
            if cut < nr:
                kept = flags & (FrameFlag.DIRTY | FrameFlag.HWPOISON)
                self.set([(start + cut, nr - cut)], POOL_FRAME.with_flags(kept))
                self.pooled.append((start + cut, nr - cut))
        return surplus


def new_frames(machine: Machine, runs: Iterable[PteRun], frame: Frame) -> None:
    """The frames of *runs*, just allocated, begin as *frame*."""
    edits = FrameEdits(machine)
    for run in runs:
        for extent in extents_of(run):
            edits.set([extent], added(machine, nid_of(extent.start), frame))
    edits.commit()


def frame_runs(machine: Machine, extents: Iterable[tuple[int, int]]) -> Iterator[FrameRun]:
    """Those of the frames of *extents* that are in use, as far as they are alike."""
    for start, nr in extents:
        yield from machine.memmap_of(start).between(start, start + nr)


def update_frames(
    machine: Machine, extents: Iterable[tuple[int, int]], change: Callable[[Frame], Frame | None]
) -> None:
    """Replace each frame of *extents* (disjoint) by what *change* makes of it; None frees it."""
    edits = FrameEdits(machine)
    for run in frame_runs(machine, extents):
        frame = change(run.frame)
        if frame is None:
            edits.free([(run.start, run.nr)], run.frame.flags)
        elif frame != run.frame:
            edits.set([(run.start, run.nr)], frame)
    edits.commit()


def extents_of(run: PteRun) -> list[Extent]:
    """The frames of *run*, each once, as few extents as possible."""
    if run.flags & Pte.KSM:
        return pages_to_extents(list(set(run.pfns())))
    if len(run.lanes) > 1 and len(run.lanes) == run.nr >> run.order and not run.order:
        return pages_to_extents(run.lanes)
    return run.extents()


def extents_between(run: PteRun, a: int, b: int) -> list[Extent]:
    """The frames of pages [a, b) of *run*."""
    if (a, b) == (run.start, run.end):
        return extents_of(run)
    return [
        Extent(entry.lanes[0] + low - entry.start, high - low)
        for entry in run.entries()
        if (low := max(a, entry.start)) < (high := min(b, entry.end))
    ]


def extents_of_all(runs: Iterable[PteRun]) -> list[Extent]:
    """The frames of *runs* of one page table, each once: merged pages may be in several of them."""
    runs = list(runs)
    extents = [e for run in runs if not run.flags & Pte.KSM for e in extents_of(run)]
    merged = {pfn for run in runs if run.flags & Pte.KSM for pfn in run.pfns()}
    return extents + pages_to_extents(list(merged))


def frame_of(machine: Machine, pfn: int) -> Frame:
    """The state of an allocated frame."""
    run = machine.memmap_of(pfn).at(pfn)
    assert run is not None, f"frame {pfn:#x} is in nobody's use"
    return run.frame


def states_of(machine: Machine, pfns: Sequence[int]) -> States:
    """The states of the allocated frames *pfns*, in this order.

    One run of the memmap on each node is often enough for all of them.
    """
    memmaps, alike = {}, set()
    for low, high in _ends_by_node(pfns):
        memmap = memmaps[nid_of(low)] = machine.memmap_of(low)
        run = memmap.at(low)
        assert run is not None, f"frame {low:#x} is in nobody's use"
        alike.add(run.frame if high < run.start + run.nr else None)
    frame = alike.pop()
    if frame is not None and not alike:
        return States.same(frame, len(pfns))
    nids = [*map(rshift, pfns, repeat(NODE_SHIFT))]
    starts = {nid: memmap.starts for nid, memmap in memmaps.items()}
    runs = {nid: memmap.runs for nid, memmap in memmaps.items()}
    # Which run each lies in: its node, and how many runs begin there up to it.
    keys = [*zip(nids, map(bisect_right, map(starts.__getitem__, nids), pfns), strict=True)]
    frames = {(nid, nr): runs[nid][nr - 1].frame for nid, nr in dict.fromkeys(keys)}
    return States.picked(frames, keys)


def by_node(pfns: Iterable[int]) -> Iterator[list[int]]:
    """*pfns*, sorted, in a list for each node."""
    ordered, i = sorted(pfns), 0
    while i < len(ordered):
        end = bisect_left(ordered, (nid_of(ordered[i]) + 1) << NODE_SHIFT, i)
        yield ordered[i:end]
        i = end


def folio_of(machine: Machine, pfn: int) -> Folio:
    """The folio that *pfn* belongs to."""
    memmap = machine.memmap_of(pfn)
    found = memmap.at(pfn)
    assert found is not None, f"frame {pfn:#x} is in nobody's use"
    order = found.frame.order
    first = pfn >> order << order
    return Folio(first, order, tuple(memmap.between(first, first + (1 << order))))


def update_folio(machine: Machine, pfn: int, change: Callable[[Frame], Frame | None]) -> None:
    """Let *change* replace the state of each page of the folio that *pfn* belongs to."""
    order = frame_of(machine, pfn).order
    update_frames(machine, [(pfn >> order << order, 1 << order)], change)


def whole_folios(machine: Machine, extents: Iterable[tuple[int, int]]) -> list[Extent]:
    """*extents*, so extended that they end where folios do."""
    found: set[tuple[int, int]] = set()
    for run in frame_runs(machine, extents):
        mask = (1 << run.frame.order) - 1
        low, high = run.start & ~mask, run.start + run.nr + mask & ~mask
        found.add((low, high - low))
    out: list[Extent] = []
    for low, nr in sorted(found):
        if out and low < out[-1].start + out[-1].nr:
            before = out.pop()
            end = max(before.start + before.nr, low + nr)
            low, nr = before.start, end - before.start
        out.append(Extent(low, nr))
    return out


def uniform_parts(machine: Machine, run: PteRun) -> Iterator[tuple[PteRun, States]]:
    """Cut *run* so that in each part all entries of a lane have frames that are alike.

    Gives each part with the states of its lanes. A folio whose pages differ is represented by
    Folio.merged().
    """
    k = len(run.lanes)
    if k > 1 and k == run.nr >> run.order:
        if run.order:
            yield run, States.of([folio_of(machine, pfn).merged() for pfn in run.lanes])
        else:
            yield run, states_of(machine, run.lanes)
        return
    rest: PteRun | None = run
    while rest is not None:
        frames, length = [], rest.nr >> rest.order
        k = len(rest.lanes)
        for lane, pfn in enumerate(rest.lanes):
            found = machine.memmap_of(pfn).at(pfn)
            assert found is not None, f"frame {pfn:#x} is mapped but in nobody's use"
            frames.append(found.frame)
            alike = (found.start + found.nr - pfn) >> rest.order
            length = min(length, lane + k * alike)
        if not length:
            frames[0], length = folio_of(machine, rest.lanes[0]).merged(), 1
        part, rest = (
            rest.split(rest.start + (length << rest.order))
            if length < rest.nr >> rest.order
            else (rest, None)
        )
        yield part, States.of(frames[: len(part.lanes)])


def alike_parts(machine: Machine, run: PteRun) -> Iterator[tuple[PteRun, Frame]]:
    """Cut *run* so that all frames of a piece are alike; gives each with their state."""
    for part, states in uniform_parts(machine, run):
        if states.is_alike:
            yield part, states.first
            continue
        frames, k, first = states.each, len(states.each), 0
        entries = part.nr >> part.order
        for entry in range(1, entries + 1):
            if entry == entries or frames[entry % k] != frames[first % k]:
                a, b = (part.start + (at << part.order) for at in (first, entry))
                yield part.clip(a, b), frames[first % k]
                first = entry


def _nodes_in(extents: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Where in sorted *extents* those of each node begin and end."""
    low = 0
    while low < len(extents):
        nid = nid_of(extents[low][0])
        high = bisect_left(extents, ((nid + 1) << NODE_SHIFT,), low)
        yield low, high
        low = high


def _ends_by_node(pfns: Sequence[int]) -> list[tuple[int, int]]:
    """The lowest and the highest of *pfns* on each node."""
    low, high = min(pfns), max(pfns)
    if nid_of(low) == nid_of(high):
        return [(low, high)]
    lows: dict[int, int] = {}
    highs: dict[int, int] = {}
    for pfn in pfns:
        nid = pfn >> NODE_SHIFT
        if nid not in lows:
            lows[nid] = highs[nid] = pfn
        elif pfn < lows[nid]:
            lows[nid] = pfn
        elif pfn > highs[nid]:
            highs[nid] = pfn
    return [(low, highs[nid]) for nid, low in lows.items()]
