"""Page-table entries as striped runs; the page cache of a file is kept in the same form."""

from collections.abc import Iterable, Iterator, Sequence

from pymigrate.mm.base.runs import Extent, joined_in_turn
from pymigrate.records import NamedTuple

_new = tuple.__new__  # makes a NamedTuple in half the time, where many are made


class Pte:
    """Flags of an entry (``PteRun.flags``)."""

    PRESENT = 1
    WRITE = 2
    DIRTY = 4
    YOUNG = 8
    EXCLUSIVE = 16  # PageAnonExclusive: no other process can hold this anonymous page
    HINT = 32  # made inaccessible by a NUMA scan
    SWAP = 64
    MIGRATION = 128
    DEVICE = 256  # not present: the page is in a device's private memory
    KSM = 512  # of a merged page: no other entries of one table name a frame more than once
    HWPOISON = 1024  # not present, and without a frame: the page went bad, who uses it is killed
    ANON = 2048  # of such an entry: the page was anonymous; DIRTY says what else is known of it


# What is kept small is the words that runs take, in memory and in the store: each lane takes one,
# and a run four besides. So an explicit table, which is regular nowhere, takes the place of two
# runs if it has no more lanes than they have with four more. A change of one entry makes the whole
# table anew, so a table is cut where it has so many.
_WORDS = 4
MAX_TABLE = 4096


class PteRun(NamedTuple):
    """*nr* base pages from page *start*, alike in everything but the frame.

    An entry is ``1 << order`` pages. Entry i lies in lane ``i % k`` (k lanes) at frame
    ``lanes[i % k] + (i // k << order)``: one lane is a plain extent, one lane for each node an
    interleaved range, and k equal to the number of entries an explicit table. No lanes: entries
    without a frame (the zero page; those of HWPOISON).
    """

    start: int
    nr: int
    lanes: tuple[int, ...]
    order: int = 0
    flags: int = Pte.PRESENT

    @property
    def end(self) -> int:
        """The first page behind the run."""
        return self.start + self.nr

    def pfn(self, page: int) -> int:
        """The frame of *page*."""
        entry, offset = divmod(page - self.start, 1 << self.order)
        row, lane = divmod(entry, len(self.lanes))
        return self.lanes[lane] + (row << self.order) + offset

    def cuts(self, at: int) -> tuple[int, int]:
        """The starts of the entry that *at* lies in and of the next; *at* itself if it is one."""
        inside = (at - self.start) & ((1 << self.order) - 1)
        return (at - inside, at - inside + (1 << self.order)) if inside else (at, at)

    def split(self, at: int) -> tuple["PteRun", "PteRun"]:
        """Cut before page *at*, which must start an entry; the tail's lanes are rotated."""
        start, nr, lanes, order, flags = self
        assert not order or not (at - start) & ((1 << order) - 1), f"{at:#x} is inside an entry"
        k, rest = len(lanes), start + nr - at
        if k > 1:
            cut, left = (at - start) >> order, rest >> order
            if k == nr >> order:
                tail, lanes = lanes[cut:], lanes[:cut]
            else:
                row, lane = divmod(cut, k)
                step = row << order
                up = step + (1 << order)
                tail = tuple([p + step for p in lanes[lane:]] + [p + up for p in lanes[:lane]])
                tail, lanes = tail[:left], lanes[:cut]
        elif k:
            tail = (lanes[0] + at - start,)
        else:
            tail = lanes
        head = _new(PteRun, (start, at - start, lanes, order, flags))
        return head, _new(PteRun, (at, rest, tail, order, flags))

    def clip(self, a: int, b: int) -> "PteRun":
        """The part inside [a, b)."""
        start, nr, lanes, order, flags = self
        end = start + nr
        if a <= start:
            if b >= end:
                return self
            a = start
        if b > end:
            b = end
        assert not order or not ((a - start) | (b - start)) & ((1 << order) - 1), "half an entry"
        k = len(lanes)
        if k == 1:
            lanes = (lanes[0] + a - start,)
        elif k == nr >> order:
            lanes = lanes[(a - start) >> order : (b - start) >> order]
        elif k:
            row, lane = divmod((a - start) >> order, k)
            low = row << order
            if lane:
                high = low + (1 << order)
                lanes = (*[p + low for p in lanes[lane:]], *[p + high for p in lanes[:lane]])
            elif low:
                lanes = tuple([p + low for p in lanes])
            lanes = lanes[: (b - a) >> order]
        return _new(PteRun, (a, b - a, lanes, order, flags))

    @staticmethod
    def chain(runs: "list[PteRun]") -> "list[PteRun]":
        """Neighbours, as few as they can be."""
        return joined_in_turn(runs)

    def join(self, tail: "PteRun") -> "PteRun | None":
        """One run equal to this and *tail*, if that is regular or takes no more room than both."""
        start, nr, lanes, order, flags = self
        at, more, others, tail_order, tail_flags = tail
        if flags != tail_flags or order != tail_order:
            return None
        k, m = len(lanes), len(others)
        if not k or not m:
            return PteRun(start, nr + more, (), order, flags) if k == m else None
        if self.pfn(at) == others[0]:
            whole = PteRun(start, nr + more, lanes, order, flags)
            if (k == 1 and m == 1) or whole.split(at)[1].lanes == others:
                return whole
        entries = (nr + more) >> order
        if entries <= MAX_TABLE and entries <= k + m + _WORDS:
            return _new(PteRun, (start, nr + more, self.pfns() + tail.pfns(), order, flags))
        return None

    def pfns(self) -> tuple[int, ...]:
        """The first frame of each entry."""
        lanes, entries = self.lanes, self.nr >> self.order
        k = len(lanes)
        if k == entries:
            return lanes
        if k == 1:
            return tuple(range(lanes[0], lanes[0] + self.nr, 1 << self.order))
        return tuple([lanes[i % k] + (i // k << self.order) for i in range(entries)])

    def scattered(self, pages: Sequence[int], pfns: Iterable[int]) -> list["PteRun"]:
        """The run with the frames of single *pages* (sorted) replaced by *pfns*; base pages."""
        start, nr, lanes, order, flags = self
        k = len(lanes)
        if k == nr:
            table = list(lanes)
            for page, pfn in zip(pages, pfns, strict=True):
                table[page - start] = pfn
            return [PteRun(start, nr, tuple(table), order, flags)]
        out: list[PteRun] = []
        at, shift, behind = start, lanes[0] - start, -1  # behind the last frame of *out*
        for page, pfn in zip(pages, pfns, strict=True):
            single = _new(PteRun, (page, 1, (pfn,), order, flags))
            if k == 1 and page - at > 1 + _WORDS and pfn != page + shift and behind != at + shift:
                # Too many for a table, and no frame follows the one before: nothing can be joined.
                out += (_new(PteRun, (at, page - at, (at + shift,), order, flags)), single)
            else:
                if page > at:
                    _append(out, self.clip(at, page))
                _append(out, single)
            at, behind = page + 1, pfn + 1
        if at < start + nr:
            _append(out, self.clip(at, start + nr))
        return out

    def count(self, lane: int) -> int:
        """How many entries lie in *lane*."""
        k = len(self.lanes)
        return ((self.nr >> self.order) - lane + k - 1) // k

    def extents(self) -> list[Extent]:
        """The frames of the run, lane by lane."""
        k, order = len(self.lanes), self.order
        if k == 1:
            return [Extent(self.lanes[0], self.nr)]
        if k == self.nr >> order:
            return [Extent(pfn, 1 << order) for pfn in self.lanes]
        return [Extent(pfn, self.count(j) << order) for j, pfn in enumerate(self.lanes)]

    def entries(self) -> Iterator["PteRun"]:
        """The entries one by one."""
        step = 1 << self.order
        for i, pfn in enumerate(self.pfns()):
            page = self.start + (i << self.order)
            yield _new(PteRun, (page, step, (pfn,), self.order, self.flags))

    def with_flags(self, flags: int) -> "PteRun":
        """The same entries with other *flags*."""
        return _new(PteRun, (self.start, self.nr, self.lanes, self.order, flags))

    def moved(self, start: int) -> "PteRun":
        """The same entries, beginning at page *start*."""
        return _new(PteRun, (start, self.nr, self.lanes, self.order, self.flags))

    def tables(self) -> list["PteRun"]:
        """The same entries as explicit tables."""
        pfns, step = self.pfns(), MAX_TABLE
        if len(pfns) <= step:
            return [_new(PteRun, (self.start, self.nr, pfns, self.order, self.flags))]
        return [
            PteRun(
                self.start + (i << self.order),
                len(pfns[i : i + step]) << self.order,
                pfns[i : i + step],
                self.order,
                self.flags,
            )
            for i in range(0, len(pfns), step)
        ]


def _append(out: list[PteRun], run: PteRun) -> None:
    """Add *run*, joined with the last one if join() can do that, which is asked if it looks so."""
    if out:
        last = out[-1]
        k, m = len(last.lanes), len(run.lanes)
        if last.nr + run.nr <= k + m + _WORDS or last.lanes[0] + last.nr == run.lanes[0]:
            joined = last.join(run)
            if joined is not None:
                out[-1] = joined
                return
    out.append(run)


def weave(
    start: int, nr: int, lanes: Sequence[Sequence[Extent]], order: int, flags: int
) -> list[PteRun]:
    """Runs for *nr* pages from *start* whose entry i lies in the next free frame of lane ``i % k``.

    *lanes* holds each lane's extents; the result is cut where one of them ends.
    """
    k = len(lanes)
    heads = [[extent.start, extent.nr >> order, 0] for extent, *_ in lanes]  # pfn, left, which
    out: list[PteRun] = []
    entry, entries = 0, nr >> order
    while entry < entries:
        turn = [(entry + i) % k for i in range(k)]
        length = min(
            entries - entry,
            *[i + k * heads[lane][1] for i, lane in enumerate(turn)],
        )
        pfns = tuple(heads[lane][0] for lane in turn[:length])
        out.append(PteRun(start + (entry << order), length << order, pfns, order, flags))
        for i, lane in enumerate(turn[:length]):
            used = (length - i + k - 1) // k
            head = heads[lane]
            head[0] += used << order
            head[1] -= used
            if not head[1] and head[2] + 1 < len(lanes[lane]):
                head[2] += 1
                head[0], head[1] = lanes[lane][head[2]].start, lanes[lane][head[2]].nr >> order
        entry += length
    return out
