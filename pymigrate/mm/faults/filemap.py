"""The page cache: pages of files and shared memory come in, and are mapped by faults."""

from __future__ import annotations

from pymigrate.mm.base.memmap import Frame, FrameFlag, nid_of
from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.runs import Extent
from pymigrate.mm.frames.frames import (
    FrameEdits,
    alike_parts,
    extents_of,
    frame_of,
    frame_runs,
    new_frames,
    update_frames,
    whole_folios,
)
from pymigrate.mm.frames.lru_batches import folio_add_lru
from pymigrate.mm.frames.lru_gen import added
from pymigrate.mm.frames.page_alloc import alloc_run
from pymigrate.mm.frames.placement import Placement, cursor_placement, from_index, placement
from pymigrate.mm.reclaim.slowpath import alloc_run_slowpath, have_room
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vm, Vma
from pymigrate.units import HPAGE_PMD_NR

RA_PAGES = 32  # read-ahead of a disk file: 128 KiB
_LAST_NR = 30  # the frames that an LRU batch may keep
FAULT_AROUND = 16  # pages that a read fault maps if they are cached: 64 KiB


def add_to_page_cache(machine: Machine, task: Task, space: AddressSpace, a: int, b: int) -> int:
    """Allocate pages [a, b) of *space*, which are not cached; return how many there was memory for.

    Shared memory is placed by the object's policy, else the task's, by offset; pages of disk
    files by the task's policy alone, in turn. Mirrors shmem_alloc_folio() and
    filemap_alloc_folio().
    """
    if not space.is_shmem:
        where, prev, weight = cursor_placement(machine, task, b - a, task.policy)
        task.il_prev, task.il_weight = prev, weight
        return _add(machine, task, space, a, b, where)
    done = 0
    for start, end, run in space.policies.spans(a, b):
        policy = run.policy if run else task.policy
        where = placement(machine, task, policy, start + space.inode)
        got = _add(machine, task, space, start, end, where, may_reclaim=not done)
        done += got
        if got < end - start:
            break
    return done


def fault_in_page(machine: Machine, task: Task, vma: Vma, space: AddressSpace, index: int) -> bool:
    """Have page *index*, not of shmem, in the cache; False if there is no memory.

    Mirrors filemap_fault() with its read-ahead.
    """
    # What is read in is not on the LRU lists until it is used: room for it is made before.
    have_room(machine, task, placement(machine, task, task.policy), 2 * RA_PAGES)
    cached = space.pages.at(index)
    if cached is None:
        if vma.flags & Vm.RAND_READ or not space.is_disk:
            return add_to_page_cache(machine, task, space, index, index + 1) == 1
        if vma.flags & Vm.SEQ_READ:
            window = (index, RA_PAGES, RA_PAGES // 2)
        else:
            window = (max(0, index - RA_PAGES // 2), RA_PAGES, RA_PAGES // 4)
        _read_ahead(machine, task, space, window)
    elif _is_marked(machine, cached.pfn(index)) and not vma.flags & Vm.RAND_READ:
        pfn = cached.pfn(index)
        update_frames(machine, [(pfn, 1)], lambda f: f.without_flags(FrameFlag.READAHEAD))
        start, size, behind = space.readahead
        if index == start + size - behind:
            _read_ahead(machine, task, space, (start + size, RA_PAGES, RA_PAGES))
    return space.pages.at(index) is not None


def fault_around(machine: Machine, vma: Vma, space: AddressSpace, page: int) -> list[PteRun]:
    """Cached pages around *page* that a read fault maps with it, as runs of the cache."""
    return cached_around(machine, vma, space, *window(vma, page))


def window(vma: Vma, page: int) -> tuple[int, int]:
    """The pages that a read fault at *page* maps if they are cached. Mirrors do_fault_around()."""
    first = max(page - page % FAULT_AROUND, vma.start)
    table_end = page - page % HPAGE_PMD_NR + HPAGE_PMD_NR
    return first, min(first + FAULT_AROUND, table_end, vma.end)


def cached_around(
    machine: Machine, vma: Vma, space: AddressSpace, first: int, last: int
) -> list[PteRun]:
    """What is cached of pages [first, last) of the mapping, as runs of the cache.

    Pages that begin the next read-ahead are left out, and such as are to go: it is one flag.
    Mirrors filemap_map_pages().
    """
    if space.fs == "secretmem":
        return []  # it has no map_pages
    a, b = vma.index(first), min(vma.index(last), space.nr_pages)
    found = space.pages.between(a, b) if a < b else []
    parts = (part for run in found for part in alike_parts(machine, run))
    return [run for run, frame in parts if not frame.flags & FrameFlag.READAHEAD]


def first_bad(machine: Machine, space: AddressSpace, a: int, b: int) -> int | None:
    """The first of pages [a, b) of *space* that is cached though it is bad, if there is any.

    Shared memory keeps such pages, lest somebody reads zeroes: shmem_error_remove_folio().
    """
    if not machine.num_poisoned_pages:
        return None
    parts = (part for run in space.pages.between(a, b) for part in alike_parts(machine, run))
    return next((run.start for run, f in parts if f.flags & FrameFlag.HWPOISON), None)


def without_bad(machine: Machine, cached: list[PteRun]) -> list[PteRun]:
    """*cached* without bad pages."""
    if not machine.num_poisoned_pages:
        return cached
    parts = (part for run in cached for part in alike_parts(machine, run))
    return [run for run, frame in parts if not frame.flags & FrameFlag.HWPOISON]


def drop_caches(machine: Machine) -> int:
    """Drop the clean pages of files and of shared memory that nobody maps; return how many.

    Those that are dirty are to go once they are written: deactivate_file_folio(). Mirrors
    drop_pagecache_sb() and mapping_try_invalidate().
    """
    dropped = 0
    for space in machine.spaces.values():
        for cached in list(space.pages.runs):
            for part, frame in alike_parts(machine, cached):
                if frame.mapcount or frame.flags & FrameFlag.MLOCKED or frame.is_held:
                    continue
                extents = extents_of(part)
                if frame.flags & (FrameFlag.DIRTY | FrameFlag.WRITEBACK):
                    if not frame.flags & FrameFlag.HUGETLB:
                        _deactivate(machine, extents)
                    continue
                space.pages.put(part.start, part.end)
                update_frames(machine, extents, lambda _: None)
                dropped += part.nr
    return dropped


def _deactivate(machine: Machine, extents: list[Extent]) -> None:
    """Let dirty frames go once they are written. Mirrors lru_deactivate_file_fn()."""
    edits = FrameEdits(machine)
    for start, nr, frame in frame_runs(machine, extents):
        inactive = added(machine, nid_of(start), frame, is_active=False)
        edits.set([(start, nr)], inactive.with_flags(FrameFlag.READAHEAD))
    edits.commit()


def _read_ahead(
    machine: Machine, task: Task, space: AddressSpace, window: tuple[int, int, int]
) -> None:
    """Read a window (start, size, async_size) and mark where the next one begins.

    Mirrors page_cache_ra_unbounded(), mm/readahead.c.
    """
    space.readahead = window
    start, size, behind = window
    end = min(start + size, space.nr_pages)
    mark = end - behind
    missing = [(a, b) for a, b, run in space.pages.spans(start, end) if run is None]
    for a, b in missing:
        if add_to_page_cache(machine, task, space, a, b) < b - a:
            return
    if any(a <= mark < b for a, b in missing):
        cached = space.pages.at(mark)
        assert cached is not None
        pfn = cached.pfn(mark)
        update_frames(machine, [(pfn, 1)], lambda f: f.with_flags(FrameFlag.READAHEAD))


def _is_marked(machine: Machine, pfn: int) -> bool:
    return bool(frame_of(machine, pfn).flags & FrameFlag.READAHEAD)


def _add(
    machine: Machine,
    task: Task,
    space: AddressSpace,
    a: int,
    b: int,
    where: Placement,
    may_reclaim: bool = False,
) -> int:
    """Memory is reclaimed for the first page alone: before the next one is had, it is mapped."""
    flags = FrameFlag.SWAPBACKED if space.is_shmem else 0
    at = a
    while at < b:
        wanted = PteRun(at, b - at, ())
        runs = alloc_run(machine, task, from_index(where, at - a), wanted)
        if not runs and may_reclaim and at == a:
            runs = alloc_run_slowpath(machine, task, where, wanted)
        if not runs:
            break
        new_frames(machine, runs, Frame(space.space_id, flags))
        space.pages.edit([(run.start, run.end, (run,)) for run in runs])
        folio_add_lru(machine, task.cpu, runs[-1].end - at, last_pfns(runs))
        at = runs[-1].end
    return at - a


def last_pfns(runs: list[PteRun]) -> list[int]:
    """The frames of the last pages of *runs*, enough for an LRU batch."""
    last: list[int] = []
    for run in reversed(runs):
        last[:0] = run.clip(max(run.end - _LAST_NR, run.start), run.end).pfns()
        if len(last) >= _LAST_NR:
            break
    return last


def dirty_frames(machine: Machine, runs: list[PteRun]) -> None:
    """Mark the folios of *runs* dirty. Mirrors folio_mark_dirty()."""
    extents = whole_folios(machine, [extent for run in runs for extent in extents_of(run)])
    update_frames(machine, extents, lambda frame: frame.dirtied())
