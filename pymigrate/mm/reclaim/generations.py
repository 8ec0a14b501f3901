"""The order of reclaim: the generations of a node's LRU lists. Mirrors mm/vmscan.c, MGLRU.

What is evicted comes from the list of the oldest generation, files' pages before anonymous ones of
the same. When there are but two left, or few pages are old, memory is aged: what an entry was used
of since it was last looked at is of the youngest generation now, and a new one begins. It comes to
that generation's list when it is met on its old one. On a list pages are in the order of their
frames.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterator

from pymigrate.mm.base.memmap import Frame, FrameFlag, States, nid_of
from pymigrate.mm.engine.folio_list import Slice
from pymigrate.mm.frames.frames import frame_runs, update_frames
from pymigrate.mm.frames.lru_batches import off_list
from pymigrate.mm.frames.lru_gen import (
    MAX_NR_GENS,
    MIN_NR_GENS,
    in_generation,
    list_of,
    promoted,
    seq_of,
)
from pymigrate.mm.frames.memory_tiers import node_is_toptier
from pymigrate.mm.reclaim.lru import (
    awaits_writeback,
    in_lru_order,
    mark_old,
    take_folios,
    was_used,
    without_frames,
)
from pymigrate.mm.reclaim.shrink import DEF_PRIORITY, LIST_NR, Control, Reclaimer, Shrink
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.node import LruGen
from pymigrate.records import NamedTuple

MAX_LRU_BATCH = 64 * LIST_NR  # folios that are looked at for a list

Gen = tuple[str, int]  # a kind, and the number of a generation


class Gens(NamedTuple):
    """The numbers of a folio's generations: that on whose list it is, and that it belongs to."""

    listed: int
    seq: int


Ends = Callable[[int], bool]  # whether evicting ends once so many lists were isolated


class GenShrink(Shrink):
    """Reclaim of a node by generations: its lists, as they were when it was last looked."""

    def __init__(self, machine: Machine, nid: int, control: Control) -> None:
        super().__init__(machine, nid, control)
        self.node = machine.nodes[nid]
        self.lists: dict[Gen, deque[Slice]] = {}  # the one to be evicted first is last
        self.lengths: Counter[Gen] = Counter()  # base pages of a list
        self.sizes: Counter[Gen] = Counter()  # base pages of a generation, whatever their list
        self.last = 0  # base pages of the list that was isolated last
        self.is_stale = True

    def look(self) -> None:
        """Find what may be evicted, in its order."""
        self.lists, self.is_stale = {}, False
        self.lengths, self.sizes = Counter(), Counter()
        waiting = self._waiting()
        for kind in self.kinds:
            for found in self._in_order(kind):
                for part in without_frames(found, waiting):
                    for piece in _by_generation(part):
                        listed, seq = self._gens(kind, piece)
                        self.lists.setdefault((kind, listed), deque()).appendleft(piece)
                        self.lengths[kind, listed] += piece.nr
                        self.sizes[kind, seq] += piece.nr

    def shrink_lruvec(self, priority: int, wanted: int) -> None:
        """Evict the share of a pass; some kernels stop when *wanted* pages are had."""
        if self.machine.release.reclaim_stops_early:
            self._evict_share(priority, self.reclaimed + wanted)
        else:
            self._evict_lists(priority, None)

    def shrink_until(self, nr: int) -> None:
        """Reclaim *nr* base pages, or some more, or all that there are."""
        for priority in range(DEF_PRIORITY, -1, -1):
            self._evict_lists(priority, nr)
            if self.reclaimed >= nr:
                break

    def drained(self) -> int:
        """How many pages have come from the CPUs' batches, which are empty now."""
        before = self.sizes.total()
        self.look()
        return self.sizes.total() - before

    def have_come(self, nr: int) -> None:
        """*nr* more pages have been demoted to this node."""
        self.is_stale = self.is_stale or nr > 0

    @property
    def lrugen(self) -> LruGen:
        """The node's generations as they are."""
        return self.node.lrugen

    @property
    def _first_kind(self) -> str:
        """That whose generations tell how many there are."""
        return self.kinds[-1]

    def _min_seq(self, kind: str) -> int:
        return self.lrugen.min_file if kind == "file" else self.lrugen.min_anon

    def _set_min_seq(self, kind: str, seq: int) -> None:
        name = "min_file" if kind == "file" else "min_anon"
        self.node.lrugen = self.lrugen._replace(**{name: seq})

    def _gens(self, kind: str, part: Slice) -> Gens:
        """On which list *part* is, and to which it belongs.

        What is older than the oldest, since other cgroups' memory was reclaimed, is with that.
        """
        frame, low = part.states.first, self._min_seq(kind)
        listed, seq = list_of(self.lrugen, frame), seq_of(self.lrugen, frame)
        return Gens(max(listed, low), max(seq, low))

    def _evict_lists(self, priority: int, enough: int | None) -> None:
        """Evict whole lists until there is *enough*, or the share of a pass was looked at.

        The share follows what is left. Mirrors try_to_shrink_lruvec().
        """
        scanned = 0
        while self._nr_to_scan(priority) > 0:
            total = self.sizes.total()

            def ends(lists: int, total: int = total, scanned: int = scanned) -> bool:
                taken = lists * LIST_NR
                return (
                    scanned + taken >= (total - taken + LIST_NR) >> priority
                    or (enough is not None and self.reclaimed + taken >= enough)
                    or (priority < DEF_PRIORITY and self._should_age(taken))
                )

            delta = self._evict_folios(ends, MAX_LRU_BATCH)
            scanned += delta
            total -= max(delta - self.last, 0)  # before the last list
            is_done = scanned >= total >> priority
            if not delta or is_done or (enough is not None and self.reclaimed >= enough):
                break

    def _evict_share(self, priority: int, enough: int) -> None:
        """Evict the share of a pass, and no more, or until there is *enough*.

        Memory is aged on the way. Mirrors try_to_shrink_lruvec() as of 7.2.
        """
        if self.is_stale:
            self.look()
        nr = self.sizes.total() >> priority
        while nr > 0 and self.reclaimed < enough:
            if self._must_age() or (priority < DEF_PRIORITY and self._should_age(0)):
                self._age()

            def ends(lists: int, least: int = min(nr, enough - self.reclaimed)) -> bool:
                return lists * LIST_NR >= least

            delta = self._evict_folios(ends, min(nr, LIST_NR), nr)
            if not delta:
                break
            nr -= delta

    def _nr_to_scan(self, priority: int) -> int:
        """The share of a pass: base pages; none where memory is aged instead.

        Mirrors get_nr_to_scan().
        """
        if self.is_stale:
            self.look()
        must_age = self._must_age()
        if priority < DEF_PRIORITY and (must_age or self._should_age(0)):
            self._age()
            return 0
        return 0 if must_age else self.sizes.total() >> priority

    def _must_age(self) -> bool:
        """Whether there are too few generations to evict any."""
        return self._min_seq(self._first_kind) + MIN_NR_GENS > self.lrugen.max_seq

    def _should_age(self, taken: int) -> bool:
        """Whether few pages are old once *taken* of the oldest generation are gone.

        Mirrors should_run_aging().
        """
        low, high = self._min_seq(self._first_kind), self.lrugen.max_seq
        if low + MIN_NR_GENS < high:
            return False
        if not self.machine.release.lru_gen_ages_lazily:
            return True
        total = self.sizes.total() - taken
        young = sum(self.sizes[kind, high] for kind in self.kinds)
        old = sum(self.sizes[kind, high - MIN_NR_GENS] for kind in self.kinds) - taken
        return young * MIN_NR_GENS > total or old * (MIN_NR_GENS + 2) < total

    def _age(self) -> None:
        """Begin a new generation. Mirrors try_to_inc_max_seq(), walk_mm() and inc_min_seq()."""
        youngest = self.lrugen.max_seq
        for parts in self.lists.values():
            for part in parts:
                if was_used(self.machine, part):
                    mark_old(self.machine, part)
                    self._update(part, lambda frame: promoted(frame, youngest))
        for kind in ("file", "anon"):
            low = self._min_seq(kind)
            if youngest - low + 1 == MAX_NR_GENS:
                for part in self.lists.get((kind, low), ()):
                    self._update(part, self._older_by_one)
                self._set_min_seq(kind, low + 1)
        self.node.lrugen = self.lrugen._replace(max_seq=youngest + 1)
        self.look()

    def _older_by_one(self, frame: Frame) -> Frame:
        """*frame* of the oldest list, on the next, or that which it belongs to.

        Mirrors folio_inc_gen().
        """
        listed, seq = list_of(self.lrugen, frame), seq_of(self.lrugen, frame)
        return in_generation(frame, seq if seq > listed else listed + 1)

    def _update(self, part: Slice, change: Callable[[Frame], Frame]) -> int:
        """Let *change* replace the frames of *part* that are still here; how many there are."""
        runs = [*frame_runs(self.machine, part.extents())]
        update_frames(self.machine, [(run.start, run.nr) for run in runs], change)
        return sum(run.nr for run in runs)

    def _put_in(self, part: Slice, seq: int) -> int:
        """Put what is still here of *part* on the list of generation *seq*; how many pages."""
        return self._update(part, lambda frame: in_generation(frame, seq))

    def _evict_folios(self, ends: Ends, remaining: int, most: int | None = None) -> int:
        """Evict a list, or those of several whose outcome is the same; *most* pages in all.

        For a list up to *remaining* folios are looked at. Gives the progress that was made, none
        if it is time to age. Mirrors evict_folios().
        """
        is_anon_older = self.lrugen.min_anon < self.lrugen.min_file
        scanned = 0
        for kind in reversed(self.kinds) if is_anon_older else self.kinds:
            if not self.is_useless(kind):
                limit = self._limit(kind, ends)
                scanned = self._evict(kind, limit if most is None else min(limit, most), remaining)
            if scanned:
                break
        progress = scanned + self._inc_min_seq()
        nr_gens = self.lrugen.max_seq - self._min_seq(self._first_kind) + 1
        return 0 if nr_gens == MIN_NR_GENS else progress

    def _limit(self, kind: str, ends: Ends) -> int:
        """How many base pages may be evicted before it is to be looked what is next."""
        if not self.are_alike():
            return LIST_NR
        key = kind, self._min_seq(kind)
        lists = range(1, -(-self.lengths[key] // LIST_NR) + 1)
        limit = (bisect_left(lists, True, key=ends) + 1) * LIST_NR
        nr = 0
        for part in reversed(self.lists.get(key, deque())):
            if nr >= limit:
                break
            if was_used(self.machine, part) or self._is_passed(kind, part):
                return max(nr // LIST_NR * LIST_NR, LIST_NR)
            nr += part.nr
        return limit

    def _is_passed(self, kind: str, part: Slice) -> bool:
        """Whether *part* of the oldest list goes to another: it is younger, or to be written."""
        if self._gens(kind, part).seq != self._min_seq(kind):
            return True
        return self.machine.release.sorts_dirty and awaits_writeback(part.states.first)

    def _evict(self, kind: str, limit: int, remaining: int) -> int:
        """Isolate *limit* pages of the oldest list and reclaim them; how many were looked at.

        Mirrors scan_folios().
        """
        low = self._min_seq(kind)
        source = self.lists.get((kind, low), deque())
        batch: list[Slice] = []
        isolated = sorted_ = 0
        while source and isolated < limit:
            if self._is_passed(kind, source[-1]):
                order = source[-1].run.order
                (part,) = take_folios(iter(()), source, min(remaining << order, source[-1].nr))
                self._sort(kind, part)
                remaining -= part.nr_folios
                limit = min(limit, remaining)
                sorted_ += part.nr
            else:
                (part,) = take_folios(iter(()), source, min(limit - isolated, source[-1].nr))
                isolated += part.nr
                batch.append(part)
        self.lengths[kind, low] -= isolated + sorted_
        if not batch:
            return 0 if remaining > 0 else sorted_
        self.sizes[kind, low] -= isolated
        self.last = max((isolated - 1) % LIST_NR + 1, 1 << batch[-1].run.order) + sorted_
        self._reclaim_list(kind, batch, isolated)
        return isolated + sorted_

    def _sort(self, kind: str, part: Slice) -> None:
        """Put *part* on the list that it belongs to. Mirrors sort_folio()."""
        low = self._min_seq(kind)
        seq = self._gens(kind, part).seq
        if seq == low:
            seq += 1
            self.sizes[kind, low] -= part.nr
            self.sizes[kind, seq] += part.nr
        self._put_in(part, seq)
        self._append(kind, part, seq)

    def _append(self, kind: str, part: Slice, seq: int) -> None:
        """*part*, whose frames are of generation *seq* now, is to be evicted last of them."""
        states = States.of([in_generation(frame, seq) for frame in part.states.each])
        self.lists.setdefault((kind, seq), deque()).appendleft(part._replace(states=states))
        self.lengths[kind, seq] += part.nr

    def _reclaim_list(self, kind: str, batch: list[Slice], isolated: int) -> None:
        """Reclaim *batch*; what stays is as if it had just been faulted in."""
        before = self.reclaimed
        unused = []
        for part in batch:
            if was_used(self.machine, part):
                mark_old(self.machine, part)
                self.count(kind, part.nr, 0)
            else:
                unused.append(part)
        unused.reverse()
        while unused:
            target = self.target()
            room = isolated if target is None or self.is_full else self.make_room(target)
            self.reclaim(kind, take_folios(iter(()), unused, room), target)
        if self.reclaimed - before < isolated:
            seq = self.lrugen.max_seq - self.machine.release.lru_gen_begins_second
            for part in batch:
                nr = self._put_in(part, seq)
                self.sizes[kind, seq] += nr
                if nr == part.nr:
                    self._append(kind, part, seq)
                elif nr:
                    self.is_stale = True

    def _inc_min_seq(self) -> bool:
        """Let the oldest generations be those that have pages; whether any others were.

        Mirrors try_to_inc_min_seq().
        """
        low = {kind: self._min_seq(kind) for kind in self.kinds}
        for kind in self.kinds:
            while low[kind] + MIN_NR_GENS <= self.lrugen.max_seq and not self.lists.get(
                (kind, low[kind])
            ):
                low[kind] += 1
        if "anon" in low:
            low["anon"] = min(low.values())
            low["file"] = max(low["anon"], self.lrugen.min_file)
        changed = False
        for kind, seq in low.items():
            changed = changed or seq != self._min_seq(kind)
            self._set_min_seq(kind, seq)
        return changed

    def _in_order(self, kind: str) -> list[Slice]:
        """The folios of a *kind* in the order of their frames.

        What was demoted to the node is in the order of its pages, as it was where it came from: its
        frames are some that were freed here.
        """
        parts = self.evictable(kind)
        if node_is_toptier(self.machine, self.nid):
            return in_lru_order(self.node, parts, 0)
        return sorted(parts, key=lambda part: part.run.start)

    def _waiting(self) -> list[int]:
        """The node's frames that wait on some CPU, while a cgroup is reclaimed."""
        if self.control.who != Reclaimer.PROACTIVE:
            return []
        return sorted(pfn for pfn in off_list(self.machine) if nid_of(pfn) == self.nid)


def _by_generation(part: Slice) -> Iterator[Slice]:
    """*part*, cut so that the folios of each piece are of one generation, and on one list.

    Those that await writeback are apart.
    """
    marks = [
        (frame.flags & (FrameFlag.GEN | FrameFlag.LIST), awaits_writeback(frame))
        for frame in part.states.each
    ]
    if len(set(marks)) == 1:
        yield part
        return
    for mark in sorted(set(marks)):
        yield part.only([i for i, each in enumerate(marks) if each == mark])
