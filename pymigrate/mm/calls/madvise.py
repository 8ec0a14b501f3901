"""Advice that changes pages: MADV_FREE, MADV_COLD and MADV_PAGEOUT. Mirrors mm/madvise.c."""

from __future__ import annotations

from collections.abc import Iterator

from pymigrate.mm.base.memmap import Folio, FrameFlag
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.frames.frames import extents_of, folio_of, update_folio, update_frames
from pymigrate.mm.frames.lru_batches import folio_deactivate, folio_mark_lazyfree
from pymigrate.mm.spaces.huge_memory import split_huge_page
from pymigrate.mm.spaces.zap import zap
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vma


def madvise_free(machine: Machine, task: Task, a: int, b: int) -> None:
    """Let the kernel take back anonymous pages [a, b) until they are written again.

    A folio that is dirty and shared stays as it is; the entries of bad pages go. Mirrors
    madvise_free_pte_range().
    """
    table = task.mm.page_table
    bad = [run for run in table.between(a, b) if run.flags & Pte.HWPOISON]
    table.edit([(run.start, run.end, ()) for run in bad])
    task.mm.note_tables((run.start, run.end) for run in bad)
    for run, folio in _advised(machine, task, a, b):
        if folio.flags & FrameFlag.DIRTY and not _is_only(run, folio):
            continue
        flags = run.flags & ~(Pte.DIRTY | Pte.YOUNG)
        table.put(run.start, run.end, run.with_flags(flags))
        update_folio(machine, folio.pfn, lambda frame: frame.without_flags(FrameFlag.DIRTY))
        folio_mark_lazyfree(machine, task.cpu, folio)


def cold(machine: Machine, task: Task, a: int, b: int) -> None:
    """Let pages [a, b) be reclaimed sooner: those that nobody else maps count as not used.

    Large folios of which a part is meant are split. Mirrors madvise_cold_or_pageout_pte_range().
    """
    edits = []
    for run, folio in _advised(machine, task, a, b):
        if not _is_only(run, folio):
            continue
        if run.flags & Pte.YOUNG:
            edits.append((run.start, run.end, (run.with_flags(run.flags & ~Pte.YOUNG),)))
        folio_deactivate(machine, task.cpu, folio)
    task.mm.page_table.edit(edits)


def pageout(machine: Machine, task: Task, vma: Vma, a: int, b: int) -> None:
    """Reclaim pages [a, b) of *vma* that nobody else maps.

    There is no swap, so anonymous memory stays unless it is lazily freed and clean, but large
    folios are split for it. Pages of disk files are unmapped, and dropped where they are clean.
    Mirrors madvise_cold_or_pageout_pte_range() and shrink_folio_list().
    """
    for run, folio in _advised(machine, task, a, b):
        if not _is_only(run, folio):
            continue
        dirty = bool(run.flags & Pte.DIRTY or folio.flags & FrameFlag.DIRTY)
        if (folio.flags & FrameFlag.SWAPBACKED or dirty) and not folio.pins:
            machine.counters.add("pgactivate", run.nr)
        if folio.is_held:
            continue
        if folio.flags & FrameFlag.SWAPBACKED:
            if folio.order:
                split_huge_page(machine, folio, vma.name(run.start))
            continue
        if folio.is_anon and dirty:
            continue
        zap(machine, task.mm, vma, run.start, run.end, keep_tables=True)
        if not folio.is_anon and not dirty:
            space = machine.spaces[folio.frame.owner]
            index = vma.index(run.start)
            space.pages.put(index, index + 1)
            update_frames(machine, extents_of(run), lambda _: None)


def _advised(machine: Machine, task: Task, a: int, b: int) -> Iterator[tuple[PteRun, Folio]]:
    """The folios in [a, b), one by one, with the entries that map them.

    A large folio that is not mapped in one piece inside [a, b) is split first, and its pages that
    lie there are given; it is passed over if it is shared or cannot be split.
    """
    at = a
    while at < b:
        found = task.mm.page_table.between(at, b)
        if not found:
            return
        if not found[0].lanes or found[0].flags & Pte.DEVICE:
            at = found[0].end
            continue
        run = next(found[0].entries())
        folio = folio_of(machine, run.lanes[0])
        if folio.order and not run.order:
            run = _batch(found, folio)
        at = run.end
        if not folio.order:
            yield run, folio
        elif run.nr == folio.nr and a <= run.start and run.end <= b:
            if not run.order or not folio.likely_shared:
                yield run, folio
        elif not folio.likely_shared:
            vma = task.mm.find_vma(run.start)
            assert vma is not None
            page = vma.name(run.start) - (run.lanes[0] - folio.pfn)
            if split_huge_page(machine, folio, page):
                at = max(run.start, a)


def _batch(found: list[PteRun], folio: Folio) -> PteRun:
    """The entries, from the first of *found* on, that map *folio* page after page.

    Mirrors madvise_folio_pte_batch().
    """
    first = next(found[0].entries())
    nr = 1
    for run in found:
        if not run.lanes:
            break  # the zero page
        for entry in run.entries():
            if entry.start == first.start:
                continue
            follows = entry.start == first.start + nr and entry.lanes == (first.lanes[0] + nr,)
            same = not (entry.flags ^ first.flags) & ~(Pte.DIRTY | Pte.YOUNG)
            if not (follows and same and entry.lanes[0] < folio.pfn + folio.nr):
                return first._replace(nr=nr)
            nr += 1
    return first._replace(nr=nr)


def _is_only(run: PteRun, folio: Folio) -> bool:
    """Whether nothing else maps the folio."""
    return folio.mapcount == (1 if run.order else run.nr)
