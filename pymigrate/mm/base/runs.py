"""Sorted maps of disjoint runs, the structure that everything else is kept in. Knows no kernel."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress, islice, pairwise
from operator import attrgetter, gt, ne, sub
from typing import Any, Generic, Protocol, Self, TypeVar

from pymigrate.records import NamedTuple


class Run(Protocol):
    """An immutable value that covers *nr* numbers from *start*, and can be cut and joined."""

    @property
    def start(self) -> int:
        """The first number."""

    @property
    def nr(self) -> int:
        """How many numbers."""

    def cuts(self, at: int) -> tuple[int, int]:
        """The places next to *at*, which lies inside, where the run can be cut."""

    def split(self, at: int) -> tuple[Self, Self]:
        """The parts before and from *at*, which lies strictly inside."""

    def join(self, tail: Self) -> Self | None:
        """One run equal to this and *tail*, which begins at its end; None if there is none."""

    @staticmethod
    def chain(runs: list[Any]) -> list[Any]:  # of its own kind; a static method has no Self
        """*runs*, each of which begins where the one before ends, as few as they can be."""


R = TypeVar("R", bound=Run)
_MANY = 4096  # runs from which on it is dear to copy them
_BULK = 16  # edits from which on it pays to look whether all of them are whole runs
Edit = tuple[int, int, Sequence[R]]  # [a, b) is replaced by these runs


class Extent(NamedTuple):
    """A range of numbers with nothing to say about them."""

    start: int
    nr: int

    def cuts(self, at: int) -> tuple[int, int]:
        """It can be cut anywhere."""
        return at, at

    def split(self, at: int) -> tuple["Extent", "Extent"]:
        """Cut before *at*."""
        return Extent(self.start, at - self.start), Extent(at, self.start + self.nr - at)

    def join(self, tail: "Extent") -> "Extent":
        """Both as one."""
        return Extent(self.start, self.nr + tail.nr)

    @staticmethod
    def chain(runs: "list[Extent]") -> "list[Extent]":
        """All as one."""
        first, last = runs[0], runs[-1]
        return [Extent(first.start, last.start + last.nr - first.start)]


class RunMap(Generic[R]):
    """Sorted disjoint runs; neighbours that can be one run are one.

    `changed` is set by every edit, so that a store can tell what it has to write.
    """

    __slots__ = ("_load", "_runs", "_starts", "changed")

    def __init__(self, runs: Iterable[R] = (), load: Callable[[], list[R]] | None = None) -> None:
        """A map of *runs*, or of those that *load* gives when it is first looked at."""
        self._load = load
        self._runs: list[R] = list(runs)
        self._starts: list[int] = [run.start for run in self._runs]
        self.changed = False

    @property
    def runs(self) -> list[R]:
        """All runs."""
        if self._load is not None:
            self._read()
        return self._runs

    @property
    def starts(self) -> list[int]:
        """Where each run starts."""
        if self._load is not None:
            self._read()
        return self._starts

    @property
    def is_unread(self) -> bool:
        """Whether nobody has looked at it yet."""
        return self._load is not None

    def _read(self) -> None:
        assert self._load is not None
        self._set(self._load())
        self._load = None

    def _set(self, runs: list[R]) -> None:
        self._runs, self._starts = runs, [run.start for run in runs]

    def at(self, x: int) -> R | None:
        """The run that covers *x*."""
        if self._load is not None:
            self._read()
        i = bisect_right(self._starts, x) - 1
        if i >= 0:
            run = self._runs[i]
            if x < run.start + run.nr:
                return run
        return None

    def between(self, a: int, b: int) -> list[R]:
        """The runs that meet [a, b), clipped to it; a huge entry is given whole."""
        if self._load is not None:
            self._read()
        runs, starts = self._runs, self._starts
        lo = bisect_right(starts, a) - 1
        if lo < 0 or runs[lo].start + runs[lo].nr <= a:
            lo += 1
        hi = bisect_left(starts, b, lo)
        found = runs[lo:hi]
        if found:
            first = found[0]
            if first.start < a:
                low = first.cuts(a)[0]
                if first.start < low:
                    found[0] = first.split(low)[1]
            last = found[-1]
            if last.start + last.nr > b:
                high = last.cuts(b)[1]
                if high < last.start + last.nr:
                    found[-1] = last.split(high)[0]
        return found

    def spans(self, a: int, b: int) -> list[tuple[int, int, R | None]]:
        """[a, b) as consecutive (start, end, run), run being None where nothing lies.

        The first and the last one may reach beyond it with a huge entry.
        """
        out: list[tuple[int, int, R | None]] = []
        at = a
        for run in self.between(a, b):
            if run.start > at:
                out.append((at, run.start, None))
            at = run.start + run.nr
            out.append((run.start, at, run))
        if at < b:
            out.append((at, b, None))
        return out

    def pop_front(self, nr: int) -> list[R]:
        """Take the lowest *nr* numbers out, and give the runs that held them."""
        runs, starts = self.runs, self.starts
        self.changed = True
        taken: list[R] = []
        for run in runs:
            if not nr:
                break
            if run.nr > nr:
                run = run.split(run.start + nr)[0]
            taken.append(run)
            nr -= run.nr
        assert not nr, f"{nr} more are wanted than there are"
        whole = len(taken)
        if taken:
            last = runs[whole - 1]
            if last.nr > taken[-1].nr:
                rest = last.split(taken[-1].start + taken[-1].nr)[1]
                runs[whole - 1], starts[whole - 1] = rest, rest.start
                whole -= 1
        del runs[:whole]
        del starts[:whole]
        return taken

    def put(self, a: int, b: int, *runs: R) -> None:
        """Replace what lies in [a, b) by *runs*."""
        self.edit([(a, b, runs)])

    def insert(self, runs: Sequence[R]) -> None:
        """Add *runs*, sorted and joined, where nothing lies.

        The fewer of the old and the new ones are worked into the others.
        """
        ours, theirs = self.runs, runs
        if len(theirs) > len(ours):
            theirs = ours
            self._set(list(runs))
        self.changed = True
        end = theirs[-1].start + theirs[-1].nr if len(theirs) >= _BULK else 0
        if not end or not self._replace(theirs[0].start, end, {}, theirs):
            self.edit([(run.start, run.start + run.nr, (run,)) for run in theirs])

    def remove(self, extents: Sequence[tuple[int, int]]) -> None:
        """Take out what lies in *extents* (start, nr), which are sorted and disjoint."""
        if not extents:
            return
        starts = [start for start, _ in extents]
        first = bisect_left(self.starts, starts[0])
        end = first + len(starts)
        sizes = [nr for _, nr in extents]
        runs = self._runs[first:end]
        are_whole = starts == self._starts[first:end] and sizes == [run.nr for run in runs]
        if not are_whole:
            self.edit([(start, start + nr, ()) for start, nr in extents])
            return
        self.changed = True
        del self._runs[first:end]
        del self._starts[first:end]

    def edit_points(
        self, points: Sequence[int], replace: Callable[[R, Sequence[int]], Sequence[R]]
    ) -> None:
        """Let *replace* make new runs of each run that covers some of *points* (sorted, covered).

        It is given the run and its points, and returns what takes the run's place, joined. This
        is the way to change many single numbers.
        """
        self.changed = True
        runs, starts = self.runs, self.starts
        sweep = _Sweep[R]([], [], 0)
        i = pos = 0
        while i < len(points):
            j = bisect_right(starts, points[i], pos) - 1
            run = runs[j]
            end = bisect_left(points, run.start + run.nr, i)
            sweep.copy(runs[pos:j])
            sweep.copy(replace(run, points[i:end]))
            i, pos = end, j + 1
        sweep.copy(runs[pos:])
        self._set(sweep.out)

    def edit(self, edits: Sequence[Edit[R]]) -> None:
        """Make all *edits*, which are sorted and disjoint, in one sweep.

        Runs that no edit touches are copied in bulk, so the cost is that of the edits.
        """
        if not edits:
            return
        if self._load is not None:
            self._read()
        self.changed = True
        if len(edits) == 1 and self._fill_gap(*edits[0]):
            return
        gap = self._wide_gap(edits)
        for part in (edits[gap:], edits[:gap]) if gap else (edits,):
            if len(part) < _BULK or not self._merge(part):
                self._edit(part)

    def _wide_gap(self, edits: Sequence[Edit[R]]) -> int:
        """Which edit comes behind so many runs that those need not be copied; 0 if none does."""
        starts = self._starts
        if len(starts) < _MANY or len(edits) < 2:
            return 0
        gaps = [after[0] - before[1] for before, after in pairwise(edits)]
        i = gaps.index(max(gaps)) + 1
        between = bisect_left(starts, edits[i][0]) - bisect_left(starts, edits[i - 1][1])
        return i if between > len(starts) // 8 else 0

    def _fill_gap(self, a: int, b: int, new: Sequence[R]) -> bool:
        """Put one new run in [a, b), where nothing lies yet; False: it is not so simple."""
        runs, starts = self._runs, self._starts
        i = j = bisect_left(starts, a)
        before = runs[i - 1] if i else None
        after = runs[i] if i < len(runs) else None
        if len(new) != 1 or (after is not None and after.start < b):
            return False
        run = new[0]
        if before is not None:
            end = before.start + before.nr
            if end > a:
                return False
            if end == run.start and (joined := before.join(run)) is not None:
                run, i = joined, i - 1
        if after is not None and run.start + run.nr == after.start:
            joined = run.join(after)
            if joined is not None:
                run, j = joined, j + 1
        runs[i:j], starts[i:j] = [run], [run.start]
        return True

    def _merge(self, edits: Sequence[Edit[R]]) -> bool:
        """Make edits that take whole runs out, or fill gaps, by a sort; False if some do not."""
        if not self._is_whole(edits[0]) or not self._is_whole(edits[-1]):
            return False
        gone = {a: b for a, b, new in edits if not new}
        fresh = [new[0] for a, b, new in edits if len(new) == 1 and new[0].nr == b - a]
        if len(gone) + len(fresh) < len(edits):
            return False
        return self._replace(edits[0][0], edits[-1][1], gone, fresh)

    def _replace(self, a: int, b: int, gone: dict[int, int], fresh: Sequence[R]) -> bool:
        """Take the runs *gone* (start to end) out of [a, b) and add *fresh*; False if they are
        not there, if there is no room, or if too many others lie between.
        """
        first = max(bisect_left(self._starts, a) - 1, 0)
        last = bisect_left(self._starts, b, first) + 1
        kept = window = self._runs[first:last]
        if len(window) > 4 * (len(gone) + len(fresh)):
            return False
        if gone:
            kept = [run for run in window if gone.get(run.start) != run.start + run.nr]
        if len(window) - len(kept) < len(gone):
            return False
        merged = _joined(sorted([*kept, *fresh], key=attrgetter("start")) if fresh else kept)
        if merged is None:
            return False
        self._runs[first:last] = merged
        self._starts[first:last] = [run.start for run in merged]
        return True

    def _is_whole(self, edit: Edit[R]) -> bool:
        """Whether *edit* takes one whole run out, or fills a gap."""
        a, b, new = edit
        i = bisect_left(self._starts, b)
        before = self._runs[i - 1] if i else None
        if new:
            return before is None or before.start + before.nr <= a
        return before is not None and (before.start, before.nr) == (a, b - a)

    def _edit(self, edits: Sequence[Edit[R]]) -> None:
        """One sweep."""
        sweep = _Sweep(self._runs, self._starts, edits[0][0])
        for a, b, new in edits:
            sweep.keep_until(a)
            sweep.drop_until(b)
            for run in new:
                sweep.put(run)
        first, last = sweep.finish()
        self._runs[first:last] = sweep.out
        self._starts[first:last] = [run.start for run in sweep.out]


class _Sweep(Generic[R]):
    """One pass over sorted runs; what is kept goes to *out*, joined as it comes."""

    __slots__ = ("first", "out", "pos", "rest", "runs", "starts")

    def __init__(self, runs: list[R], starts: list[int], a: int) -> None:
        self.runs, self.starts = runs, starts
        self.first = self.pos = max(bisect_left(starts, a) - 1, 0)
        self.rest: R | None = None  # what is left of a run that an edit has cut
        self.out: list[R] = []

    def put(self, run: R) -> None:
        """Add *run* behind what is there."""
        out = self.out
        if out:
            last = out[-1]
            if last.start + last.nr == run.start:
                joined = last.join(run)
                if joined is not None:
                    out[-1] = joined
                    return
        out.append(run)

    def copy(self, runs: Sequence[R]) -> None:
        """Add *runs*, which are joined among themselves."""
        if runs:
            self.put(runs[0])
            self.out += runs[1:]

    def keep_until(self, a: int) -> None:
        """Keep everything below *a*, in bulk where no edit has touched it."""
        rest = self.rest
        if rest is None:
            j = bisect_left(self.starts, a, self.pos)
            if j == self.pos:
                return
            whole = self.runs[self.pos : j]
            self.pos = j
            rest = whole.pop()
            self.copy(whole)
        if rest.start + rest.nr <= a:
            self.rest = None
            self.put(rest)
            if self.pos < len(self.starts) and self.starts[self.pos] < a:
                self.keep_until(a)
        elif rest.start < a:
            head, self.rest = rest.split(a)
            self.put(head)

    def drop_until(self, b: int) -> None:
        """Leave out everything below *b*."""
        rest = self.rest
        if rest is None:
            j = bisect_left(self.starts, b, self.pos)
            if j == self.pos:
                return
            rest = self.runs[j - 1]
            self.pos = j
        if rest.start + rest.nr > b:
            self.rest = rest.split(b)[1]
        else:
            self.rest = None
            if self.pos < len(self.starts) and self.starts[self.pos] < b:
                self.drop_until(b)

    def finish(self) -> tuple[int, int]:
        """Keep what follows, as far as it may join; give the places that *out* replaces."""
        if self.rest is not None:
            self.put(self.rest)
        if self.pos < len(self.runs):
            self.put(self.runs[self.pos])
            self.pos += 1
        return self.first, self.pos


def joined_in_turn(runs: Sequence[R]) -> list[R]:
    """*runs*, each of which begins where the one before ends, joined one after the other."""
    out = [runs[0]]
    for run in islice(runs, 1, None):
        joined = out[-1].join(run)
        out[-1:] = (out[-1], run) if joined is None else (joined,)
    return out


def _joined(runs: list[R]) -> list[R] | None:
    """Sorted *runs* with neighbours made one where they can be; None if some overlap."""
    starts, ends = [run.start for run in runs], [run.start + run.nr for run in runs]
    if any(map(gt, ends, islice(starts, 1, None))):
        return None
    out: list[R] = []
    for i, j in _touching(starts, ends):
        out += runs[i].chain(runs[i:j]) if j > i + 1 else (runs[i],)
    return out


def _touching(starts: list[int], ends: list[int]) -> Iterator[tuple[int, int]]:
    """Which of sorted ranges touch each other: the first of them, and behind the last."""
    cuts = compress(range(1, len(starts)), map(ne, ends, islice(starts, 1, None)))
    return pairwise([0, *cuts, len(starts)] if starts else ())


def coalesce(extents: Iterable[tuple[int, int]]) -> list[Extent]:
    """*extents* (start, nr), which are disjoint, sorted and with neighbours made one."""
    ordered = sorted(extents)
    if len(ordered) < 2:
        return [Extent(start, nr) for start, nr in ordered]
    starts, ends = [start for start, _ in ordered], [start + nr for start, nr in ordered]
    return [Extent(starts[i], ends[j - 1] - starts[i]) for i, j in _touching(starts, ends)]


def pages_to_extents(pages: Sequence[int]) -> list[Extent]:
    """The extents that cover *pages*, which are all different.

    >>> pages_to_extents([7, 5, 6, 9])
    [Extent(start=5, nr=3), Extent(start=9, nr=1)]
    """
    if not pages:
        return []
    low, high, nr = min(pages), max(pages), len(pages)
    if high - low == nr - 1:
        return [Extent(low, nr)]
    ordered = sorted(pages)
    # Where a page does not follow the one before, an extent begins.
    steps = map(sub, islice(ordered, 1, None), ordered)
    cuts = [*compress(range(1, nr), map((1).__ne__, steps))]
    return [Extent(ordered[i], j - i) for i, j in pairwise([0, *cuts, nr])]


def extents_in_order(pages: Iterable[int]) -> list[Extent]:
    """The extents that name *pages* in this order.

    >>> extents_in_order([7, 8, 5, 6, 4])
    [Extent(start=7, nr=2), Extent(start=5, nr=2), Extent(start=4, nr=1)]
    """
    out: list[Extent] = []
    first = nr = 0
    for page in pages:
        if nr and page == first + nr:
            nr += 1
            continue
        if nr:
            out.append(Extent(first, nr))
        first, nr = page, 1
    return [*out, Extent(first, nr)] if nr else out


def take_extents(stack: list[Extent], nr: int) -> list[Extent]:
    """Take *nr* numbers off *stack*, whose last extent is the first to be used."""
    taken: list[Extent] = []
    while nr:
        extent = stack.pop()
        if extent.nr > nr:
            extent, rest = extent.split(extent.start + nr)
            stack.append(rest)
        taken.append(extent)
        nr -= extent.nr
    return taken
