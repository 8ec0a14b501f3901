"""What struct page and struct folio hold, as runs of frames that are alike."""

from collections.abc import Sequence
from typing import NamedTuple

NODE_SHIFT = 32  # a model pfn is the node's id and the frame's number in the node


def nid_of(pfn: int) -> int:
    """The node that *pfn* lies on."""
    return pfn >> NODE_SHIFT


class FrameFlag:
    """Flags of a frame (``Frame.flags``)."""

    ANON = 1
    SWAPBACKED = 2  # off for anonymous memory after MADV_FREE, and for files on disk
    DIRTY = 4
    MLOCKED = 8  # on the unevictable list
    READAHEAD = 16  # the next read-ahead begins when this page is used
    WRITEBACK = 32
    PRIVATE = 64
    SWAPCACHE = 128


class Frame(NamedTuple):
    """One base page's state, and that of the folio it belongs to."""

    owner: int  # the fork family of an anonymous page, the address space of a file's
    flags: int
    pte_maps: int = 0
    pmd_maps: int = 0
    order: int = 0
    pins: int = 0  # FOLL_PIN
    extra_refs: int = 0  # FOLL_GET and the like

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
        """Whether a policy takes it for shared. (Of base pages.)"""
        return self.pte_maps > 1

    @property
    def is_held(self) -> bool:
        """Whether someone besides page tables and page cache holds it."""
        return bool(self.pins or self.extra_refs)

    def with_flags(self, flags: int) -> "Frame":
        """The same frame with *flags* set too."""
        return self if self.flags & flags == flags else self._replace(flags=self.flags | flags)

    def without_flags(self, flags: int) -> "Frame":
        """The same frame with *flags* cleared."""
        return self._replace(flags=self.flags & ~flags) if self.flags & flags else self

    def mapped(self, times: int) -> "Frame":
        """The same frame with *times* more (or fewer) entries that map it."""
        owner, flags, pte_maps, pmd_maps, order, pins, extra_refs = self
        return Frame(owner, flags, pte_maps + times, pmd_maps, order, pins, extra_refs)


class FrameRun(NamedTuple):
    """*nr* allocated frames from pfn *start* that are alike."""

    start: int
    nr: int
    frame: Frame

    def split(self, at: int) -> tuple["FrameRun", "FrameRun"]:
        """Cut before frame *at*."""
        start, nr, frame = self
        return FrameRun(start, at - start, frame), FrameRun(at, start + nr - at, frame)

    def without(self, pfns: Sequence[int]) -> list["FrameRun"]:
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

    def join(self, tail: "FrameRun") -> "FrameRun | None":
        """Both as one, if they are alike."""
        if self.frame == tail.frame:
            return FrameRun(self.start, self.nr + tail.nr, self.frame)
        return None
