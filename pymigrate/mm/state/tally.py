"""What was done that takes time, counted while somebody asks; see cost.py."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pymigrate.mm.base.memmap import Frame, nid_of
from pymigrate.mm.base.pte import PteRun


@dataclass(slots=True)
class Tally:
    """What was done that takes time; ``(source, target)`` are nodes."""

    pages: Counter[tuple[int, int]] = field(default_factory=Counter)  # base pages
    folios: Counter[tuple[int, int, int]] = field(default_factory=Counter)  # and order
    ptes: int = 0  # entries for single pages of large folios
    flushes: int = 0
    flushed_cpus: int = 0  # that flushes had to reach besides the first of each
    attempts: int = 0  # that failed
    splits: int = 0
    hint_faults: int = 0

    def moved(self, old: PteRun, new: PteRun, frame: Frame) -> None:
        """Note folios that have moved."""
        order = old.order
        pairs: Counter[tuple[int, int]] = Counter()
        if len(old.lanes) == len(new.lanes):
            for lane, (a, b) in enumerate(zip(old.lanes, new.lanes, strict=True)):
                if a != b:
                    pairs[nid_of(a), nid_of(b)] += old.count(lane)
        else:
            pfns = zip(old.pfns(), new.pfns(), strict=True)
            pairs.update((nid_of(a), nid_of(b)) for a, b in pfns if a != b)
        if not order:
            self.pages += pairs
            return
        self.folios.update({(*pair, order): nr for pair, nr in pairs.items()})
        if not frame.pmd_maps:
            self.ptes += (pairs.total() << order) * max(frame.pte_maps, 0)

    def flushed(self, times: int, mapcount: int = 1) -> None:
        """Note *times* flushes for memory that *mapcount* address spaces map."""
        self.flushes += times
        self.flushed_cpus += times * max(mapcount - 1, 0)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was done."""
        return self == Tally()
