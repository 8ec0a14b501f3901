"""From pages of an owner to every table that maps them, and entries that go. Mirrors mm/rmap.c."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate
from operator import itemgetter

from pymigrate.mm.base.memmap import Folio, Frame, FrameFlag, FrameRun
from pymigrate.mm.base.pte import Pte, PteRun
from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.frames.frames import FrameEdits, extents_of, folio_of, frame_of, update_folio
from pymigrate.mm.frames.mlock import count_munlocked, munlock_folios
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vma, prepare_anon_vma
from pymigrate.records import NamedTuple


def anon_vma_prepare(machine: Machine, task: Task, vma: Vma) -> None:
    """Give *vma* an anon_vma if it has none yet. Mirrors vmf_anon_prepare()."""
    if not vma.anon_vma:
        around = [task.mm.find_vma(vma.end), task.mm.find_vma(vma.start - 1)]
        if prepare_anon_vma(vma, [other for other in around if other], machine.next_id):
            machine.new_id()
        task.mm.inserted.put(vma)


class Mapping(NamedTuple):
    """A table in which pages [start, end) of an owner may stand, at ``page + shift``."""

    table: RunMap[PteRun]
    start: int
    end: int
    shift: int
    mm: Mm | None  # None for the page cache

    def entries(self) -> list[PteRun]:
        """What stands there."""
        return self.table.between(self.start + self.shift, self.end + self.shift)


class MappedFiles:
    """The VMAs of files and of shared memory by what they map, as long as none changes."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._vmas: dict[int, list[tuple[int, int, Mm, Vma]]] = {}  # by first page, then in order
        self._ends: dict[int, list[int]] = {}  # how far each one and those before it reach

    def between(self, space: int, a: int, b: int) -> Iterator[tuple[Mm, Vma]]:
        """Those that may map some of pages [a, b) of *space*, in the order of the walk."""
        if not self._vmas:
            self._look()
        vmas = self._vmas.get(space, [])
        first = bisect_right(self._ends.get(space, []), a)
        last = bisect_left(vmas, b, key=itemgetter(0))
        for _, _, mm, vma in sorted(vmas[first:last], key=itemgetter(1)):
            yield mm, vma

    def _look(self) -> None:
        for order, (mm, vma) in enumerate(_file_vmas(self._machine)):
            self._vmas.setdefault(vma.space, []).append((vma.pgoff, order, mm, vma))
        for space, vmas in self._vmas.items():
            vmas.sort(key=itemgetter(0))
            ends = (vma.pgoff + vma.nr for _, _, _, vma in vmas)
            self._ends[space] = list(accumulate(ends, max))


def _file_vmas(machine: Machine, space: int = 0) -> Iterator[tuple[Mm, Vma]]:
    """The VMAs of *space*, or of all files and shared memory, by process and address."""
    for mm in machine.mms.values():
        for vma in mm.vmas:
            if vma.space == space if space else vma.space:
                yield mm, vma


def mappings(
    machine: Machine, frame: Frame, a: int, b: int, files: MappedFiles | None = None
) -> Iterator[Mapping]:
    """Where pages [a, b) of *frame*'s owner may be mapped; for a file the page cache comes first.

    Pages of an anonymous owner are named as Vma.name() does, in all processes of the fork family
    alike; those of a file by their index; a merged page by its node of the stable tree, which comes
    first. Of a family the VMAs are met in the order of their interval
    tree: by their first page, and then as they were inserted. Whether an entry really names the
    frame is for the caller to compare. Who asks often while no VMA changes gives *files*.

    Mirrors rmap_walk_anon(), rmap_walk_file() and rmap_walk_ksm().
    """
    if frame.flags & FrameFlag.KSM:
        tree, node = machine.stable_tree, frame.owner
        yield Mapping(tree.pages, node, node + 1, 0, None)
        for mm, page in tree.walk(machine.mms.values(), node):
            yield Mapping(mm.page_table, node, node + 1, page - node, mm)
        return
    if frame.is_anon:
        mms = list(machine.mms_of(frame.owner))
        if len(mms) == 1 and not mms[0].has_moved:
            yield Mapping(mms[0].page_table, a, b, 0, mms[0])
            return
        parts = [
            (vma.name(vma.start), vma.inserted, vma.moved, mm, p, q)
            for mm in mms
            for vma, p, q in mm.named_parts(a, b)
        ]
        for _, _, moved, mm, p, q in sorted(parts, key=itemgetter(0, 1)):
            yield Mapping(mm.page_table, p, q, moved, mm)
        return
    space = machine.spaces[frame.owner]
    yield Mapping(space.pages, a, b, 0, None)
    there = files.between(space.space_id, a, b) if files else _file_vmas(machine, space.space_id)
    for mm, vma in there:
        start, end = max(a, vma.pgoff), min(b, vma.pgoff + vma.nr)
        if start < end:
            yield Mapping(mm.page_table, start, end, vma.start - vma.pgoff, mm)


class Mapped(NamedTuple):
    """An entry, or several that are alike, that map a folio, and whose they are."""

    mm: Mm
    run: PteRun


def mapped_runs(machine: Machine, folio: Folio, page: int) -> Iterator[Mapped]:
    """The entries that map *folio*, or pages of it, in the order of the walk.

    *page* is its first, as mappings() counts.
    """
    for mapping in mappings(machine, folio.frame, page, page + folio.nr):
        if mapping.mm is None:
            continue
        for run in mapping.entries():
            first = run.start - mapping.shift - page + folio.pfn  # the frame that would be ours
            if run.lanes and len(run.lanes) == 1 and run.lanes[0] == first:
                yield Mapped(mapping.mm, run)
            elif len(run.lanes) > 1:
                for entry in run.entries():
                    if entry.lanes[0] == entry.start - mapping.shift - page + folio.pfn:
                        yield Mapped(mapping.mm, entry)


def is_found(machine: Machine, folio: Folio, page: int) -> bool:
    """Whether the walk finds all entries that map *folio*: of merged pages it may find fewer."""
    if not folio.flags & FrameFlag.KSM:
        return True
    return sum(mapped.run.nr for mapped in mapped_runs(machine, folio, page)) == folio.mapcount


def rmap_index(frame: Frame, vma: Vma, page: int) -> int:
    """How mappings() names the page of *frame* that *vma* maps at virtual *page*."""
    if frame.flags & FrameFlag.KSM:
        return frame.owner
    return vma.name(page) if frame.is_anon else vma.index(page)


# What may differ between the entries of one batch. Mirrors folio_pte_batch().
_NOT_IN_BATCHES = Pte.YOUNG | Pte.DIRTY | Pte.WRITE | Pte.EXCLUSIVE


class _Removal:
    """Entries that go away, and what becomes of the folios that they mapped."""

    def __init__(self, machine: Machine, unlock: bool) -> None:
        self.machine = machine
        self.clear = FrameFlag.MLOCKED if unlock else 0
        self.edits = FrameEdits(machine)
        self.partial: dict[int, list[bool]] = {}  # folio -> for each batch: did pages lose all?
        self.batches: set[int] = set()  # the folios of which the batch at hand has entries
        self.next = (0, 0, 0)  # page, frame and flags that go on with that batch
        self.merged: Counter[int] = Counter()  # KSM page -> how many entries go

    def remove(self, run: PteRun) -> None:
        """Take the entries of *run* away."""
        if run.flags & Pte.KSM:
            self.merged.update(run.pfns())
            return
        is_dirty = run.flags & Pte.DIRTY
        for start, nr in extents_of(run):
            flags = run.flags & ~_NOT_IN_BATCHES
            if (run.start, start, flags) != self.next:
                self.batches.clear()
            self.next = run.end, start + nr, flags
            for found in self.machine.memmap_of(start).between(start, start + nr):
                frame = found.frame
                left = frame.pmd_mapped(-1) if run.order else frame.mapped(-1)
                if is_dirty and (not frame.is_anon or frame.flags & FrameFlag.HUGETLB):
                    left = left.dirtied()
                if frame.flags & self.clear:
                    count_munlocked(self.machine, found.nr)
                    left = left.without_flags(self.clear)
                if frame.order:
                    self._remove_large(found, left, bool(run.order))
                else:
                    self._set(found.start, found.nr, left)

    def _set(self, start: int, nr: int, left: Frame) -> None:
        if left.is_anon and not left.mapcount and not left.is_held:
            self.edits.free([(start, nr)], left.flags)
        else:
            self.edits.set([(start, nr)], left)

    def _remove_large(self, found: FrameRun, left: Frame, is_huge: bool) -> None:
        """Whole folios that are alike are settled at once; parts of one when all are known."""
        start, nr, _ = found
        mask = (1 << left.order) - 1
        low, high = start + mask & ~mask, start + nr & ~mask
        at_once = is_huge or self.machine.release.removes_rmap_in_batches
        if low > high:
            parts = [(start, start + nr)]
        else:
            parts = [(start, low), (high, start + nr)]
            if at_once and low < high:
                self._set(low, high - low, left)
            elif not at_once:
                parts += [(head, head + mask + 1) for head in range(low, high, mask + 1)]
        for a, b in parts:
            if a < b:
                self.edits.set([(a, b - a)], left)
                head = a & ~mask
                lost = self.partial.setdefault(head, [])
                if head not in self.batches:
                    self.batches.add(head)
                    lost.append(False)
                lost[-1] = lost[-1] or not left.mapcount
                if not at_once:
                    lost.append(False)  # each entry is a batch

    def finish(self) -> None:
        """Make the edits; free large folios that nothing maps, note those that a part still does.

        Mirrors __folio_remove_rmap(): pages must have lost their last entry, and others not.
        """
        for pfn, times in self.merged.items():
            left = frame_of(self.machine, pfn).mapped(-times).without_flags(self.clear)
            self._set(pfn, 1, left)
        self.edits.commit()
        for head, lost in self.partial.items():
            folio = folio_of(self.machine, head)
            if self.clear:
                munlock_folios(self.machine, [Extent(head, folio.nr)])
            if not folio.mapcount:
                if any(lost[:-1]):
                    defer_split(self.machine, folio)
                if not folio.is_held:
                    update_folio(self.machine, head, lambda _: None)
            elif not folio.pmd_maps and any(lost):
                defer_split(self.machine, folio)


def remove_rmap(machine: Machine, runs: Iterable[PteRun], unlock: bool = False) -> None:
    """Let the entries *runs* of one address space map their pages no more.

    Anonymous folios that nobody holds then are freed; those of files and of the hugetlb pools are
    dirty where an entry was.
    *unlock*: they lay in locked memory. Mirrors zap_present_folio_ptes(), zap_huge_pmd().
    """
    removal = _Removal(machine, unlock)
    for run in runs:
        if run.lanes:
            removal.remove(run)
    removal.finish()


def defer_split(machine: Machine, folio: Folio) -> None:
    """Queue an anonymous folio of which a part was unmapped. Mirrors deferred_split_folio()."""
    if folio.is_anon and not folio.flags & FrameFlag.PARTIALLY_MAPPED:
        update_folio(machine, folio.pfn, lambda f: f.with_flags(FrameFlag.PARTIALLY_MAPPED))
        machine.counters.add("thp_deferred_split_page")


def page_of(machine: Machine, node: int) -> tuple[int, Frame | None]:
    """The frame of the stable tree's *node*, and its state; None once it is freed.

    Mirrors ksm_get_folio().
    """
    run = machine.stable_tree.pages.at(node)
    assert run is not None
    pfn = run.pfn(node)
    found = machine.memmap_of(pfn).at(pfn)
    if found is None or found.frame.owner != node or not is_merged(found.frame):
        return pfn, None
    return pfn, found.frame


def is_merged(frame: Frame) -> bool:
    """Whether it is a merged page, and not a bad one."""
    return frame.flags & (FrameFlag.KSM | FrameFlag.HWPOISON) == FrameFlag.KSM
