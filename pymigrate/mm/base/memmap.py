"""What struct page and struct folio hold, as runs of frames that are alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from itertools import groupby
from operator import attrgetter
from typing import TypeVar

from pymigrate.records import NamedTuple

MAPPING_ANON, MAPPING_MOVABLE = 1, 2  # the low bits of page->mapping; both: KSM

NODE_SHIFT = 32  # a model pfn is the node's id and the frame's number in the node


def nid_of(pfn: int) -> int:
    """The node that *pfn* lies on; from MAX_NUMNODES on it is no node, but a device."""
    return pfn >> NODE_SHIFT


class FrameFlag:
    """Flags of a frame (``Frame.flags``)."""

    ANON = 1
    SWAPBACKED = 2  # off for anonymous memory after MADV_FREE, and for files on disk
    DIRTY = 4
    MLOCKED = 8  # on the unevictable list
    READAHEAD = 16  # the next read-ahead begins when it is used, or it goes once it is written
    WRITEBACK = 32
    PRIVATE = 64
    SWAPCACHE = 128
    HUGETLB = 256
    PARTIALLY_MAPPED = 512  # a large folio of which a part was unmapped: it waits to be split
    LOCKED = 2048  # somebody works on the folio, see busy.py
    LOCKED_BUFFER = 4096  # or on a buffer of it, or somebody looks it up in its index
    MOVABLE = 8192  # a driver's page, on no LRU list
    CLEARED = 16384  # one that its driver has given up
    ISOLATED = 1 << 16  # such a page that a migration has taken (PG_isolated)
    ZEROED = 1024  # anonymous memory that nobody has stored anything into
    KSM = 1 << 15  # merged: the owner is its node of the stable tree, that stands for its page, too
    KERNEL = 1 << 17  # the kernel's own: it cannot be moved
    RECLAIMABLE = 1 << 18  # of these: such as could be freed (slab caches with a shrinker)
    HWPOISON = 1 << 19  # bad: out of use for good, once nobody has it; of all of a hugetlb page
    CONTIG = 1 << 21  # of memory that was allocated in one piece
    QUEUED = 1 << 22  # a new huge page, which may be split if it turns out to hold too little
    RESTORE = 1 << 23  # a pool's page in use, which is reserved again when it is freed
    GEN = 3 << 24  # its generation of the LRU lists, see lru_gen.py
    LIST = 3 << 26  # the generation on whose list it still is: it may have been used since
    MIXED = 1 << 20  # never of a frame: of what stands for all frames of a folio, see merged()
    # What a frame may be marked with that nobody works on.
    PLAIN = ANON | SWAPBACKED | DIRTY | MLOCKED | READAHEAD | ZEROED | QUEUED | GEN | LIST


class Frame(NamedTuple):
    """One base page's state, and that of the folio it belongs to."""

    owner: int  # the fork family of an anonymous page, the address space of a file's
    flags: int
    pte_maps: int = 0
    pmd_maps: int = 0
    order: int = 0
    pins: int = 0  # FOLL_PIN
    extra_refs: int = 0  # FOLL_GET and the like
    cpupid: int = -1  # who took the last hint fault: pid << 16 | CPU

    @property
    def mapcount(self) -> int:
        """How many entries map this page."""
        return self.pte_maps + self.pmd_maps

    @property
    def is_anon(self) -> bool:
        """Whether it is anonymous memory."""
        return bool(self.flags & FrameFlag.ANON)

    @property
    def likely_shared(self) -> bool:
        """Whether a policy takes it for shared: a base page, or a folio that one entry maps whole.

        For a large folio that is mapped page by page see Folio.
        """
        if self.order:
            return self.pmd_maps + (self.pte_maps > 0) > 1
        return self.pte_maps > 1

    @property
    def is_held(self) -> bool:
        """Whether someone besides page tables and page cache holds it."""
        return bool(self.pins or self.extra_refs)

    @property
    def is_plain(self) -> bool:
        """Whether nobody holds it or works on it: only its filesystem can keep it where it is."""
        return not self.flags & ~FrameFlag.PLAIN and not self.is_held

    def with_flags(self, flags: int) -> Frame:
        """The same frame with *flags* set too."""
        return self if self.flags & flags == flags else self._replace(flags=self.flags | flags)

    def without_flags(self, flags: int) -> Frame:
        """The same frame with *flags* cleared."""
        return self._replace(flags=self.flags & ~flags) if self.flags & flags else self

    def dirtied(self) -> Frame:
        """The same frame, dirty, and kept in mind for nothing else: folio_mark_dirty()."""
        if self.flags & (FrameFlag.DIRTY | FrameFlag.READAHEAD) == FrameFlag.DIRTY:
            return self
        return self._replace(flags=self.flags & ~FrameFlag.READAHEAD | FrameFlag.DIRTY)

    def mapped(self, times: int) -> Frame:
        """The same frame with *times* more (or fewer) entries that map it."""
        owner, flags, pte_maps, pmd_maps, order, pins, extra_refs, cpupid = self
        return Frame(owner, flags, pte_maps + times, pmd_maps, order, pins, extra_refs, cpupid)

    def pmd_mapped(self, times: int) -> Frame:
        """The same frame with *times* more (or fewer) huge entries that map its folio."""
        return self._replace(pmd_maps=self.pmd_maps + times)


POISON_FRAME = Frame(0, FrameFlag.HWPOISON)  # of a page that is out of use
POOL_FRAME = Frame(0, FrameFlag.HUGETLB, order=9)  # of a huge page that is free in its pool


def is_pooled(frame: Frame) -> bool:
    """Whether it is of a huge page that is free in its pool; it may be dirty still, or bad."""
    return frame.without_flags(FrameFlag.DIRTY | FrameFlag.HWPOISON) == POOL_FRAME


T = TypeVar("T")


class States(NamedTuple):
    """The states of several frames, in order; made by of() and same()."""

    each: tuple[Frame, ...]
    distinct: tuple[Frame, ...]  # those that differ, each once, as they come first

    @classmethod
    def of(cls, frames: Iterable[Frame]) -> States:
        """The states *frames*."""
        each = tuple(frames)
        objects = {id(frame): frame for frame in each}  # few, of which some may be equal
        return cls(each, tuple(dict.fromkeys(objects.values())))

    @classmethod
    def picked(cls, frames: Mapping[T, Frame], keys: Iterable[T]) -> States:
        """The states of *frames* that *keys* name, which are in the order in which they come."""
        return cls(tuple(map(frames.__getitem__, keys)), tuple(dict.fromkeys(frames.values())))

    @classmethod
    def same(cls, frame: Frame, nr: int = 1) -> States:
        """The state *frame*, *nr* times."""
        distinct = (frame,)
        return cls(distinct * nr, distinct)

    @property
    def is_alike(self) -> bool:
        """Whether none differs from the others."""
        return len(self.distinct) == 1

    @property
    def first(self) -> Frame:
        """The state of the first frame."""
        return self.each[0]

    def at(self, places: Sequence[int]) -> States:
        """The states at *places*."""
        if len(self.distinct) == 1:
            nr = len(places)
            return self if nr == len(self.each) else States.same(self.distinct[0], nr)
        return States.of([self.each[i] for i in places])


class FrameRun(NamedTuple):
    """*nr* allocated frames from pfn *start* that are alike."""

    start: int
    nr: int
    frame: Frame

    def cuts(self, at: int) -> tuple[int, int]:
        """It can be cut anywhere."""
        return at, at

    def split(self, at: int) -> tuple[FrameRun, FrameRun]:
        """Cut before frame *at*."""
        start, nr, frame = self
        return FrameRun(start, at - start, frame), FrameRun(at, start + nr - at, frame)

    def without(self, pfns: Sequence[int]) -> list[FrameRun]:
        """What is left of the run without single *pfns* (sorted)."""
        start, nr, frame = self
        out: list[FrameRun] = []
        at = start
        for pfn in pfns:
            if pfn > at:
                out.append(FrameRun(at, pfn - at, frame))
            at = pfn + 1
        if at < start + nr:
            out.append(FrameRun(at, start + nr - at, frame))
        return out

    def join(self, tail: FrameRun) -> FrameRun | None:
        """Both as one, if they are alike."""
        if self.frame == tail.frame:
            return FrameRun(self.start, self.nr + tail.nr, self.frame)
        return None

    @staticmethod
    def chain(runs: list[FrameRun]) -> list[FrameRun]:
        """Those as one that are alike."""
        out, at = [], runs[0].start
        for frame, alike in groupby(runs, attrgetter("frame")):
            nr = sum([run.nr for run in alike])
            out.append(FrameRun(at, nr, frame))
            at += nr
        return out


class Folio(NamedTuple):
    """A folio as the kernel's rules speak of it, gathered from its frames."""

    pfn: int  # the first one
    order: int
    runs: tuple[FrameRun, ...]  # its frames, where they are alike

    @property
    def nr(self) -> int:
        """Its base pages."""
        return 1 << self.order

    @property
    def frame(self) -> Frame:
        """The state of its first page."""
        return self.runs[0].frame

    @property
    def flags(self) -> int:
        """The flags that its pages have in common."""
        return self.runs[0].frame.flags & ~FrameFlag.ZEROED

    @property
    def is_anon(self) -> bool:
        """Whether it is anonymous memory."""
        return self.runs[0].frame.is_anon

    @property
    def pmd_maps(self) -> int:
        """How many huge entries map it (the kernel's entire_mapcount)."""
        return self.runs[0].frame.pmd_maps

    @property
    def pte_maps(self) -> int:
        """How many entries map a page of it."""
        return sum(run.frame.pte_maps * run.nr for run in self.runs)

    @property
    def mapcount(self) -> int:
        """How many entries map it, or a page of it."""
        return self.pmd_maps + self.pte_maps

    @property
    def pins(self) -> int:
        """How often it is pinned."""
        return sum(run.frame.pins * run.nr for run in self.runs)

    @property
    def extra_refs(self) -> int:
        """How many plain references there are."""
        return sum(run.frame.extra_refs * run.nr for run in self.runs)

    @property
    def is_held(self) -> bool:
        """Whether someone besides page tables and page cache holds it."""
        return any(run.frame.is_held for run in self.runs)

    @property
    def likely_shared(self) -> bool:
        """Whether a policy takes it for shared. Mirrors folio_likely_mapped_shared()."""
        mapcount = self.mapcount
        if not self.order or mapcount <= 1:
            return mapcount > 1
        if self.pmd_maps or mapcount > self.nr:
            return True
        return self.frame.pte_maps > 1

    def merged(self) -> Frame:
        """One frame that stands for all."""
        if len(self.runs) == 1:
            return self.frame
        flags = self.flags | FrameFlag.MIXED
        if all(run.frame.flags & FrameFlag.ZEROED for run in self.runs):
            flags |= FrameFlag.ZEROED
        most = max(run.frame.pte_maps for run in self.runs)
        return Frame(
            self.frame.owner, flags, most, self.pmd_maps, self.order, self.pins, self.extra_refs
        )


class Busy(Enum):
    """What is being done with a folio."""

    LOCKED = "locked"
    READING = "reading"  # locked, and not up to date
    WRITEBACK = "writeback"
    BUFFER = "buffer"  # a buffer of it is locked
    BUFFER_REF = "buffer-ref"  # somebody uses a buffer of it
    LOOKUP = "lookup"  # looked up in its index, and referenced, each time that it was copied


class FolioWork(NamedTuple):
    """Work on a folio: its kind, and how many attempts it outlasts (-1: all)."""

    kind: Busy
    left: int


def mapping_bits(frame: Frame) -> int:
    """The low bits of page->mapping: 1 anonymous, 2 movable, 3 merged by KSM, 0 a file's."""
    if frame.flags & (FrameFlag.MOVABLE | FrameFlag.CLEARED):
        return MAPPING_MOVABLE
    if frame.flags & FrameFlag.KSM:
        return MAPPING_ANON | MAPPING_MOVABLE
    return MAPPING_ANON if frame.is_anon else 0


def looks_movable(frame: Frame) -> bool:
    """What may be asked without the page's lock: the low bits. Mirrors __PageMovable().

    It may be stale: a page that its driver has cleared still looks so.
    """
    return mapping_bits(frame) == MAPPING_MOVABLE


def is_movable(frame: Frame) -> bool:
    """What may be asked under the page's lock: whether it has an owner. Mirrors PageMovable()."""
    return looks_movable(frame) and bool(frame.flags & FrameFlag.MOVABLE)
