"""The order of reclaim without generations: a clock, a model of the lists of active and inactive.

A hand goes round the node's frames, on from where it stopped, and takes what no entry was used of
since it last came by. New pages, of either kind, come to lie behind it, where the old ones were.
"""

from __future__ import annotations

from collections.abc import Iterator

from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.frames.memory_tiers import node_is_toptier
from pymigrate.mm.reclaim.lru import in_lru_order, mark_old, next_frame, take_folios, was_used
from pymigrate.mm.reclaim.shrink import KINDS, LIST_NR, Control, Shrink
from pymigrate.mm.state.machine import Machine


class ClockShrink(Shrink):
    """Reclaim of a node in the order of its frames."""

    def __init__(self, machine: Machine, nid: int, control: Control) -> None:
        super().__init__(machine, nid, control)
        self.nr_evictable = 0  # base pages of these kinds
        self.stale: set[str] = set()  # kinds that may have come since it was looked for them
        self.sources: dict[str, Iterator[Slice]] = {}
        self.pushed: dict[str, list[Slice]] = {"file": [], "anon": []}

    def look(self) -> None:
        """Find what may be evicted, in its order, and how much that is.

        What was used gets a second chance.
        """
        self.nr_evictable = sum(self._look_for(kind) for kind in KINDS)

    def drained(self) -> int:
        """How many pages have come from the CPUs' batches, which are empty now."""
        return 0  # what waits is on the lists here

    def have_come(self, nr: int) -> None:
        """*nr* more pages have been demoted to this node."""
        self.nr_evictable += nr
        self.stale.update(self.kinds if nr > 0 else ())

    def shrink_lruvec(self, priority: int, wanted: int) -> None:
        """Evict the share of a pass, whatever is *wanted*: whole lists."""
        nr = -(-(self.nr_evictable >> priority) // LIST_NR) * LIST_NR
        before = self.reclaimed
        for kind in self.kinds:
            nr -= self.evict(kind, nr) if nr > 0 else 0
        self.nr_evictable -= self.reclaimed - before

    def shrink_until(self, nr: int) -> None:
        """Reclaim *nr* base pages, or some more, or all that there are."""
        for kind in self.kinds:
            while self.reclaimed < nr and self.evict(kind, self._lists(nr - self.reclaimed)):
                pass

    def _look_for(self, kind: str) -> int:
        """Find what of a *kind* may be evicted; how many base pages.

        A hand goes on where it has stopped. What was demoted to the node is in the order of its
        pages, as it was where it came from: its frames are some that were freed here.
        """
        node = self.machine.nodes[self.nid]
        parts = self.evictable(kind)
        if node_is_toptier(self.machine, self.nid):
            parts = in_lru_order(node, parts, node.hand)
        else:
            parts.sort(key=lambda part: part.run.start)
        self.sources[kind] = self._second_chances(kind, parts)
        return sum(part.nr for part in parts)

    def _second_chances(self, kind: str, parts: list[Slice]) -> Iterator[Slice]:
        """*parts*, those last that were used; that they were is forgotten as they are passed over.

        They have been isolated in vain, and count as scanned, if something behind them was not
        used. Else nothing was left that is older, and the aging has looked at their entries.
        """
        used: list[Slice] = []
        passed = 0
        for part in parts:
            if was_used(self.machine, part):
                mark_old(self.machine, part)
                used.append(part)
                passed += part.nr
            else:
                self.count(kind, passed, 0)
                passed = 0
                yield part
        yield from used

    def evict(self, kind: str, nr: int) -> int:
        """Isolate *nr* pages, and reclaim them; how many were isolated.

        They are fewer if there are no more, or it is of no use to go on.
        """
        isolated = 0
        while isolated < nr and not self.is_useless(kind):
            target = self.target()
            left = nr - isolated
            room = left if target is None else self.make_room(target)
            batch = self._take(kind, min(left, room))
            if not batch:
                break
            taken = sum(part.nr for part in batch)
            isolated += taken
            self.machine.nodes[self.nid].hand = next_frame(batch[-1])
            self.reclaim(kind, batch, target)
        return isolated

    def _take(self, kind: str, nr: int) -> list[Slice]:
        """Isolate up to *nr* pages; where there are none left new ones may have come."""
        batch = take_folios(self.sources[kind], self.pushed[kind], nr)
        if not batch and kind in self.stale:
            self.stale.remove(kind)
            self._look_for(kind)
            batch = take_folios(self.sources[kind], self.pushed[kind], nr)
        return batch

    def _lists(self, left: int) -> int:
        """How many pages to isolate: a list's, or those of several whose outcome is the same."""
        return -(-left // LIST_NR) * LIST_NR if self.are_alike() else LIST_NR
