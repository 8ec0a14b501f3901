"""An address space: its VMAs and its page table."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from pymigrate.mm.base.pte import PteRun
from pymigrate.mm.base.release import Release
from pymigrate.mm.base.runs import Extent, RunMap
from pymigrate.mm.state.numa import NumaMm
from pymigrate.mm.state.vma import Vma, can_join, joined_anon_vma
from pymigrate.records import field, record
from pymigrate.units import HPAGE_PMD_NR, huge_ceil, huge_floor


@record
class Inserted:
    """Numbers the insertions into the interval trees of a fork family's anon_vmas, in order.

    A walk of such a tree meets VMAs that begin at one page in the order of their insertion; one
    whose bounds change is taken out and put in anew. Mirrors anon_vma_interval_tree_insert().
    """

    last: int = 0

    def put(self, vma: Vma) -> None:
        """Let *vma* be the last that was inserted."""
        self.last += 1
        vma.inserted = self.last


@record
class Mm:
    """VMAs in ascending order, and the entries of all of them."""

    mm_id: int
    family: int  # shared by all that descend from one process by fork
    vmas: list[Vma] = field(default_factory=list)
    page_table: RunMap[PteRun] = field(default_factory=RunMap)
    tables: RunMap[Extent] = field(default_factory=RunMap)  # where page tables may stand empty
    resv: RunMap[Extent] = field(default_factory=RunMap)  # hugetlb pages reserved for it
    brk: tuple[int, int] = (0, 0)  # the heap, in pages
    start_stack: int = 0  # the page that the initial stack pointer lies in
    numa: NumaMm = field(default_factory=NumaMm)
    inserted: Inserted = field(default_factory=Inserted)  # one for its whole family
    def_flags: int = 0  # of new mappings: what mlockall() asked for
    has_moved: bool = False  # whether mremap() has ever moved anonymous pages
    ancestors: tuple[int, ...] = ()  # the mm_ids of those that it descends from, oldest first

    def find_vma(self, page: int) -> Vma | None:
        """The VMA that contains *page*. (The kernel's find_vma() also finds the next one.)"""
        if not self.vmas or page >= self.vmas[-1].end:
            return None
        i = bisect_right(self.vmas, page, key=_start) - 1
        return self.vmas[i] if i >= 0 and page < self.vmas[i].end else None

    def vmas_between(self, a: int, b: int) -> list[Vma]:
        """The VMAs that meet [a, b); none meets an empty range."""
        if a >= b or not self.vmas or self.vmas[-1].end <= a:
            return []
        i = max(bisect_right(self.vmas, a, key=_start) - 1, 0)
        found = []
        while i < len(self.vmas) and (vma := self.vmas[i]).start < b:
            if vma.end > a:
                found.append(vma)
            i += 1
        return found

    def parts(self, a: int, b: int) -> Iterator[tuple[Vma, int, int]]:
        """Each VMA that meets [a, b), with the part of the range that it covers."""
        for vma in self.vmas_between(a, b):
            yield vma, max(a, vma.start), min(b, vma.end)

    def named_parts(self, a: int, b: int) -> Iterator[tuple[Vma, int, int]]:
        """Each VMA whose anonymous pages have names in [a, b), with the part that it has."""
        if not self.has_moved:
            yield from self.parts(a, b)
            return
        for vma in self.vmas:
            low, high = max(a, vma.name(vma.start)), min(b, vma.name(vma.end))
            if low < high:
                yield vma, low, high

    def named_runs(self) -> Iterator[PteRun]:
        """All entries, by the names of the anonymous pages."""
        if not self.has_moved:
            yield from self.page_table.runs
            return
        for vma in self.vmas:
            for run in self.page_table.between(vma.start, vma.end):
                yield run.moved(vma.name(run.start))

    def has_hole(self, a: int, b: int) -> bool:
        """Whether some page of [a, b) lies in no VMA."""
        at = a
        for _, start, end in self.parts(a, b):
            if start > at:
                return True
            at = end
        return at < b

    def insert(self, release: Release, vma: Vma) -> Vma:
        """Add a new mapping, merged with its neighbours if it can be. Mirrors mmap_region()."""
        self.add(vma)
        return self.merge(release, vma, vma.start, vma.end) or vma

    def modify(self, release: Release, vma: Vma, a: int, b: int, new: Vma) -> Vma:
        """Give the part [a, b) of *vma* the flags and policy of *new*; return the VMA of [a, b).

        Merges with neighbours where possible, else splits. Mirrors vma_modify(), mm/vma.c.
        """
        candidate = vma.part(a, b)
        candidate.flags, candidate.policy = new.flags, new.policy
        merged = self.merge(release, vma, a, b, candidate)
        if merged is not None:
            return merged
        if vma.start < a:
            lower, vma = vma, self.split(vma, a)
            lower.numab, vma.numab = None, lower.numab  # the lower one is new
        if vma.end > b:
            self.split(vma, b)
        vma.flags, vma.policy = new.flags, new.policy
        return vma

    def split(self, vma: Vma, at: int) -> Vma:
        """Cut *vma* before page *at*; return the upper part. Mirrors split_vma()."""
        upper = vma.part(at, vma.end)
        vma.end = at
        self.add(upper)
        self.inserted.put(vma)
        return upper

    def merge(
        self, release: Release, vma: Vma, a: int, b: int, new: Vma | None = None
    ) -> Vma | None:
        """Let a neighbour take over the part [a, b) of *vma*, which shall be like *new*.

        Returns the VMA that now covers the part, or None if no neighbour can. Mirrors
        vma_merge_existing_range(), mm/vma.c.
        """
        i = bisect_left(self.vmas, vma.start, key=_start)
        prev = self.vmas[i - 1] if i and a == vma.start else None
        after = self.vmas[i + 1] if i + 1 < len(self.vmas) and b == vma.end else None
        if prev is None and after is None:
            return None
        new = new or vma.part(a, b)
        left = prev is not None and can_join(release, prev, new, new, prev)
        right = after is not None and can_join(release, new, after, new, after)
        if left and right:
            assert prev is not None
            assert after is not None
            right = prev.anon_vma == after.anon_vma or not (prev.anon_vma and after.anon_vma)
        if left:
            assert prev is not None
            joined_anon_vma(prev, new)
            prev.end = b
            if right:
                assert after is not None
                joined_anon_vma(prev, after)
                prev.end = after.end
                self.vmas.remove(after)
            self.inserted.put(prev)
            self._shrink(vma, b, vma.end)
            return prev
        if right:
            assert after is not None
            joined_anon_vma(after, new)
            after.pgoff -= after.start - a
            after.start = a
            self.inserted.put(after)
            self._shrink(vma, vma.start, a)
            return after
        return None

    def note_tables(self, spans: Iterable[tuple[int, int]]) -> None:
        """Remember the page tables of pages [a, b) that have no entries while their VMA stays.

        They are the reason why faults map no huge page there: zap_pte_range() frees no tables.
        """
        for a, b in spans:
            start, end = huge_floor(a), huge_ceil(b)
            self.tables.put(start, end, Extent(start, end - start))

    def remove(self, a: int, b: int) -> None:
        """Take [a, b) out of the VMAs (their pages are gone already). Mirrors do_vmi_munmap().

        Page tables that no VMA needs are freed: free_pgtables().
        """
        for vma, start, end in list(self.parts(a, b)):
            part = self.split(vma, start) if vma.start < start else vma
            if part.end > end:
                self.split(part, end)
            self.vmas.remove(part)
        if self.tables.runs:
            start, end = huge_floor(a), huge_ceil(b)
            if self.vmas_between(start, a):
                start += HPAGE_PMD_NR
            if self.vmas_between(b, end):
                end -= HPAGE_PMD_NR
            if start < end:
                self.tables.put(start, end)

    def _shrink(self, vma: Vma, a: int, b: int) -> None:
        if a >= b:
            self.vmas.remove(vma)
        else:
            vma.pgoff += a - vma.start
            vma.start, vma.end = a, b
            self.inserted.put(vma)

    def add(self, vma: Vma) -> None:
        """Add a mapping without merging it: one of a captured process may have stayed apart."""
        self.inserted.put(vma)
        is_last = not self.vmas or self.vmas[-1].start <= vma.start
        at = len(self.vmas) if is_last else bisect_right(self.vmas, vma.start, key=_start)
        self.vmas.insert(at, vma)


def _start(vma: Vma) -> int:
    return vma.start
