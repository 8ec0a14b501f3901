"""Device-private memory: pages that go to a device and come back. Mirrors mm/migrate_device.c.

A driver moves pages in three phases: migrate_vma_setup() collects them, migrate_vma_pages() gives
them the frames that the driver has allocated, migrate_vma_finalize() lets the page tables name
those. It is an engine of its own: no counter of page migration and no mm_migrate_pages event tells
of it.

On the device a page has an entry that is not present, so that whoever touches it faults, and the
driver brings it back. All devices have one driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntFlag
from functools import partial

from pymigrate.errors import KernelError
from pymigrate.mm.base.memmap import Busy, Frame, FrameFlag
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import Edit, Extent, RunMap
from pymigrate.mm.faults.anon_fault import counted
from pymigrate.mm.frames.busy import wait_for
from pymigrate.mm.frames.frames import (
    FrameEdits,
    alike_parts,
    extents_of,
    folio_of,
    update_frames,
)
from pymigrate.mm.frames.lru_batches import in_batches, lru_add_drain, lru_add_drain_all
from pymigrate.mm.frames.page_alloc import alloc_run
from pymigrate.mm.frames.placement import placement
from pymigrate.mm.spaces.anon_pages import anon_page_state, kill_for_memory, vma_policies
from pymigrate.mm.spaces.huge_memory import split_huge_page, split_huge_pmds
from pymigrate.mm.spaces.rmap import anon_vma_prepare, mappings
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.node import Device
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.records import NamedTuple, field, record

_BUSY = FrameFlag.LOCKED | FrameFlag.WRITEBACK | FrameFlag.LOCKED_BUFFER
_KEPT = Pte.WRITE | Pte.EXCLUSIVE  # what an entry still says when its page is on a device


class Select(IntFlag):
    """Which pages are collected (enum migrate_vma_direction)."""

    SYSTEM = 1
    DEVICE_PRIVATE = 2


class Source(NamedTuple):
    """Collected pages [start, end) and what maps them: None where there is nothing to copy."""

    start: int
    end: int
    run: PteRun | None


@record
class MigrateVma:
    """Pages of one VMA on their way. Mirrors struct migrate_vma."""

    task: Task
    vma: Vma
    sources: list[Source] = field(default_factory=list)
    edits: dict[int, list[Edit[PteRun]]] = field(default_factory=dict)  # by address space
    freed: list[Extent] = field(default_factory=list)  # frames that are no longer needed
    migrated: int = 0

    @property
    def collected(self) -> int:
        """How many pages could move (cpages)."""
        return sum(source.end - source.start for source in self.sources)


class Moved(NamedTuple):
    """How many pages a driver could have moved, and how many it did."""

    collected: int
    migrated: int


def migrate_to_device(machine: Machine, task: Task, device: Device, a: int, b: int) -> Moved:
    """Move pages [a, b) of *task* to *device*, as far as its memory reaches.

    Raises KernelError EINVAL as migrate_vma_setup() does.
    """
    work = migrate_vma_setup(machine, task, a, b, Select.SYSTEM)
    migrate_vma_pages(machine, work, _device_frames(device, work.sources))
    migrate_vma_finalize(machine, work)
    return Moved(work.collected, work.migrated)


def migrate_from_device(machine: Machine, task: Task, a: int, b: int) -> Moved:
    """Bring those of pages [a, b) that are on a device back, to where *task* allocates.

    Absent anonymous pages count as collected (migrate_vma_collect_hole() does not ask what is
    selected), but the driver gives them nothing.

    Raises KernelError EINVAL as migrate_vma_setup() does.
    """
    work = migrate_vma_setup(machine, task, a, b, Select.DEVICE_PRIVATE)
    migrate_vma_pages(machine, work, _ram(machine, work))
    migrate_vma_finalize(machine, work)
    return Moved(work.collected, work.migrated)


def migrate_to_ram(machine: Machine, task: Task, run: PteRun) -> None:
    """Bring the pages of *run* back, for *task* touches them. Mirrors do_swap_page().

    Raises Fault SIGKILL when memory runs out and *task* is the one to be killed.
    """
    at = run.start
    with counted(machine, run.start, run.end):
        while at < run.end:
            at += migrate_from_device(machine, task, at, run.end).migrated
            if at < run.end:
                kill_for_memory(machine, task, at)


def migrate_vma_setup(machine: Machine, task: Task, a: int, b: int, select: Select) -> MigrateVma:
    """Collect those of pages [a, b) that can move; *select* says from where.

    Absent anonymous pages may be had anew by the driver; zero pages, too. Huge pages are split
    first. What is pinned, held, locked, merged by KSM or part of a large folio is passed over.

    Raises KernelError EINVAL unless the range is some of one ordinary VMA.
    """
    vma = task.mm.find_vma(a)
    if vma is None or a >= b or b > vma.end:
        raise KernelError("EINVAL", "the range is not a part of one mapping")
    if vma.flags & (Vm.HUGETLB | Vm.SPECIAL):
        raise KernelError("EINVAL", "pages of such a mapping do not go to devices")
    _split_huge(machine, task, a, b)
    work = MigrateVma(task, vma)
    for start, end, run in task.mm.page_table.spans(a, b):
        low, high = max(start, a), min(end, b)
        if run is None or (run.flags & Pte.PRESENT and not run.lanes):
            if vma.is_anonymous and (run is None or select & Select.SYSTEM):
                work.sources.append(Source(low, high, None))
        elif run.flags & Pte.DEVICE:
            if select & Select.DEVICE_PRIVATE:
                work.sources.append(Source(low, high, run))
        elif not (run.order or run.flags & (Pte.KSM | Pte.HWPOISON)) and select & Select.SYSTEM:
            work.sources += _idle(machine, run)
    if work.sources:
        _drain(machine, work)
    return work


def migrate_vma_pages(machine: Machine, work: MigrateVma, destinations: list[PteRun]) -> None:
    """Let collected pages move into the frames of *destinations*, sorted, that name them.

    The others stay; so do pages of files, for devices have no place for them. What was absent
    becomes a new page. Frames that are not needed are freed by migrate_vma_finalize().
    """
    given = RunMap(destinations)
    edits = FrameEdits(machine)
    marks: list[tuple[list[Extent], int]] = []
    for source in work.sources:
        for new in given.between(source.start, source.end):
            if source.run is None:
                _insert(machine, work, edits, new)
                continue
            for old, frame in alike_parts(machine, source.run.clip(new.start, new.end)):
                part = new.clip(old.start, old.end)
                if frame.is_anon:
                    marks += _move(machine, work, edits, old, frame, part)
                else:
                    work.freed += extents_of(part)
    edits.commit()
    for extents, flags in marks:
        update_frames(machine, extents, partial(Frame.with_flags, flags=flags))


def migrate_vma_finalize(machine: Machine, work: MigrateVma) -> None:
    """Let the page tables name the frames that the pages have moved to; free the others."""
    for mm_id, edits in work.edits.items():
        machine.mms[mm_id].page_table.edit(edits)
    frames = FrameEdits(machine)
    frames.free(work.freed)
    frames.commit()


def _split_huge(machine: Machine, task: Task, a: int, b: int) -> None:
    """Split the huge pages in [a, b), and huge entries of the zero page; some may refuse."""
    table = task.mm.page_table
    for run in [run for run in table.between(a, b) if run.order]:
        if not run.lanes:
            split_huge_pmds(machine, task.mm, max(a, run.start), min(b, run.end))
            continue
        for entry in run.entries():
            pfn = entry.lanes[0]
            folio, vma = folio_of(machine, pfn), task.mm.find_vma(entry.start)
            assert vma is not None
            if _try_lock(machine, pfn):
                split_huge_page(machine, folio, vma.name(entry.start))


def _try_lock(machine: Machine, pfn: int) -> bool:
    """Whether nobody has the folio at *pfn* locked; an attempt to get hold of it."""
    return all(wait_for(machine, pfn, kind, may_wait=False) for kind in (Busy.LOCKED, Busy.READING))


def _idle(machine: Machine, run: PteRun) -> Iterator[Source]:
    """The base pages of *run* that nobody holds or works on."""
    for piece, frame in alike_parts(machine, run):
        if frame.flags & FrameFlag.LOCKED and not frame.order:
            for pfn in piece.pfns():
                _try_lock(machine, pfn)
        elif not (frame.order or frame.is_held or frame.flags & _BUSY):
            yield Source(piece.start, piece.end, piece)


def _drain(machine: Machine, work: MigrateVma) -> None:
    """Let no collected page wait for its LRU list. Mirrors migrate_device_unmap()."""
    lru_add_drain(machine, work.task.cpu)
    waiting = in_batches(machine)
    runs = [source.run for source in work.sources if source.run] if waiting else []
    if any(
        start <= pfn < start + nr
        for run in runs
        for start, nr in extents_of(run)
        for pfn in waiting
    ):
        lru_add_drain_all(machine)


def _insert(machine: Machine, work: MigrateVma, edits: FrameEdits, new: PteRun) -> None:
    """New pages on a device where there was none. Mirrors migrate_vma_insert_page()."""
    anon_vma_prepare(machine, work.task, work.vma)
    flags, frame = anon_page_state(work.task, work.vma, zeroed=True)
    edits.set(extents_of(new), frame)
    entry = new.with_flags(flags & _KEPT | Pte.DEVICE)
    work.edits.setdefault(work.task.mm.mm_id, []).append((new.start, new.end, (entry,)))
    work.migrated += new.nr


def _move(
    machine: Machine, work: MigrateVma, edits: FrameEdits, old: PteRun, frame: Frame, new: PteRun
) -> list[tuple[list[Extent], int]]:
    """Let the pages of *old*, all alike, move to *new*; give what their new frames must be told.

    Entries that are dirty or lie in locked memory say so, whichever process they belong to.
    """
    is_present = not old.flags & Pte.DEVICE
    if frame.flags & FrameFlag.SWAPCACHE:  # the place in swap is given up: folio_free_swap()
        frame = frame.without_flags(FrameFlag.SWAPCACHE).with_flags(FrameFlag.DIRTY)
    edits.set(extents_of(new), frame.without_flags(FrameFlag.MLOCKED))
    work.freed += extents_of(old)
    work.migrated += old.nr
    marks = []
    for mm, run, shift in _mappers(machine, work, old, frame):
        flags = run.flags & _KEPT | (Pte.DEVICE if is_present else Pte.PRESENT)
        if run.flags & Pte.HINT:
            flags &= ~Pte.WRITE
        part = new.clip(run.start - shift, run.end - shift).moved(run.start)
        entry = part.with_flags(flags)
        work.edits.setdefault(mm.mm_id, []).append((run.start, run.end, (entry,)))
        if run.flags & Pte.DIRTY:
            marks.append((extents_of(part), FrameFlag.DIRTY))
        for vma, low, high in mm.parts(run.start, run.end):
            if vma.flags & Vm.LOCKED:
                marks.append((extents_of(part.clip(low, high)), FrameFlag.MLOCKED))
    return marks


def _mappers(
    machine: Machine, work: MigrateVma, old: PteRun, frame: Frame
) -> Iterator[tuple[Mm, PteRun, int]]:
    """All entries, of any process, that map the pages of *old*, and how far behind it they lie."""
    if frame.mapcount == 1:
        yield work.task.mm, old, 0
        return
    first = work.vma.name(old.start)
    for mapping in mappings(machine, frame, first, first + old.nr):
        assert mapping.mm is not None, "it is anonymous"
        shift = mapping.shift - work.vma.moved
        for run in mapping.entries():
            if run.order or not run.lanes:
                continue
            wanted = old.clip(run.start - shift, run.end - shift).pfns()
            if run.pfns() == wanted:
                yield mapping.mm, run, shift
            else:
                for entry, pfn in zip(run.entries(), wanted, strict=True):
                    if entry.lanes[0] == pfn:
                        yield mapping.mm, entry, shift


def _device_frames(device: Device, sources: list[Source]) -> list[PteRun]:
    """Frames of *device* for the pages of *sources*, one by one, as long as there are any."""
    out: list[PteRun] = []
    for source in sources:
        at = source.start
        for extent in device.free.pop_front(min(source.end - at, device.nr_free)):
            out.append(PteRun(at, extent.nr, (extent.start,)))
            at += extent.nr
    return out


def _ram(machine: Machine, work: MigrateVma) -> list[PteRun]:
    """Frames of nodes, by the policy of the task, for what is on a device: as many as there are."""
    out: list[PteRun] = []
    for source in work.sources:
        if source.run is None:
            continue
        parts = vma_policies(machine, work.task, work.vma, source.start, source.end)
        for start, end, policy, first in parts:
            at = start
            while at < end:
                where = placement(machine, work.task, policy, first + at - start)
                wanted = PteRun(at, end - at, ())
                runs = alloc_run(machine, work.task, where, wanted)
                if not runs:
                    return out
                out += runs
                at = runs[-1].end
    return out
